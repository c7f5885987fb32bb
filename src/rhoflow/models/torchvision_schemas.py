"""Make torchvision importable beside a CPU-only torch; import this before lightning, timm or transformers.

torchvision from the package index is built for CUDA. Where its compiled part cannot be loaded, its Python part still
asks for the schemas of two operators and the import raises; lightning, torchmetrics, timm and transformers import it.
Nobody here calls the two operators (box suppression for object detection): declaring them is enough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {name: f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")}
# Kept alive: its schemas vanish with it.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]


def missing_schemas() -> list[str]:
    """Names of the operators that nobody has declared."""
    return [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]


def declare_missing_schemas() -> None:
    """Load torchvision's own operators where they can be loaded, else declare the two schemas."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return  # without torchvision nobody imports it
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError:  # built for CUDA, and this torch is not
            continue
    for name in missing_schemas():
        _LIBRARY.define(_SCHEMAS[name])  # type: ignore[no-untyped-call]


declare_missing_schemas()
