"""The ways to train that a plan chooses from: a recipe each, over one backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from manylabel.config import put, read_toml
from manylabel.errors import MissingExtraError
from manylabel.models.packaged import LITE0
from manylabel.train.changes import check_changed
from manylabel.train.config import RunConfig, find_recipe, resolve

FROZEN: Final = "frozen-lite0"
"""The recipe of the ways that train a head on the maps of a frozen backbone."""
TUNED: Final = "tuned-lite0-srn-modern"
"""The recipe of the way that trains the whole net."""


@final
@dataclass(frozen=True, eq=False)
class Way:
    """A way to train.

    Args:
        name: Its name in tables and folders.
        title: What it is.
        recipe: The recipe that it starts from.
        changes: What it changes in this recipe, by key.
        plain: Whether it reads only the pooled final map, so that pooled maps are enough.
    """

    name: str
    title: str
    recipe: str = FROZEN
    changes: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays frozen, so that its maps are computed once."""
        return self.recipe == FROZEN


_ATTENTION: Final = {
    "name": "srn-att",
    "topology": "released",
    "extra_blocks": 0,
    "attention_channels": 64,
}
_MODERN: Final = {"name": "srn-modern", "channels": 64}

LINEAR: Final = Way("linear", "frozen backbone, linear head", plain=True)
"""The way that any other must beat by more than chance."""
ATTENTION: Final = Way(
    "srn-att",
    "frozen backbone, attention for each label",
    changes={"head": _ATTENTION, "steps.0.kind": "joint-attention", "optim.lr": 1e-2},
)
MODERN: Final = Way(
    "srn-modern",
    "frozen backbone, attention and relations",
    changes={"head": _MODERN, "steps.0.kind": "whole-branches", "optim.lr": 1e-2},
)
WHOLE: Final = Way("fine-tuned", "all of the net, attention and relations", recipe=TUNED)

WAYS: Final = (LINEAR, MODERN, ATTENTION, WHOLE)
"""In the order in which a plan takes them, as long as there is time."""


_OTHER_WAYS: Final = (
    "Or give a file of weights: --backbone-weights FILE, with --set backbone.name=... for another "
    "backbone than tf_efficientnet_lite0. Or name a recipe that downloads weights: --recipe "
    "quick-resnet50-srn, which takes long without a GPU."
)


@contextmanager
def other_ways() -> Iterator[None]:
    """Within the block, an error about a missing package also says which other ways there are.

    Raises:
        MissingExtraError: A package is missing.
    """
    try:
        yield
    except MissingExtraError as error:
        if error.fix.endswith(_OTHER_WAYS):
            raise
        fix = f"{error.fix.rstrip('.')}. {_OTHER_WAYS}"
        raise MissingExtraError(error.what, where=error.where, fix=fix) from None


@final
@dataclass(frozen=True)
class Choices:
    """What the user chose, and is the same for every way.

    Args:
        seed: The seed of the run.
        device: The device of the run.
        weights: The backbone's weights; None: those of the recipe.
        settings: Further keys of recipes, as `KEY=VALUE`.
        skip_bad_images: Whether images that cannot be used are left out.
    """

    seed: int = 0
    device: str = "auto"
    weights: str | None = None
    settings: Sequence[str] = ()
    skip_bad_images: bool = False

    def recipe(self, way: Way, data: Mapping[str, Any] | None = None) -> RunConfig:
        """The complete recipe of a way.

        Args:
            way: The way.
            data: The recipe's table `data`.

        Raises:
            ConfigError: A setting does not fit.
            MissingExtraError: The weights are in a package that is not installed.
        """
        path: Path = find_recipe(way.recipe)
        tables = put(read_toml(path), {"seed": self.seed, "device": self.device, **way.changes})
        if self.weights is not None:
            tables = put(tables, {"backbone.weights": self.weights})
        if self.skip_bad_images:
            tables = put(tables, {"skip_bad_images": True})

        def check(changed: dict[str, Any]) -> RunConfig:
            changed["backbone"] = self._backbone(changed["backbone"])
            if data:
                changed["data"] = {**changed.get("data", {}), **data}
            return resolve(changed, where=f"the plan's way '{way.name}'")

        with other_ways():
            return check_changed(check, tables, self.settings)

    def _backbone(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """The table `backbone`. The package of the recipe is for the recipe's backbone alone."""
        given = self.weights or any(each.startswith("backbone.weights") for each in self.settings)
        fits = table.get("name") == LITE0 and table.get("pretrained", True)
        left_out = () if given or fits else ("weights",)
        return {key: value for key, value in table.items() if key not in left_out}
