"""A study's file, read by a loader that makes plain values only: no tag of it can run or import anything."""

from __future__ import annotations

from pathlib import Path

import yaml

from rhoflow.config.secrets import without_secrets
from rhoflow.config.study import Study, load_study
from rhoflow.errors import StudyError


def read_study_file(path: Path | None) -> Study:
    """Read and validate the YAML file of a study; the default study without one.

    Raises
    ------
    StudyError
        If the file cannot be read, is no YAML mapping of plain values, or is no valid study.
    """
    if path is None:
        return Study()
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); give the study's YAML file") from None
    except yaml.YAMLError as error:
        told = without_secrets(" ".join(str(error).split()))
        raise StudyError(f"{path}: no YAML of plain values ({told}); tags such as !!python/... are refused") from None
    if not isinstance(config, dict):
        raise StudyError(f"{path}: holds a {type(config).__name__}, expected keys and values as in config.yaml")
    return load_study(config)
