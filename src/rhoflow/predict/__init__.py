"""Predictions for new crystals by the networks of a finished study, and the folder that takes them along."""

from rhoflow.predict.ensemble import Ensemble, Prediction, predict
from rhoflow.predict.export import export_model, read_exported
from rhoflow.predict.finished import read_study

__all__ = ["Ensemble", "Prediction", "export_model", "predict", "read_exported", "read_study"]
