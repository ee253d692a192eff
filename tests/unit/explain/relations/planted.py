"""A branch of relations whose weights are set by hand, so that the truth is known."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from manylabel.engines.engine import RelationMaps, RelationProbe
from manylabel.evidence import RelationWeights
from manylabel.explain.relations.stream import Sample
from manylabel.models.heads.srn import SpatialRegularisation, SRNConfig

GRID: Final = (8, 8)
LABELS: Final = ("apple", "branch", "cellar", "dog")
APPLE, BRANCH, CELLAR, DOG = range(4)
HEIGHT: Final = np.linspace(1, 0, GRID[0], dtype=np.float32)
"""1 in the first row, 0 in the last one."""
GAIN: Final = 10.0


def planted_branch() -> SpatialRegularisation:
    """SRN's own branch: apple needs a branch above it, cellar takes from dog, nothing else acts.

    Each group of conv4 sees one label. Two units are used: the branch's says how high the branch
    is, and adds to apple's logit; cellar's fires wherever the cellar is, and takes from dog's.
    """
    config = SRNConfig(relation_channels=4, units_per_channel=1)
    branch = SpatialRegularisation(config, GRID, len(LABELS)).eval()
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.zero_()
        for conv in (branch.semantic[0], branch.semantic[2]):
            conv.weight[:, :, 0, 0] = torch.eye(4)
        branch.conv4.weight[BRANCH, 0] = torch.from_numpy(HEIGHT)[:, None]
        branch.conv4.weight[CELLAR, 0] = 1
        branch.fc.weight[APPLE, BRANCH] = GAIN
        branch.fc.weight[DOG, CELLAR] = -GAIN
    return branch


@final
class PlantedProbe(RelationProbe):
    """The planted branch, with NumPy in and out."""

    def __init__(self) -> None:
        super().__init__(share=0.5)
        self.branch = planted_branch()

    def weights(self) -> RelationWeights:
        return self.branch.weights()

    def maps(self, pixels: NDArray[np.uint8]) -> RelationMaps:
        raise AssertionError("there are no images here")

    @torch.no_grad()
    def compute(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, units = self.branch(torch.from_numpy(maps))
        return logits.numpy(), units.numpy()


def planted_sample(images: int = 200, seed: int = 0) -> Sample:
    """Images in which each label is present by a coin, at one place, with a share of 0.5 to 1.

    A label that is absent has a map of almost nothing.
    """
    random = np.random.default_rng(seed)
    present = random.random((images, len(LABELS))) < 0.5
    maps = np.full((images, len(LABELS), *GRID), 1e-6, dtype=np.float32)
    rows, columns = (random.integers(0, side, present.shape) for side in GRID)
    strength = random.uniform(0.5, 1, present.shape)
    for i, c in zip(*np.nonzero(present), strict=True):
        maps[i, c, rows[i, c], columns[i, c]] = strength[i, c]
    units = PlantedProbe().compute(maps)[1]
    return Sample(np.arange(images), maps, units, present, ~present)
