"""The Materials Project: which of its materials a study wants, what it says of them, where their densities are."""
