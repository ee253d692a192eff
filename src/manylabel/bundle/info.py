"""What a model says of itself: labels, input, decisions, where it comes from."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError, model_validator

from manylabel.config import Config
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.metrics.calibration import Calibration
from manylabel.preprocess import InputSpec
from manylabel.version import __version__

FORMAT_VERSION: Final = 1
"""The version of the two files' meaning; a bundle of a newer one is refused."""


class ModelInfo(Config):
    """What holds for a model whatever computes it."""

    manylabel_version: str = __version__
    """The manylabel that saved it."""
    labels: tuple[str, ...]
    """The label names, in the order of the logits."""
    input: InputSpec
    """The model's input."""
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """One for each label; see `Decision`, which these four keys make up."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """How many labels each image is given at least, whatever the thresholds."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """How many labels at most; None: any number."""
    calibration: Calibration | None = None
    """What the scores go through; None: they are as the model gives them."""
    tuned: dict[str, Any] = Field(default_factory=dict)
    """How the decisions were found: rule, data, figures; empty if they were not tuned."""
    scores_from: str = "final"
    """Which logits are the model's answer: `final`, or a branch of the head."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Where the model comes from: recipe, seed, data, versions."""

    @model_validator(mode="after")
    def _check(self) -> ModelInfo:
        try:
            LabelSpace(self.labels)
            decision = self.decision
        except DataError as error:
            raise ValueError(error.what) from None
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(message) from None
        if decision.num_labels != len(self.labels):
            raise ValueError(f"{decision.num_labels} thresholds for {len(self.labels)} labels")
        return self

    @cached_property
    def decision(self) -> Decision:
        """What turns the model's logits into scores and labels."""
        return Decision(
            calibration=self.calibration,
            thresholds=self.thresholds,
            at_least=self.at_least,
            at_most=self.at_most,
        )

    @property
    def trained_on(self) -> str | None:
        """The fingerprint of the images that the model was trained on, if it is known."""
        return self.provenance.get("trained_on")


class BundleInfo(ModelInfo):
    """What `bundle.json` says of a model."""

    format_version: int = FORMAT_VERSION
    """The meaning of the bundle's files."""
    model: dict[str, Any]
    """The architecture, the tables of a `ModelConfig`: it names no file and downloads nothing."""
