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
    """The number of images that the figures are of."""
    bad_images: int | None = None
    """The number of further images that cannot be decoded and are left out; None: none is known."""
    trained_on: int | None = None
    """The number of images that the model was trained on; None: not known."""
    trained_kept: bool | None = None
    """Whether the figures are also of these images, or they are left out; None: there are none."""
    validated_on: int | None = None
    """The number of images by which validation chose the model; the figures are also of these."""
    tuned_on: int | None = None
    """The number of images that thresholds or calibration were fitted to; the same holds."""
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
        """The receipt as two or three lines of text."""
        made_by = f"bundle {self.bundle_sha256[:12]}" if self.bundle_sha256 else self.predictions
        state = {True: ", calibrated", False: "", None: ""}[self.calibrated]
        state += ", EMA weights" if self.ema else ""
        size = f" at {self.input.width}x{self.input.height}" if self.input else ""
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        known = self._images_in_words()
        return [
            f"receipt: {self.images:,} images x {self.labels:,} labels, "
            f"sha256 {self.data_sha256[:12]}; {made_by}{size}{state}",
            f"         profile {self.profile}; thresholds: {self.thresholds}; {used}",
            *([f"         {known}"] if known else []),
        ]

    def _images_in_words(self) -> str:
        """The images that are left out, and those that are not new to the model."""
        kept = "kept" if self.trained_kept else "left out"
        parts = {
            f"trained on ({kept})": self.trained_on,
            "validated on": self.validated_on,
            "tuned on": self.tuned_on,
            "that cannot be decoded (left out)": self.bad_images,
        }
        return ", ".join(f"{count:,} images {words}" for words, count in parts.items() if count)


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
