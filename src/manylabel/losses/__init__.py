"""The losses by name."""

from __future__ import annotations

from typing import Final

from manylabel.losses.bce import BCE, BCEConfig
from manylabel.losses.partial import UnknownConfig

LOSSES: Final = {"bce": (BCEConfig, BCE)}
"""Name to (config, loss)."""

LossConfig = BCEConfig
"""The settings of any loss, told apart by `name`."""

__all__ = ["BCE", "LOSSES", "BCEConfig", "LossConfig", "UnknownConfig"]
