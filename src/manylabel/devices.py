"""Devices: the one place where a device's name becomes a device."""

from __future__ import annotations

import torch

from manylabel.errors import ConfigError


def choose_device(name: str | torch.device) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one, else the CPU.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # a name is no promise: use the device once
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device '{name}' cannot be used: {str(error).splitlines()[0].rstrip('.')}.",
            where="device",
            fix="Give auto, cpu, or cuda where there is a GPU.",
        ) from None
    return device
