"""Saves a torch classifier as a bundle, and builds it again from a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from manylabel.bundle.folder import INFO_FILE, WEIGHTS_FILE, damaged, read_bundle, write_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.config import Config, parse
from manylabel.devices import choose_device
from manylabel.errors import BundleError, ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.weights import describe_misfit


@final
@dataclass(frozen=True)
class Bundle:
    """A model ready for use.

    Args:
        info: The content of `bundle.json`.
        classifier: The network, in evaluation mode.
        weights_sha256: The SHA-256 of the file of weights. It identifies the model in reports.
    """

    info: BundleInfo
    classifier: Classifier
    weights_sha256: str

    @property
    def labels(self) -> LabelSpace:
        """The labels, in the order of the logits."""
        return LabelSpace(self.info.labels)


def self_contained(model: ModelConfig, classifier: Classifier) -> ModelConfig:
    """The settings that rebuild `classifier` from its weights alone, as a bundle holds them.

    The backbone needs no pre-trained weights, and the head's settings name no file.

    Args:
        model: The settings that the classifier was built from.
        classifier: The classifier.
    """
    backbone = model.backbone.model_copy(update={"pretrained": False, "weights": None})
    return ModelConfig(backbone=backbone, head=classifier.head.settled())


def architecture(model: ModelConfig, classifier: Classifier) -> dict[str, object]:
    """The value of `BundleInfo.model` for a classifier that was built from `model`."""
    return self_contained(model, classifier).model_dump(mode="json")


def require_self_contained(model: ModelConfig, *, where: str) -> None:
    """Check that a model can be built without a download and without another file.

    Args:
        model: The settings of the model.
        where: The file that they come from or go to.

    Raises:
        BundleError: A setting names a file or asks for a download.
    """
    reaching = ["backbone.pretrained"] if model.backbone.pretrained else []
    reaching += [key for key, value in _settings(model) if isinstance(value, PurePath)]
    if reaching:
        raise BundleError(
            f"The bundle's model reaches for something outside of the bundle: {reaching[0]}.",
            where=f"{where}, model",
            fix="Do not use this bundle: a bundle names no file and downloads nothing. Ask for one "
            "that manylabel saved.",
        )


def save_bundle(folder: Path, classifier: Classifier, info: BundleInfo) -> Path:
    """Save a bundle and return its folder; see `write_bundle`.

    Args:
        folder: The folder of the bundle.
        classifier: The network.
        info: The content of `bundle.json`; its `model` must be the classifier's `architecture`.

    Raises:
        BundleError: `folder` exists and is not a bundle, or the model needs a file or a download.
        RunError: The bundle cannot be written, for instance because the disk is full.
    """
    model = parse(ModelConfig, info.model, where="the bundle's model")
    assert info.model == architecture(model, classifier), "info.model must be the architecture"
    require_self_contained(model, where=str(folder / INFO_FILE))
    weights = tensors_to_bytes({key: _portable(t) for key, t in classifier.state_dict().items()})
    return write_bundle(folder, weights, info)


def load_bundle(folder: str | Path, *, device: str | torch.device = "cpu") -> Bundle:
    """The bundle in `folder`, with its classifier on `device` and in evaluation mode.

    The random state of torch does not change.

    Raises:
        BundleError: There is no bundle, it was saved by a newer version, or it is damaged.
        ConfigError: The device cannot be used.
    """
    folder = Path(folder)
    chosen = choose_device(device)
    found = read_bundle(folder)
    classifier = _build(found.info, folder)
    _fill(classifier, _tensors(found.weights, folder), folder)
    return Bundle(found.info, classifier.eval().to(chosen), found.weights_sha256)


def _settings(config: Config, table: str = "") -> Iterator[tuple[str, object]]:
    """Each setting with its full key, also of the tables within."""
    for key, value in config:
        if isinstance(value, Config):
            yield from _settings(value, f"{table}{key}.")
        else:
            yield f"{table}{key}", value


def _portable(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU: safetensors accepts neither views nor channels_last."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _build(info: BundleInfo, folder: Path) -> Classifier:
    where = f"{folder / INFO_FILE}, model"
    try:
        model = parse(ModelConfig, info.model, where=where)
    except ConfigError as error:
        raise damaged(f"model: {error.what.rstrip('.')}", folder / INFO_FILE) from None
    require_self_contained(model, where=str(folder / INFO_FILE))
    try:
        # Building draws initial weights, which are replaced. The caller's random state is kept.
        with torch.random.fork_rng(devices=[]):
            return build_classifier(model, LabelSpace(info.labels), info.input)
    except ConfigError as error:
        raise BundleError(
            f"The bundle's model cannot be built here: {error.what}",
            where=f"{where}.{error.where}",
            fix="Install the version of timm that it was saved with; its provenance may name it.",
        ) from None


def _tensors(weights: bytes, folder: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(weights)
    except SafetensorError as error:
        reason = f"it is incomplete or not a safetensors file ({error})"
        raise damaged(reason, folder / WEIGHTS_FILE) from None


def _fill(classifier: Classifier, state: dict[str, Tensor], folder: Path) -> None:
    if (fault := describe_misfit(classifier.state_dict(), state)) is not None:
        raise BundleError(
            f"The weights do not fit the bundle's model: {fault}.",
            where=str(folder / WEIGHTS_FILE),
            fix=f"Take both {WEIGHTS_FILE} and {INFO_FILE} from the same bundle.",
        )
    classifier.load_state_dict(state)
