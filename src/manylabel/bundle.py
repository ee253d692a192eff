"""Bundles: a folder with all that it takes to use a model, and nothing that can run code.

    model.safetensors    the classifier's weights
    bundle.json          its architecture, labels, input, thresholds and where it comes from

Training hands a bundle to everyone else; prediction, evaluation and explanation read it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, final

import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from manylabel.config import Config, parse
from manylabel.errors import BundleError, ConfigError, DataError, RunError
from manylabel.labels import LabelSpace
from manylabel.metrics.calibration import Calibration
from manylabel.metrics.thresholds import check_limits
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import MLGCNConfig, SRNConfig, SRNHead, SRNModernConfig, SRNModernHead
from manylabel.models.weights import describe_misfit
from manylabel.preprocess import InputSpec
from manylabel.version import __version__

FORMAT_VERSION: Final = 1
"""The version of the two files' meaning; a bundle of a newer one is refused."""

WEIGHTS_FILE: Final = "model.safetensors"
INFO_FILE: Final = "bundle.json"


class BundleInfo(Config):
    """What `bundle.json` says of a model."""

    format_version: int = FORMAT_VERSION
    """The meaning of the bundle's files."""
    manylabel_version: str = __version__
    """The manylabel that saved it."""
    model: ModelConfig
    """The architecture, `self_contained`: it names no file and downloads nothing."""
    labels: tuple[str, ...]
    """The label names, in the order of the logits."""
    input: InputSpec
    """The model's input."""
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """One a label: a score, calibrated if there is a calibration, that reaches it is a decision
    for the label."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """How many labels each image is given at least, whatever the thresholds."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """How many at most; None: any number."""
    calibration: Calibration | None = None
    """What the scores go through; None: they are as the model gives them."""
    tuned: dict[str, Any] = Field(default_factory=dict)
    """How thresholds and calibration were found: rule, data, figures; empty if they were not."""
    scores_from: str = "final"
    """Which logits are the model's answer: `final`, or a branch of the head."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Where the model comes from: recipe, seed, data, versions."""

    @model_validator(mode="after")
    def _check(self) -> BundleInfo:
        try:
            LabelSpace(self.labels)
            check_limits(self.at_least, self.at_most)
        except (ConfigError, DataError) as error:
            raise ValueError(error.what) from None
        if len(self.thresholds) != len(self.labels):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.labels)} labels")
        if self.calibration is not None and self.calibration.num_labels != len(self.labels):
            given = self.calibration.num_labels
            raise ValueError(f"a calibration of {given} labels for {len(self.labels)}")
        return self


@final
@dataclass(frozen=True)
class Bundle:
    """A model ready for use.

    Args:
        info: What `bundle.json` says.
        classifier: The network, in evaluation mode.
        weights_sha256: Of the file of weights: tells models apart in reports.
    """

    info: BundleInfo
    classifier: Classifier
    weights_sha256: str

    @property
    def labels(self) -> LabelSpace:
        """The label space of the scores."""
        return LabelSpace(self.info.labels)


def self_contained(model: ModelConfig, classifier: Classifier) -> ModelConfig:
    """`model` as a bundle holds it: `classifier` can be built anew from it and its weights alone.

    No weights are fetched for the backbone, SRN's grid is the one that it was built with, and
    ML-GCN's vectors are in the weights: their file is not named.
    """
    backbone = model.backbone.model_copy(update={"pretrained": False, "weights": None})
    head = model.head
    if isinstance(head, MLGCNConfig):
        head = head.model_copy(update={"vector_file": None})
    if isinstance(head, SRNConfig | SRNModernConfig):
        assert isinstance(classifier.head, SRNHead | SRNModernHead)
        head = head.model_copy(update={"grid": classifier.head.regularisation.grid})
    return ModelConfig(backbone=backbone, head=head)


