"""The study: every setting of rhoflow, its default, its limits and its explanation.

These models are the single truth about ``config.yaml``: the file itself, the JSON schema
(``docs/config.schema.json``) and the reference page (``docs/config.md``) are made from them.
"""

from rhoflow.config.ablation import Ablation, OtherImages
from rhoflow.config.density import Clean, Fences, Grid, SliceOptions, Window
from rhoflow.config.elements import ELEMENTS
from rhoflow.config.file import read_study_file
from rhoflow.config.learning import (
    Clip,
    FinetuneStage,
    Fusion,
    ImageModel,
    Level,
    Readout,
    ReadoutStage,
    Stage,
    TextModel,
    Training,
)
from rhoflow.config.llm import LanguageModelInContext
from rhoflow.config.networks import KNOWN_NETWORKS
from rhoflow.config.search import Search
from rhoflow.config.section import Section, near
from rhoflow.config.sources import DirectorySource, ManifestSource, MaterialsProjectSource, Source
from rhoflow.config.study import Report, Splits, Study, Text, load_study

__all__ = [
    "ELEMENTS",
    "KNOWN_NETWORKS",
    "Ablation",
    "Clean",
    "Clip",
    "DirectorySource",
    "Fences",
    "FinetuneStage",
    "Fusion",
    "Grid",
    "ImageModel",
    "LanguageModelInContext",
    "Level",
    "ManifestSource",
    "MaterialsProjectSource",
    "OtherImages",
    "Readout",
    "ReadoutStage",
    "Report",
    "Search",
    "Section",
    "SliceOptions",
    "Source",
    "Splits",
    "Stage",
    "Study",
    "Text",
    "TextModel",
    "Training",
    "Window",
    "load_study",
    "near",
    "read_study_file",
]
