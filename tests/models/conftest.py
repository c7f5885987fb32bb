from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from rhoflow.models.networks import FusionOptions


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_options(tiny_encoder: Path) -> FusionOptions:
    return tiny.tiny_options(tiny_encoder)