def save_bundle(folder: Path, classifier: Classifier, info: BundleInfo) -> Path:
    """Save a bundle and return its folder.

    It is written whole beside `folder` and then renamed: whatever happens, a bundle that lies
    there already stays until the new one is complete.

    Raises:
        BundleError: Something that is not a bundle lies there.
        RunError: It cannot be written, for instance because the disk is full.
    """
    assert info.model == self_contained(info.model, classifier), "save self_contained(model)"
    weights = tensors_to_bytes({key: _portable(t) for key, t in classifier.state_dict().items()})
    return _put_in_place(folder, weights, info)


def with_decisions(
    folder: str | Path,
    out: Path,
    *,
    thresholds: Sequence[float],
    calibration: Calibration | None = None,
    at_least: int = 0,
    at_most: int | None = None,
    tuned: Mapping[str, Any] | None = None,
) -> Path:
    """Save the bundle in `folder` as `out` with other decisions, and return `out`.

    The weights stay as they are, bit by bit, and so does their SHA-256. What the bundle said of
    its decisions before is gone, a calibration too if none is given.

    Args:
        folder: A bundle.
        out: Where the new one is saved; `folder` itself is replaced when the new one is whole.
        thresholds: [C], of the scores that come out: of calibrated ones if there is a calibration.
        calibration: What the scores are to go through.
        at_least: How many labels each image is given at least.
        at_most: How many at most; None: any number.
        tuned: How all of this was found.

    Raises:
        BundleError: There is no bundle, it is damaged, or something else lies at `out`.
        ConfigError: The decisions do not fit the bundle.
        RunError: The new one cannot be written.
    """
    folder = Path(folder)
    tables = _read_info(folder)
    digest = tables.pop("weights_sha256", None)
    info = _parse_info(tables, folder)
    weights = _read_file(folder / WEIGHTS_FILE)
    _require_digest(weights, digest, folder / WEIGHTS_FILE)
    decisions = {
        "thresholds": tuple(thresholds),
        "calibration": calibration,
        "at_least": at_least,
        "at_most": at_most,
        "tuned": dict(tuned or {}),
    }
    decided = parse(BundleInfo, {**dict(info), **decisions}, where="the new decisions")
    return _put_in_place(out, weights, decided)


