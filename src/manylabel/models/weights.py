"""Loads the weights of a backbone: from a file, from a bundle, or from a package.

A file is safetensors or a PyTorch state dict without code. It may be saved by timm, or published by
the authors of a model if timm knows their names of tensors. Position embeddings for another input
size are resampled. Of a bundle, the tensors of its backbone are taken.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NamedTuple, Protocol, final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from manylabel.errors import ConfigError, reason
from manylabel.files import open_regular
from manylabel.models.hub import tagged
from manylabel.models.packaged import PACKAGE, read_packaged
from manylabel.models.saved import load_saved

BUNDLE_FILE: Final = "model.safetensors"
"""The file of weights in a bundle's folder."""
BUNDLE_PREFIX: Final = "backbone.model."
"""What the names of a bundle's tensors begin with if they belong to the timm model."""
_HEAD_PREFIX: Final = "head."

_MAX_SHARED: Final = 4
"""How many times as large as their file tensors may be: those that share memory count twice."""


class Shaped(Protocol):
    """A tensor, or a description of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...


@final
class Weights(NamedTuple):
    """Tensors for a timm model, and where they come from."""

    tensors: dict[str, Tensor]
    """The tensors, by their names in the model or in a file of its authors."""
    where: str
    """A path, or the name of a package."""


def read_weights(backbone: str, source: Path | str) -> Weights:
    """The tensors of a source that `backbone.weights` names.

    Args:
        backbone: timm's name of the model.
        source: A file, the folder of a bundle, or a text that names a package.

    Raises:
        ConfigError: The source is missing or cannot be read, or there is no such package.
        MissingExtraError: The package is not installed.
    """
    if isinstance(source, str):
        return Weights(read_packaged(backbone, source), source)
    path = source / BUNDLE_FILE if source.is_dir() else source
    tensors = _read_state(path)
    if is_of_bundle(tensors):
        kept = len(BUNDLE_PREFIX)
        tensors = {k[kept:]: v for k, v in tensors.items() if k.startswith(BUNDLE_PREFIX)}
    return Weights(tensors, str(path))


def describe_weights(backbone: str, source: Path | str | None) -> str:
    """Where weights come from, in a few words.

    Args:
        backbone: timm's name of the model.
        source: The value of `backbone.weights`; None: timm's own weights.
    """
    if source is None:
        return f"timm's pre-trained weights {tagged(backbone)}"
    if isinstance(source, str):
        return f"weights of the package {source.removeprefix(PACKAGE).lstrip(':')}".rstrip()
    return f"weights of the bundle {source}" if source.is_dir() else f"weights of {source}"


def is_of_bundle(names: Iterable[str]) -> bool:
    """Whether tensors of these names are those of a bundle: a backbone and a head."""
    names = list(names)
    parts = (BUNDLE_PREFIX, _HEAD_PREFIX)
    return all(name.startswith(parts) for name in names) and all(
        any(name.startswith(part) for name in names) for part in parts
    )


def load_weights(model: nn.Module, weights: Weights, resize: Callable[[], None]) -> None:
    """Load tensors into a timm model, except those of a classifier, and resize the model.

    Args:
        model: The model, at the input size that it was made for.
        weights: The tensors.
        resize: Adapts `model` to the input size that is wanted.

    Raises:
        ConfigError: The tensors do not fit the model.
    """
    state = _without_classifier(model, weights.tensors)
    fault = _fault(model, state)
    if fault is None:
        _fill(model, state)
        resize()
        return
    resize()  # the file may have the wanted size, or a third one: then it is resampled only once
    if _fault(model, state) is not None:
        adapted = _adapted(model, state)
        if adapted is None or _fault(model, adapted) is not None:
            raise ConfigError(
                f"The weights do not fit the backbone: {fault}.",
                where=weights.where,
                fix="Give weights of exactly this timm model, or set backbone.name and "
                "backbone.options to match.",
            )
        state = adapted
    _fill(model, state)


def describe_misfit(known: Mapping[str, Tensor], given: Mapping[str, Shaped]) -> str | None:
    """Why a file's tensors do not fit a model, in words; None if they fit.

    For example "2 of 320 tensors are of another shape: head.main.fc.weight is [80, 2048] in the
    file, [20, 2048] in the model". At most three tensors are named for each fault.

    Args:
        known: The tensors of the model, by name.
        given: The tensors of the file, by name; their shapes are enough.
    """
    missing = [key for key in known if key not in given]
    unknown = [key for key in given if key not in known]
    reshaped = [
        f"{key} is {[*given[key].shape]} in the file, {[*tensor.shape]} in the model"
        for key, tensor in known.items()
        if key in given and given[key].shape != tensor.shape
    ]
    faults = [
        _count(missing, len(known), "missing in the file"),
        _count(unknown, len(given), "unknown to the model"),
        _count(reshaped, len(known), "of another shape"),
    ]
    return ". ".join(filter(None, faults)) or None


def _count(tensors: Sequence[str], total: int, fault: str) -> str | None:
    if not tensors:
        return None
    verb = "is" if len(tensors) == 1 else "are"
    named = "; ".join(tensor[:200] for tensor in tensors[:3])
    return f"{len(tensors)} of {total} tensors {verb} {fault}: {named}"


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Hide torch's deprecation warning while timm resamples tables of relative positions.

    The result of the resampling is tested in this project.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _fill(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    model.load_state_dict(dict(state), strict=False)  # batch counters may be missing


def _fault(model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    known = model.state_dict()
    counters = {key: value for key, value in known.items() if key.endswith("num_batches_tracked")}
    return describe_misfit(known, {**counters, **state})


def _adapted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors, renamed and resampled as timm does for its own downloads; None if it cannot.

    timm would also resample patch embeddings. But that would be another model, so only position
    embeddings may change their shape.
    """
    # timm has no function that gives a model's filter. Each module of models has its own under
    # this one public name; `timm.models.load_checkpoint(filter_fn=...)` is what it is made for.
    adapt: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return None
    try:
        with ignore_warnings():
            adapted = adapt(dict(state), model)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError):
        return None  # the filter is for other files; the caller reports the problem of this file
    reshaped = [k for k in adapted if k in state and adapted[k].shape != state[k].shape]
    only_positions = all("pos" in key for key in reshaped)
    return _without_classifier(model, adapted) if only_positions else None


