"""Backbones, readouts and the image, text and fusion networks."""