def _put_in_place(folder: Path, weights: bytes, info: BundleInfo) -> Path:
    target = folder.resolve()  # a link stays, and what it names is replaced
    tables = {**info.model_dump(mode="json"), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        _refuse_foreign(target)
        temporary.mkdir(parents=True)
        _write(temporary / WEIGHTS_FILE, weights)
        _write(temporary / INFO_FILE, (json.dumps(tables, indent=2) + "\n").encode())
        _replace(temporary, target)
    except OSError as error:
        raise RunError(
            f"The bundle could not be saved: {error.strerror or error}.",
            where=str(folder),
            fix="Make room or name another folder; what lay there before is untouched.",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # there after a fault only
    return folder


def load_bundle(folder: str | Path, *, device: str | torch.device = "cpu") -> Bundle:
    """The bundle in `folder`, its classifier on `device` and in evaluation mode.

    Torch's random state is left as it was.

    Raises:
        BundleError: There is none, it was saved by a newer version, or it is damaged.
        ConfigError: The device cannot be used.
    """
    folder = Path(folder)
    chosen = choose_device(device)
    tables = _read_info(folder)
    digest = tables.pop("weights_sha256", None)
    info = _parse_info(tables, folder)
    state = _read_weights(folder / WEIGHTS_FILE, digest)
    classifier = _build(info, folder)
    _fill(classifier, state, folder)
    return Bundle(info, classifier.eval().to(chosen), str(digest))


def choose_device(name: str | torch.device) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # a name is no promise: use it once
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device '{name}' cannot be used: {str(error).splitlines()[0].rstrip('.')}.",
            where="device",
            fix="Give auto, cpu, or cuda where there is a GPU.",
        ) from None
    return device


def _portable(tensor: Tensor) -> Tensor:
    """A copy of its own, in memory order: safetensors takes neither views nor channels_last."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _refuse_foreign(target: Path) -> None:
    """A folder of other things is not replaced: that would delete them."""
    if not target.exists():
        return
    known = {WEIGHTS_FILE, INFO_FILE}
    foreign = sorted({p.name for p in target.iterdir()} - known) if target.is_dir() else [""]
    if foreign:
        holds = f"a folder that holds {foreign[0]!r}" if target.is_dir() else "a file"
        raise BundleError(
            f"There is {holds}, which is no part of a bundle.",
            where=str(target),
            fix="Name another folder, or move that away: a bundle has its folder to itself.",
        )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`, or leave both as they are."""
    if not target.exists():
        new.rename(target)
        return
    old = new.with_name(f"{new.name}.old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)  # the new one is in place: too late to fail


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_FILE
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(folder, INFO_FILE) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(f"it is not JSON: {error}", path) from None
    version = tables.get("format_version") if isinstance(tables, dict) else None
    if type(version) is not int:
        raise _damaged("it does not give its format version", path)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"The bundle has format {version}; this manylabel ({__version__}) reads formats up to "
            f"{FORMAT_VERSION}.",
            where=str(path),
            fix=f"Update manylabel: it was saved by {tables.get('manylabel_version', 'a newer')}.",
        )
    return tables


def _parse_info(tables: dict[str, Any], folder: Path) -> BundleInfo:
    path = folder / INFO_FILE
    try:
        return parse(BundleInfo, tables, where=str(path))
    except ConfigError as error:
        raise _damaged(error.what.rstrip("."), path) from None


def _read_weights(path: Path, digest: object) -> dict[str, Tensor]:
    data = _read_file(path)
    try:
        state = tensors_from_bytes(data)
    except SafetensorError as error:
        raise _damaged(f"it is cut short or no safetensors file ({error})", path) from None
    _require_digest(data, digest, path)
    return state


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path.parent, path.name) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _require_digest(data: bytes, digest: object, path: Path) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(f"its SHA-256 is not the one that {INFO_FILE} gives", path)


def _build(info: BundleInfo, folder: Path) -> Classifier:
    try:
        # Building draws first weights, only to have them overwritten: keep that to ourselves.
        with torch.random.fork_rng(devices=[]):
            return build_classifier(info.model, len(info.labels), info.input)
    except ConfigError as error:
        raise BundleError(
            f"The bundle's model cannot be built here: {error.what}",
            where=f"{folder / INFO_FILE}, model.{error.where}",
            fix="Install the version of timm that it was saved with; its provenance may tell.",
        ) from None


def _fill(classifier: Classifier, state: dict[str, Tensor], folder: Path) -> None:
    if (fault := describe_misfit(classifier.state_dict(), state)) is not None:
        raise BundleError(
            f"The weights do not fit the bundle's model: they {fault}.",
            where=str(folder / WEIGHTS_FILE),
            fix=f"{WEIGHTS_FILE} and {INFO_FILE} belong together: take both from one bundle.",
        )
    classifier.load_state_dict(state)


def _missing(folder: Path, name: str) -> BundleError:
    if not folder.exists():
        return BundleError("The bundle does not exist.", where=str(folder), fix="Check the path.")
    inner = sorted(path.parent for path in folder.glob(f"*/{INFO_FILE}"))
    fix = f"Did you mean {inner[0]}?" if inner else "Give the folder that training wrote it to."
    return BundleError(f"There is no bundle: {name} is missing.", where=str(folder), fix=fix)


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(
        f"The bundle cannot be read: {error.strerror or error}.",
        where=str(path),
        fix="Check its permissions.",
    )


def _damaged(reason: str, path: Path) -> BundleError:
    return BundleError(
        f"The bundle is damaged: {reason}.",
        where=str(path),
        fix="Copy or fetch the whole bundle again, or save it anew.",
    )
