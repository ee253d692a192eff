"""The four heads of the demo: three baselines, then SRN. All have the same budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from manylabel.config import put, read_toml, to_tables
from manylabel.train.config import RunConfig, find_recipe, resolve

RECIPE: Final = "demo-srn"


@final
@dataclass(frozen=True)
class Contender:
    """A head that the demo trains.

    Args:
        name: Its name in `metrics.json`, and that of its folder.
        title: What it is, in tables and sentences.
        head: The recipe's table `head`; None: that of the recipe itself.
        step: The kind of its only step, which trains the whole head.
    """

    name: str
    title: str
    head: Mapping[str, Any] | None = None
    step: str = "whole-branches"

    def recipe(self, srn: RunConfig) -> RunConfig:
        """SRN's recipe with this head and its step, and nothing else changed."""
        if self.head is None:
            return srn
        tables = to_tables(srn)
        steps = [{**step, "kind": self.step} for step in tables["steps"]]
        changed = {**tables, "head": dict(self.head), "steps": steps}
        return resolve(changed, where=f"the demo's {self.title}")


MAIN_NET: Final = Contender("main-net", "main net", {"name": "linear"}, "main")
BOTH_MAPS: Final = Contender(
    "both-maps", "plain head on both maps", {"name": "linear", "maps": "both"}, "main"
)
ATTENTION: Final = Contender(
    "attention-alone",
    "attention alone",
    {"name": "srn-att", "topology": "released", "extra_blocks": 0, "attention_channels": 64},
    "joint-attention",
)
"""SRN without relations between labels, so what SRN gains over it is what relations bring."""
SRN: Final = Contender("srn", "SRN")

CONTENDERS: Final = (MAIN_NET, BOTH_MAPS, ATTENTION, SRN)
"""In the order in which they are trained and shown."""


def srn_recipe(seed: int, folder: Path) -> RunConfig:
    """The recipe of SRN in the demo's folder.

    Args:
        seed: The seed of the run.
        folder: The folder of the scenes.
    """
    path = find_recipe(RECIPE)
    values = {"seed": seed, "data.path": str(folder)}
    return resolve(put(read_toml(path), values), where=str(path))
