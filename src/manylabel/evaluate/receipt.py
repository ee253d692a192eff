"""Receipts: all that a figure depends on, so that one can see if two figures are comparable."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from manylabel.config import Config
from manylabel.data.records import Records
from manylabel.metrics.profiles import Measures
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

_PACKAGES: Final = ("manylabel", "numpy", "pillow", "torch", "torchvision", "timm")


class Receipt(Config):
    """All that a figure depends on.

    Two figures are of the same test if their receipts differ in nothing but versions.
    """

    profile: str
    """The definitions of the figures."""
    data: str
    """Where images and targets were read from."""
    images: int
    """The number of images."""
    labels: int
    """The number of labels."""
    data_sha256: str
    """The SHA-256 of label names, image keys and targets in order."""
    predictions: str | None = None
    """The file of predictions; None: a bundle made them."""
    bundle_sha256: str | None = None
    """The SHA-256 of the bundle's weights; None: the predictions came from a file."""
    scores_from: str | None = None
    """The logits that the scores come from: `final` or a branch."""
    input: InputSpec | None = None
    """The model's input, which says how images were prepared."""
    ema: bool | None = None
    """Whether the weights are an average over training; None: not known."""
    calibrated: bool | None = None
    """Whether the scores are calibrated; None: not known."""
    thresholds: str
    """A description of the thresholds."""
    versions: dict[str, str]
    """The versions of the packages that figures depend on."""

    def lines(self) -> list[str]:
        """The receipt as two lines of text."""
        made_by = f"bundle {self.bundle_sha256[:12]}" if self.bundle_sha256 else self.predictions
        state = {True: ", calibrated", False: "", None: ""}[self.calibrated]
        state += ", EMA weights" if self.ema else ""
        size = f" at {self.input.width}x{self.input.height}" if self.input else ""
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"receipt: {self.images:,} images x {self.labels:,} labels, "
            f"sha256 {self.data_sha256[:12]}; {made_by}{size}{state}",
            f"         profile {self.profile}; thresholds: {self.thresholds}; {used}",
        ]


def receipt_of(
    measures: Measures,
    records: Records,
    *,
    thresholds: str,
    predictor: Predictor | None = None,
    predictions: str | None = None,
) -> Receipt:
    """The receipt of figures.

    Args:
        measures: The figures.
        records: The images with their targets.
        thresholds: A description of the thresholds.
        predictor: The model, if one computed the scores.
        predictions: The file of predictions, if the scores were read from one.
    """
    info = predictor.engine.info if predictor else None
    return Receipt(
        profile=measures.profile.name,
        data=records.source,
        images=measures.num_images,
        labels=len(measures.per_label),
        data_sha256=records.fingerprint(),
        predictions=predictions,
        bundle_sha256=predictor.engine.weights_sha256 if predictor else None,
        scores_from=info.scores_from if info else None,
        input=info.input if info else None,
        ema=bool(info.provenance.get("ema", False)) if info else None,
        calibrated=predictor.decision.calibration is not None if predictor else None,
        thresholds=thresholds,
        versions=package_versions(),
    )


def package_versions() -> dict[str, str]:
    """The versions of the packages that figures depend on; missing packages are left out."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # not installed, or run from a source tree
            continue
    return found
