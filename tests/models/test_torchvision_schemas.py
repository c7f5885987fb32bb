import importlib
import subprocess
import sys

import pytest

from rhoflow.models.torchvision_schemas import missing_schemas


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["torchvision", "lightning", "timm", "torchmetrics", "transformers"])
def test_everything_imports_after_the_schemas(name: str) -> None:
    assert missing_schemas() == []
    importlib.import_module(name)
    assert missing_schemas() == []


def test_declared_operators_are_left_alone():
    code = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import rhoflow.models.torchvision_schemas as t
t.declare_missing_schemas()
print("ok")
"""
    done = _run(code)
    assert done.stdout.strip() == "ok", done.stderr
