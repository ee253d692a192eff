"""Saves a torch classifier as a bundle, and builds it again from a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from manylabel.atomic.reading import read_whole
from manylabel.bundle.folder import (
    INFO_FILE,
    WEIGHTS_FILE,
    OpenBundle,
    damaged,
    open_bundle,
    unfit,
    write_bundle,
)
from manylabel.bundle.info import BundleInfo
from manylabel.bundle.tensors import TensorSpec
from manylabel.config import Config, parse
from manylabel.devices import choose_device
from manylabel.errors import BundleError, ConfigError, reason
from manylabel.labels import LabelSpace
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier, outline
from manylabel.models.weights import describe_misfit

MAX_TABLES: Final = 1 << 30
"""The largest number of bytes of a model's tensors that are computed, not loaded, such as the masks
of windows."""

_TYPES: Final = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""The names that safetensors gives to torch's types."""


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
    reaching += [] if model.backbone.weights is None else ["backbone.weights"]
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
    info, classifier, digest = read_whole(folder, lambda: _load(folder))
    return Bundle(info, classifier.eval().to(chosen), digest)


def _load(folder: Path) -> tuple[BundleInfo, Classifier, str]:
    with open_bundle(folder) as found:
        info, model, labels = found.info, _model(found.info, folder), LabelSpace(found.info.labels)
        _require_tensors_for_blocks(model, found, folder)
        with _building(folder):
            planned, shapes = outline(model, labels, info.input)
        _require_fit(planned, found, folder)
        state = _state(found, folder)
        with _building(folder):
            classifier = build_classifier(model, labels, info.input, shapes)
            classifier.load_state_dict(state)
    return info, classifier, found.weights_sha256


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


def _model(info: BundleInfo, folder: Path) -> ModelConfig:
    try:
        model = parse(ModelConfig, info.model, where=f"{folder / INFO_FILE}, model")
    except ConfigError as error:
        raise unfit(f"model: {error.what.rstrip('.')}", folder / INFO_FILE) from None
    require_self_contained(model, where=str(folder / INFO_FILE))
    return model


def _require_tensors_for_blocks(model: ModelConfig, found: OpenBundle, folder: Path) -> None:
    """Check that there are not more blocks than tensors: planning many blocks takes long."""
    blocks, tensors = model.backbone.options.num_blocks, len(found.tensors)
    if blocks > tensors:
        raise _misfit(f"{blocks} blocks have only {tensors} tensors", folder)


def _require_fit(planned: Classifier, found: OpenBundle, folder: Path) -> None:
    """Check that model and weights belong together, before memory is taken for either."""
    known = planned.state_dict()
    fault = describe_misfit(known, found.tensors) or _describe_types(known, found.tensors)
    if fault is not None:
        raise _misfit(fault, folder)
    others = sum(buffer.nbytes for key, buffer in planned.named_buffers() if key not in known)
    if others > MAX_TABLES:
        raise BundleError(
            f"The bundle's model needs {others:,} bytes for tables beside its weights.",
            where=f"{folder / INFO_FILE}, model",
            fix=f"Use a model with smaller images or windows: at most {MAX_TABLES:,} bytes.",
        )


@contextmanager
def _building(folder: Path) -> Iterator[None]:
    """Turn an error of the block, which builds the bundle's model, into a `BundleError`.

    Building draws initial weights, which are replaced. The caller's random state is kept.
    """
    where = f"{folder / INFO_FILE}, model"
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except ConfigError as error:
        raise BundleError(
            f"The bundle's model cannot be built here: {error.what}",
            where=f"{where}.{error.where}",
            fix="Install the version of timm that it was saved with; its provenance may name it.",
        ) from None
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, ValueError) as error:
        raise BundleError(
            f"The bundle's model cannot be built: {reason(error)}.",
            where=where,
            fix="Copy or download the whole bundle again. If this does not help, its model is "
            "not one that manylabel saved, or it needs more memory than there is.",
        ) from None


def _misfit(fault: str, folder: Path) -> BundleError:
    return BundleError(
        f"The weights do not fit the bundle's model: {fault}.",
        where=str(folder / WEIGHTS_FILE),
        fix=f"Take both {WEIGHTS_FILE} and {INFO_FILE} from the same bundle, and copy them again.",
    )


def _describe_types(known: Mapping[str, Tensor], given: Mapping[str, TensorSpec]) -> str | None:
    """Why the types of a file's tensors are not those of the model; None if they are."""
    for key, tensor in known.items():
        wanted = _TYPES[tensor.dtype]
        if given[key].dtype != wanted:
            return f"{key} is of type {given[key].dtype} in the file, {wanted} in the model"
    return None


def _state(found: OpenBundle, folder: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(found.read_weights())
    except SafetensorError as error:
        fault = f"it is incomplete or not a safetensors file ({error})"
        raise damaged(fault, folder / WEIGHTS_FILE) from None