def _without_classifier(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return {key: value for key, value in state.items() if not _is_part(key, names)}


def _is_part(key: str, modules: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that may come from a stranger: nothing in it is run."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            state = load_file(path) if path.suffix == ".safetensors" else load_saved(file, size)
    except FileNotFoundError:
        raise _missing(path) from None
    except UnpicklingError:  # its own message advises an unsafe option
        raise _unreadable(path, "it contains more than plain tensors") from None
    except Exception as error:  # what it raises depends on where a file is damaged
        fault = reason(error)
        if "weights_only" in fault:  # torch's advice again
            fault = "it is not a file of torch.save"
        raise _unreadable(path, fault) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) and _is_plain(value)
        for key, value in state.items()
    ):
        raise _unreadable(path, "it is not a mapping from names to tensors")
    if sum(tensor.nbytes for tensor in state.values()) > _MAX_SHARED * size:
        raise _unreadable(path, "its tensors are larger than the file")
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has a number in memory for each of its positions."""
    special = tensor.is_meta or tensor.is_quantized or tensor.is_complex()
    return tensor.layout == torch.strided and not special


def _missing(path: Path) -> ConfigError:
    if path.name == BUNDLE_FILE and path.parent.is_dir():
        return ConfigError(
            f"The folder with the backbone's weights is not a bundle: it has no {BUNDLE_FILE}.",
            where=str(path.parent),
            fix="Give a file, or a bundle's folder: the folder 'bundle' in the folder of a run.",
        )
    return ConfigError(
        "The backbone's weights do not exist.", where=str(path), fix="Check the path."
    )


def _unreadable(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"The backbone's weights cannot be read: {fault}.",
        where=str(path),
        fix="Give a safetensors file or a PyTorch file that holds a state dict only.",
    )
