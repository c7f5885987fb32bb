"""Descriptions of crystals and their levels."""
