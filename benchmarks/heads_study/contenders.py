"""The heads that are compared, and how each is trained within the same number of epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

Steps = list[dict[str, Any]]


def whole(epochs: int) -> Steps:
    """All of the head in one step."""
    return [{"kind": "whole", "epochs": epochs}]


def main_only(epochs: int) -> Steps:
    """The linear head's one step."""
    return [{"kind": "main", "epochs": epochs}]


def whole_branches(epochs: int) -> Steps:
    """All of the head in one step, with a loss on each branch, too."""
    return [{"kind": "whole-branches", "epochs": epochs}]


def four_steps(epochs: int) -> Steps:
    """SRN's steps; the main net gets two fifths of the epochs, and no epoch is added."""
    attention = relations = max(1, epochs // 5)
    main = 2 * epochs // 5
    kinds = ("main", "attention", "regularisation", "joint-released")
    lengths = (main, attention, relations, epochs - main - attention - relations)
    return [{"kind": kind, "epochs": n} for kind, n in zip(kinds, lengths, strict=True)]


def three_steps(epochs: int) -> Steps:
    """SRN's steps without spatial regularisation."""
    main, attention = 2 * epochs // 5, max(1, epochs // 5)
    kinds = ("main", "attention", "joint-attention")
    lengths = (main, attention, epochs - main - attention)
    return [{"kind": kind, "epochs": n} for kind, n in zip(kinds, lengths, strict=True)]


@dataclass(frozen=True)
class Contender:
    """A head with its settings.

    Args:
        head: The recipe's table `head`.
        steps: Gives the recipe's steps for a number of epochs.
        on_scenes: Settings in whose place the scenes' small backbone wants others.
        loss: The recipe's table `loss`, where it is not the study's.
    """

    head: Mapping[str, Any]
    steps: Callable[[int], Steps] = whole
    on_scenes: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)


_SRN: Final = {"topology": "released", "extra_blocks": 0, "attention_channels": 256}

CONTENDERS: Final[dict[str, Contender]] = {
    "linear": Contender({"name": "linear"}, main_only),
    "linear, max": Contender({"name": "linear", "pool": "max"}, main_only),
    "linear, gem": Contender({"name": "linear", "pool": "gem"}, main_only),
    "semantic": Contender({"name": "semantic"}),
    "srn-att": Contender(
        {"name": "srn-att", **_SRN}, three_steps, on_scenes={"attention_channels": 128}
    ),
    "srn": Contender(
        {"name": "srn", **_SRN, "scale_weighted": True},
        four_steps,
        on_scenes={"attention_channels": 128, "relation_channels": 128},
    ),
    "csra": Contender({"name": "csra"}),
    "ml-decoder": Contender(
        {"name": "ml-decoder"}, on_scenes={"channels": 256, "feedforward_channels": 512}
    ),
    # Narrower than its authors': on a CPU their 2048 channels take some 50 minutes a run.
    "query2label": Contender(
        {"name": "query2label", "channels": 512, "feedforward_channels": 2048},
        on_scenes={"channels": 256, "feedforward_channels": 512},
    ),
    "ml-gcn": Contender({"name": "ml-gcn"}),
    "srn-modern": Contender(
        {"name": "srn-modern"},
        whole_branches,
        on_scenes={"channels": 128},
    ),
}
"""Name in the tables to contender, in the tables' order."""

_MODERN: Final = CONTENDERS["srn-modern"]
VARIANTS: Final[dict[str, Contender]] = {
    "csra, 1 head": Contender({"name": "csra", "temperatures": [1]}),
    "srn, one step": replace(CONTENDERS["srn"], steps=whole_branches),
    "srn-modern, loss on y alone": replace(_MODERN, steps=whole),
    "srn-modern, four steps": replace(_MODERN, steps=four_steps),
    "srn-modern, asymmetric loss": replace(_MODERN, loss={"name": "asymmetric"}),
    "srn-modern, 128 channels": replace(_MODERN, head={**_MODERN.head, "channels": 128}),
    "srn-modern, 512 channels": replace(_MODERN, head={**_MODERN.head, "channels": 512}),
    "linear, asymmetric loss": replace(CONTENDERS["linear"], loss={"name": "asymmetric"}),
}
"""What else was tried, by name for `--heads`: to see what helps and what does not."""

ALL: Final = CONTENDERS | VARIANTS
