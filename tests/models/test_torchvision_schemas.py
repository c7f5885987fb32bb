import subprocess
import sys

IMPORTS = "import lightning, timm, torchmetrics, torchvision; from transformers import AutoModel"


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_everything_imports_after_the_schemas():
    done = _run(f"import rhoflow.models.torchvision_schemas as t; {IMPORTS}; print(t.missing_schemas())")
    assert done.stdout.strip() == "[]", done.stderr


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
