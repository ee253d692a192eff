"""Receipts: what a number is of and how it came about, so that two can be told to be the same."""

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
    """All that a number depends on. Two that are equal but for versions are of the same test."""

    profile: str
    """The definitions of the figures."""
    data: str
    """Where images and targets were read from."""
    images: int
    """N."""
    labels: int
    """C."""
    data_sha256: str
    """Of label names, image keys and targets in order."""
    predictions: str | None = None
    """The file of predictions; None: the bundle made them."""
    bundle_sha256: str | None = None
    """Of the bundle's weights; None where predictions came from a file."""
    scores_from: str | None = None
    """The logits that are the bundle's answer: `final` or a branch."""
    input: InputSpec | None = None
    """How the bundle's images were prepared."""
    ema: bool | None = None
    """Whether the weights are an average over training; None: not known."""
    calibrated: bool | None = None
    """Whether the scores went through a calibration; None: not known."""
    thresholds: str
    """How it was decided."""
    versions: dict[str, str]
    """Of the packages that numbers depend on."""

    def lines(self) -> list[str]:
        """The receipt for people, a few short lines."""
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
    """The receipt of the figures of some images.

    Args:
        measures: The figures.
        records: The images with their targets.
        thresholds: How it was decided, in words.
        predictor: The model, where one made the scores.
        predictions: The file that the scores were read from, else.
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
    """The versions of the packages that numbers depend on; one that is missing is left out."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree
            continue
    return found
