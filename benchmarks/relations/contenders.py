"""The heads and the controls that are compared, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from manylabel.models.heads.srn import SpatialRegularisation
from manylabel.models.heads.srn_modern import AbsoluteRelations, RelativeRelations

Change = Callable[[Tensor], Tensor]
"""Changes U [N, C, H, W] before the regulariser reads it."""

REGULARISERS: Final = (SpatialRegularisation, AbsoluteRelations, RelativeRelations)


def shuffle_places(weighted: Tensor) -> Tensor:
    """The positions of each image in a new random order, the same for all of its labels.

    Labels at one position stay together, so what remains is which labels there are.
    """
    flat = weighted.flatten(2)
    order = torch.rand(len(flat), 1, flat.shape[2]).argsort(2).expand_as(flat)
    return flat.gather(2, order).view_as(weighted)


def shuffle_labels(weighted: Tensor) -> Tensor:
    """The labels of each image in a new random order: no label's map is where it belongs."""
    order = torch.rand(weighted.shape[:2]).argsort(1)
    return weighted.gather(1, order[:, :, None, None].expand_as(weighted))


@contextmanager
def changed(change: Change | None) -> Iterator[None]:
    """Within the block, every regulariser reads the changed U, in training and in use."""
    if change is None:
        yield
        return

    def before(module: nn.Module, inputs: Any) -> Any:
        return (change(inputs[0]), *inputs[1:]) if isinstance(module, REGULARISERS) else None

    handle = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


Steps = list[dict[str, Any]]


@dataclass(frozen=True)
class Contender:
    """A head or a control.

    Args:
        title: What it is, in the tables.
        head: The recipe's table `head`.
        steps: The recipe's steps: pairs of kind and epochs.
        change: What the regulariser reads in place of U.
    """

    title: str
    head: Mapping[str, Any]
    steps: tuple[tuple[str, int], ...]
    change: Change | None = None

    def tables(self, *, frozen: bool = True, times: int = 1) -> Steps:
        """The recipe's table of steps, each with `times` as many epochs."""
        freeze = {"freeze": ["backbone"]} if frozen else {}
        return [
            {"kind": kind, "epochs": times * epochs, **(freeze if kind in _WHOLE else {})}
            for kind, epochs in self.steps
        ]


_WHOLE: Final = ("main", "joint", "joint-released", "joint-attention", "whole", "whole-branches")

_SRN: Final = {
    "name": "srn",
    "topology": "released",
    "extra_blocks": 0,
    "attention_channels": 64,
    "relation_channels": 128,
    "scale_weighted": True,
}
_ATT: Final = {**_SRN, "name": "srn-att"}
for _key in ("relation_channels", "scale_weighted"):
    del _ATT[_key]
_MODERN: Final = {"name": "srn-modern", "channels": 64}
_ABSOLUTE: Final = {**_MODERN, "relations": "absolute", "relation_channels": 128}

EPOCHS: Final = 12
"""Passes over the training images that train the attention, for every head that has one."""
_BRANCHES: Final = (("whole-branches", EPOCHS),)

CONTENDERS: Final[dict[str, Contender]] = {
    "linear": Contender("main net", {"name": "linear"}, (("main", EPOCHS),)),
    "linear, both maps": Contender(
        "plain head on both maps", {"name": "linear", "maps": "both"}, (("main", EPOCHS),)
    ),
    "srn-att": Contender("attention alone", _ATT, (("joint-attention", EPOCHS),)),
    "srn": Contender("SRN, one step", _SRN, _BRANCHES),
    "srn-modern, absolute": Contender("SRN modern, conv4", _ABSOLUTE, _BRANCHES),
    "srn-modern": Contender("SRN modern, relative layout", _MODERN, _BRANCHES),
}
"""What is measured at every setting of the dial."""

CONTROLS: Final[dict[str, Contender]] = {
    "semantic": Contender("semantic alone", {"name": "semantic"}, (("whole", EPOCHS),)),
    "srn, four steps": Contender(
        "SRN, four steps",
        _SRN,
        (("main", 6), ("attention", 6), ("regularisation", 3), ("joint-released", 6)),
    ),
    "srn, places shuffled": Contender(
        "SRN, one step, places shuffled", _SRN, _BRANCHES, shuffle_places
    ),
    "srn, labels shuffled": Contender(
        "SRN, one step, labels shuffled", _SRN, _BRANCHES, shuffle_labels
    ),
    "srn, no gradient": Contender(
        "SRN, one step, no gradient of y_sr to U", _SRN, _BRANCHES, Tensor.detach
    ),
    "srn-modern, places shuffled": Contender(
        "relative layout, places shuffled", _MODERN, _BRANCHES, shuffle_places
    ),
    "srn-modern, labels shuffled": Contender(
        "relative layout, labels shuffled", _MODERN, _BRANCHES, shuffle_labels
    ),
}
"""What separates the causes; measured without relations and with decisive ones."""

ALL: Final = CONTENDERS | CONTROLS
