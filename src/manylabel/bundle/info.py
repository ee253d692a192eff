"""The description of a model: labels, input, decision and provenance."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import FailFast, Field, InstanceOf, ValidationError, model_validator

from manylabel.bundle.seen import SeenImages
from manylabel.config import Config
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.labels import MAX_LABELS, LabelSpace
from manylabel.metrics.calibration import Calibration
from manylabel.preprocess import InputSpec
from manylabel.version import __version__

FORMAT_VERSION: Final = 2
"""The version of the format of the two files. Bundles of another version are refused."""
MAX_WORD: Final = 100
"""The largest number of characters of a version or of the name of logits."""


class ModelInfo(Config):
    """The description of a model, which does not depend on the engine that computes it."""

    manylabel_version: Annotated[str, Field(max_length=MAX_WORD)] = __version__
    """The version of manylabel that saved the model."""
    labels: Annotated[tuple[str, ...], FailFast()]
    """The label names, in the order of the logits."""
    input: InputSpec
    """The model's input."""
    thresholds: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], FailFast()]
    """A threshold for each label. This key and the next three make up the `Decision`."""
    at_least: Annotated[int, Field(ge=0, le=MAX_LABELS)] = 0
    """The smallest number of labels of each image, whatever the thresholds."""
    at_most: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    """The largest number of labels of each image; None: no limit."""
    calibration: Calibration | None = None
    """The calibration of the scores; None: the scores are not calibrated."""
    tuned: dict[str, Any] = Field(default_factory=dict)
    """How the decision was found: rule, data, figures; empty if it was not tuned."""
    scores_from: Annotated[str, Field(max_length=MAX_WORD)] = "final"
    """The logits that the scores come from: `final`, or a branch of the head."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Where the model comes from: recipe, seed, data, versions."""
    seen: InstanceOf[SeenImages] | None = Field(default=None, exclude=True, repr=False)
    """The images that the model has seen; None: not known. They are in a file of their own, and
    `bundle.json` holds its `SeenTable`."""

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

    @property
    def decision(self) -> Decision:
        """The decision, which turns the model's logits into scores and labels."""
        return Decision(
            calibration=self.calibration,
            thresholds=self.thresholds,
            at_least=self.at_least,
            at_most=self.at_most,
        )

    @property
    def trained_on(self) -> str | None:
        """The fingerprint of the images that the model was trained on, if it is known."""
        found = self.provenance.get("trained_on")
        return found if isinstance(found, str) else None


class BundleInfo(ModelInfo):
    """The content of `bundle.json`."""

    format_version: Annotated[int, Field(strict=True, ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    """The version of the format of the bundle's files."""
    model: dict[str, Any]
    """The architecture: the tables of a `ModelConfig`. They name no file and need no download."""
