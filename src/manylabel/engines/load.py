"""The engine that a model's folder needs."""

from __future__ import annotations

from pathlib import Path

from manylabel.engines.engine import Engine


def load_engine(folder: str | Path, *, device: str = "auto") -> Engine:
    """The engine that computes the model in `folder`; what it needs is imported now.

    Args:
        folder: A bundle.
        device: `auto` (a GPU if there is one), or a device's name.

    Raises:
        BundleError: There is no bundle, or it cannot be used.
        ConfigError: The device cannot be used.
    """
    from manylabel.engines.torch import TorchEngine

    return TorchEngine.load(folder, device=device)
