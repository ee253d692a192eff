"""What an engine is: prepared pixels in, logits and evidence maps out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from manylabel.bundle.info import ModelInfo
from manylabel.errors import ConfigError
from manylabel.evidence import MapKind


@final
class EngineOutput(NamedTuple):
    """What an engine says of N images."""

    logits: NDArray[np.float32]
    """The model's answer [N, C], before the activation."""
    evidence: Mapping[str, NDArray[np.floating[Any]]]
    """Evidence maps [N, C, H, W] by method: those that were asked for."""


class Engine(ABC):
    """Computes one model. Images go through NumPy arrays, so a caller needs no framework.

    Args:
        info: What the model says of itself.
        weights_sha256: Of the model's weights: tells models apart in receipts.
        device: Where it computes, for people.
        evidence: The methods of evidence maps that it has, the best first; may be empty.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        weights_sha256: str,
        device: str,
        evidence: Mapping[str, MapKind],
    ) -> None:
        self.info = info
        self.weights_sha256 = weights_sha256
        self.device = device
        self.evidence = evidence

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image at the model's input size: uint8 [height, width, 3], RGB, 0..255.

        It may be called by several threads at once.

        Args:
            image: As `images.load_rgb` gives it: uint8 [H, W, 3], RGB, 0..255.
        """

    @abstractmethod
    def run(self, pixels: NDArray[np.uint8], evidence: Sequence[str] = ()) -> EngineOutput:
        """What the model says of N images.

        Args:
            pixels: uint8 [N, height, width, 3], RGB, 0..255, each as `prepare` gives it.
            evidence: The methods whose maps are wanted, keys of `evidence`.

        Raises:
            BundleError: The model has no logits of the name that its info gives.
        """

    def method(self, name: str | None = None) -> str:
        """The method of evidence maps called `name`; the best if it is None.

        Raises:
            ConfigError: The model has no such method.
        """
        known = list(self.evidence)
        if name is None and known:
            return known[0]
        if name in known:
            return name
        raise ConfigError(
            f"The model has no evidence maps by '{name}'." if name else "It has no evidence maps.",
            where="method",
            fix=f"It has: {', '.join(known)}." if known else "Use a model of another head.",
        )
