"""The interface of engines: prepared pixels in, logits and evidence maps out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from manylabel.bundle.info import ModelInfo
from manylabel.errors import ConfigError
from manylabel.evidence import MapKind, RelationWeights, find_method


@final
class EngineOutput(NamedTuple):
    """The output of an engine for N images."""

    logits: NDArray[np.float32]
    """The model's logits [N, C], before the activation."""
    evidence: Mapping[str, NDArray[np.floating[Any]]]
    """Evidence maps [N, C', H, W] of the requested methods, by method, for the C' labels that were
    asked for."""


@final
class RelationMaps(NamedTuple):
    """The logits of N images, and the maps from which relations are computed."""

    logits: NDArray[np.float32]
    """The model's logits [N, C], before the activation."""
    maps: NDArray[np.float32]
    """The maps [N, M, H, W] that the branch of relations reads. The first C are those of the labels
    (SRN's are U); a second look also reads features of the image."""


class RelationProbe(ABC):
    """Computes the branch of a model that reads the maps of all labels, from any maps.

    So maps can be changed, and what the model makes of them be seen, without the image.

    Args:
        share: What one unit of the branch's logits adds to the model's final logits.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    @abstractmethod
    def weights(self) -> RelationWeights:
        """What can be shown of the branch's weights."""

    @abstractmethod
    def maps(self, pixels: NDArray[np.uint8]) -> RelationMaps:
        """Compute the logits and maps of N images.

        Args:
            pixels: uint8 [N, height, width, 3], RGB, 0..255; each image as `prepare` returns it.

        Raises:
            BundleError: The model has no logits of the name in `info.scores_from`.
            RunError: There is not enough memory.
        """

    @abstractmethod
    def compute(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the branch's logits [N, C] and units [N, K] of maps [N, M, H, W].

        Raises:
            RunError: There is not enough memory.
        """


class Engine(ABC):
    """Computes one model. Input and output are NumPy arrays, so a caller needs no framework.

    Args:
        info: The description of the model.
        weights_sha256: The SHA-256 of the model's weights. It identifies the model in receipts.
        device: The name of the device that it computes on.
        evidence: The methods of evidence maps that it has, the best one first; may be empty. Costly
            ones come last.
        relations: Computes the branch that reads the maps of all labels; None: there is none.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        weights_sha256: str,
        device: str,
        evidence: Mapping[str, MapKind],
        relations: RelationProbe | None = None,
    ) -> None:
        self.info = info
        self.weights_sha256 = weights_sha256
        self.device = device
        self.evidence = evidence
        self.relations = relations

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image to the model's input size: uint8 [height, width, 3], RGB, 0..255.

        Several threads may call this at the same time.

        Args:
            image: uint8 [H, W, 3], RGB, 0..255, as `images.load_rgb` returns it.
        """

    @abstractmethod
    def run(
        self,
        pixels: NDArray[np.uint8],
        evidence: Sequence[str] = (),
        labels: Sequence[int] | None = None,
    ) -> EngineOutput:
        """Compute the output of the model for N images.

        The logits do not depend on the other arguments, to the last bit.

        Args:
            pixels: uint8 [N, height, width, 3], RGB, 0..255; each image as `prepare` returns it.
            evidence: The methods whose maps are to be computed, keys of `evidence`.
            labels: The columns of the C' labels whose maps are to be computed, in the order of the
                maps; all labels if not given. The logits are always those of all labels.

        Raises:
            BundleError: The model has no logits of the name in `info.scores_from`.
            ConfigError: The model has no such method.
            RunError: There is not enough memory.
        """

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of N images [N, D]: the backbone's last map, averaged over H and W.

        Args:
            pixels: uint8 [N, height, width, 3], RGB, 0..255; each image as `prepare` returns it.

        Raises:
            ConfigError: The engine gives no features.
            RunError: There is not enough memory.
        """
        raise ConfigError(
            f"The engine {type(self).__name__} gives no features.",
            where="embed",
            fix="Use a bundle, which torch computes.",
        )

    def method(self, name: str | None = None) -> str:
        """The method of evidence maps called `name`, or the best one if `name` is None.

        Raises:
            ConfigError: The model has no such method. The error suggests the closest.
        """
        return find_method(name, self.evidence)
