"""Compute the crystals of ``resources/demo``, and more like them, with GPAW.

An optional part of the project with its own requirements (``requirements.txt``);
rhoflow never imports it. See ``README.md`` beside this file.
"""
