"""Chooses and loads the engine for a model's folder."""

from __future__ import annotations

from pathlib import Path

from manylabel.engines.engine import Engine


def load_engine(folder: str | Path, *, device: str = "auto") -> Engine:
    """The engine that computes the model in `folder`. Its framework is imported by this call.

    Args:
        folder: A bundle.
        device: `auto` (a GPU if there is one), or the name of a device.

    Raises:
        BundleError: There is no bundle, or it cannot be used.
        ConfigError: The device cannot be used.
    """
    from manylabel.engines.torch import TorchEngine

    return TorchEngine.load(folder, device=device)
