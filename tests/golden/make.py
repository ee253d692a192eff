"""Make the golden tensors of SRN: what each stage gave, once, for fixed weights and images.

    python tests/golden/make.py

writes `srn-paper.safetensors` and `srn-released.safetensors` beside this file. Run it only when
the network is meant to change, and say in the commit why the numbers do.
"""

from __future__ import annotations

import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import SRNConfig
from manylabel.preprocess import InputSpec

HERE: Final = Path(__file__).parent
TOPOLOGIES: Final = ("paper", "released")
SIZE: Final = 64
"""Pixels; X then is 4x4."""
LABELS: Final = 5
TOLERANCE: Final = 1e-4
"""Of the largest magnitude in a tensor. Other processors and other versions of torch add up in
another order (about 1e-6); arithmetic in bf16 is off by about 5e-3."""


def draw(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers of a normal distribution that depend on nothing but the name and the shape.

    NumPy promises that RandomState's stream never changes; torch promises nothing of the kind.
    """
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy(stream.standard_normal(shape)).float()


def fill(module: nn.Module) -> None:
    """Draw every parameter and batch statistic, at sizes that keep signals of order 1."""
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        drawn = draw(name, tuple(tensor.shape))
        if tensor.ndim > 1:
            drawn *= tensor[0].numel() ** -0.5
        elif name.endswith(("running_var", "weight")):
            drawn = 1 + 0.3 * drawn.tanh()
        else:
            drawn *= 0.3
        tensor.copy_(drawn)


def build(topology: str) -> Classifier:
    """A small SRN of that topology, in evaluation mode."""
    head = SRNConfig.model_validate(
        {"topology": topology, "attention_channels": 16, "relation_channels": 8}
    )
    config = ModelConfig(backbone=BackboneConfig(name="test_resnet", pretrained=False), head=head)
    classifier = build_classifier(
        config, LabelSpace.numbered(LABELS), InputSpec(height=SIZE, width=SIZE)
    )
    fill(classifier)
    return classifier.eval()


@torch.no_grad()
def stages(topology: str) -> dict[str, Tensor]:
    """What each stage of the network gives for two images, by name."""
    classifier = build(topology)
    maps = classifier.backbone(draw("images", (2, 3, SIZE, SIZE)))
    output = classifier.head(maps)
    assert output.units is not None
    return {
        "features.mid": maps.mid,
        "features.final": maps.final,
        **{f"maps.{name}": value for name, value in output.maps.items()},
        "units": output.units,
        **{f"logits.{name}": value for name, value in output.branches.items()},
        "logits.final": output.logits,
    }


def path_of(topology: str) -> Path:
    """The golden file of a topology."""
    return HERE / f"srn-{topology}.safetensors"


def main() -> None:
    """Write both files, each with a header that says how it was made."""
    header = {
        "command": "python tests/golden/make.py",
        "tolerance": str(TOLERANCE),
        **{name: version(name) for name in ("torch", "timm", "numpy")},
    }
    for topology in TOPOLOGIES:
        tensors = {name: value.contiguous() for name, value in stages(topology).items()}
        save_file(tensors, path_of(topology), metadata=header)
        for name, value in tensors.items():
            print(f"{topology:<9} {name:<16} {tuple(value.shape)!s:<18} {value.abs().max():.3g}")


if __name__ == "__main__":
    main()
