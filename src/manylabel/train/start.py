"""What a run starts from: the backbone's weights, or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import open_bundle
from manylabel.errors import ConfigError
from manylabel.models.backbones import Backbone
from manylabel.models.classifier import Classifier, ModelConfig
from manylabel.models.inherit import inherit
from manylabel.train.config import RunConfig

_KEPT: Final = (
    "augment",
    "mixing",
    "sampler",
    "loss",
    "optim",
    "steps",
    "batch_size",
    "keep",
    "validate_every",
    "features",
    "precision",
)
"""The keys of a bundle's recipe that a run takes which starts from it. None names a file."""


def starting_model(config: RunConfig) -> ModelConfig:
    """The model with the weights that its backbone starts from."""
    if config.start_from is None:
        return config.model
    backbone = config.backbone.model_copy(update={"weights": config.start_from})
    return config.model.model_copy(update={"backbone": backbone})


def require_weights(config: RunConfig) -> None:
    """Check that the backbone's weights are there and fit, before any image is opened.

    A download takes place here.

    Raises:
        BundleError: The bundle that the run starts from cannot be read.
        ConfigError: The weights are missing, cannot be read or loaded, or do not fit the backbone;
            or the backbone does not accept the size of the images.
        MissingExtraError: They are in a package that is not installed.
    """
    if config.start_from is not None:
        _require_backbone(config, config.start_from)
    size = (config.input.height, config.input.width)
    Backbone(starting_model(config).backbone, size).shapes(*size)


def start_from(classifier: Classifier, folder: Path) -> str:
    """Take the head of a bundle into a classifier, and return what was taken, in words.

    Its backbone already has the bundle's weights, since `starting_model` names them.

    Raises:
        BundleError: The bundle cannot be read.
    """
    trained = load_bundle(folder).classifier.head
    return inherit(classifier.head, trained).in_words(folder)


def recipe_of_bundle(folder: Path) -> dict[str, Any]:
    """How a bundle was trained, as the tables of a recipe, without backbone, head and input.

    Raises:
        BundleError: There is no bundle, or it is damaged.
        ConfigError: It does not say.
    """
    with open_bundle(folder) as found:
        recipe = found.info.provenance.get("recipe")
    if not isinstance(recipe, dict) or "steps" not in recipe:
        raise ConfigError(
            "The bundle does not say how it was trained.",
            where=str(folder),
            fix="Give a recipe, too: --recipe NAME.",
        )
    return {key: recipe[key] for key in _KEPT if key in recipe}


def _require_backbone(config: RunConfig, folder: Path) -> None:
    with open_bundle(folder) as found:
        name = str(found.info.model.get("backbone", {}).get("name"))
    own = config.backbone.name
    if name.split(".")[0] != own.split(".")[0]:
        raise ConfigError(
            f"The bundle's backbone is '{name}', and that of the recipe is '{own}'.",
            where=str(folder),
            fix=f"Give --set backbone.name={name}, or a recipe with this backbone, or leave out "
            "--recipe.",
        )
