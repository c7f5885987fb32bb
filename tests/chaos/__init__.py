"""Faults brought about on purpose, and what a rerun makes of them."""
