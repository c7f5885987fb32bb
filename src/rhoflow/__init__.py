"""rhoflow: from DFT electron charge densities to property predictors."""

__version__ = "0.1.0"
