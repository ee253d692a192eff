"""Devices: the one place where a device's name becomes a device."""

from __future__ import annotations

import torch

from manylabel.errors import ConfigError


def choose_device(name: str | torch.device) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one (CUDA, else MPS), else the CPU.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        gpus = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((gpu for gpu, there in gpus.items() if there), "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # a name is no promise: use the device once
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device '{name}' cannot be used: {str(error).splitlines()[0].rstrip('.')}.",
            where="device",
            fix="Give auto, cpu, or cuda or mps where there is such a GPU.",
        ) from None
    return device
