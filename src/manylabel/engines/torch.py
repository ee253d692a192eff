"""The engine that computes a bundle with torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manylabel.bundle.classifier import Bundle, load_bundle
from manylabel.devices import choose_device
from manylabel.engines.engine import Engine, EngineOutput, RelationMaps, RelationProbe
from manylabel.errors import BundleError, RunError
from manylabel.evidence import RelationWeights
from manylabel.models.gradients import gradient_maps, gradient_methods
from manylabel.models.heads.base import HeadOutput, RelationBranch
from manylabel.pixels import normalise, to_pixels

_NO_MEMORY: Final = ("DefaultCPUAllocator", "out of memory")
"""Words by which errors of memory are told from others, since torch has no class for all."""


@final
class TorchEngine(Engine):
    """Computes a bundle's classifier with torch.

    Args:
        bundle: The model. Its classifier is moved to the device.
        device: `auto` (a GPU if there is one), or the name of a torch device.

    Raises:
        ConfigError: The device cannot be used.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto") -> None:
        chosen = choose_device(device)
        self.classifier = bundle.classifier.to(chosen).eval()
        self._evidence = dict(bundle.classifier.head.evidence())
        self._gradients = {
            method: each
            for method, each in gradient_methods(bundle.classifier.head.takes).items()
            if method not in self._evidence
        }
        super().__init__(
            bundle.info,
            weights_sha256=bundle.weights_sha256,
            device=str(chosen),
            evidence={
                method: each.kind for method, each in {**self._evidence, **self._gradients}.items()
            },
            relations=_probe(self),
        )

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """The engine of the bundle in `folder`.

        Raises:
            BundleError: There is no bundle, or it cannot be used.
            ConfigError: The device cannot be used.
        """
        return cls(load_bundle(folder), device=device)

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image to the model's input size with torch's antialiased interpolation."""
        return to_pixels(image, self.info.input).permute(1, 2, 0).numpy()

    def run(
        self,
        pixels: NDArray[np.uint8],
        evidence: Sequence[str] = (),
        labels: Sequence[int] | None = None,
    ) -> EngineOutput:
        """Compute the output of the classifier for N images.

        Raises:
            BundleError: The bundle has no logits of the name in `info.scores_from`.
            ConfigError: The head has no such method.
            RunError: There is not enough memory.
        """
        methods = [self.method(name) for name in evidence]
        with _enough_memory(len(pixels), self.device), torch.no_grad():
            return self._run(pixels, methods, labels)

    def _run(
        self, pixels: NDArray[np.uint8], methods: Sequence[str], labels: Sequence[int] | None
    ) -> EngineOutput:
        maps = self.classifier.backbone(self.images(pixels))
        output: HeadOutput = self.classifier.head(maps)
        found = {
            method: _of_labels(self._evidence[method].maps(maps, output), labels)
            for method in methods
            if method in self._evidence
        }
        # The head runs again for gradients, so that the logits keep their last bits.
        found |= gradient_maps(
            lambda maps: self.logits(self.classifier.head(maps)),
            maps,
            range(len(self.info.labels)) if labels is None else labels,
            {method: self._gradients[method] for method in methods if method in self._gradients},
        )
        return EngineOutput(
            logits=self.logits(output).float().cpu().numpy(),
            evidence={method: found[method].float().cpu().numpy() for method in methods},
        )

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the features of N images [N, D]: the final map, averaged over H and W.

        Raises:
            RunError: There is not enough memory.
        """
        with _enough_memory(len(pixels), self.device), torch.no_grad():
            final = self.classifier.backbone(self.images(pixels)).final
            return final.float().mean(dim=(2, 3)).cpu().numpy()

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """N images as the classifier takes them, [N, 3, height, width], from their pixels."""
        # Contiguous: the last bits of a convolution depend on the memory layout of the images.
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(self.device)
        return normalise(images, self.info.input)

    def logits(self, output: HeadOutput) -> Tensor:
        """The logits [N, C] that the bundle's scores come from."""
        name = self.info.scores_from
        if name != "final" and name not in output.branches:
            raise BundleError(
                f"The bundle's scores come from '{name}', but its head has no such logits.",
                where="scores_from",
                fix=f"The head has: {', '.join(['final', *output.branches])}.",
            )
        return output.select(name)


def _of_labels(maps: Tensor, labels: Sequence[int] | None) -> Tensor:
    """The maps [N, C', H, W] of some labels of [N, C, H, W]; without a copy if of all."""
    return maps if labels is None else maps[:, list(labels)]


@final
class _TorchRelations(RelationProbe):
    """Computes the branch of relations of a torch engine's head."""

    def __init__(self, engine: TorchEngine, branch: RelationBranch) -> None:
        super().__init__(branch.share)
        self._engine, self._branch = engine, branch

    def weights(self) -> RelationWeights:
        """What can be shown of the branch's weights."""
        return self._branch.weights()

    @torch.no_grad()
    def maps(self, pixels: NDArray[np.uint8]) -> RelationMaps:
        """Compute the logits and maps of N images."""
        engine = self._engine
        with _enough_memory(len(pixels), engine.device):
            maps = engine.classifier.backbone(engine.images(pixels))
            output: HeadOutput = engine.classifier.head(maps)
            return RelationMaps(
                engine.logits(output).float().cpu().numpy(),
                self._branch.reads(maps, output).float().cpu().numpy(),
            )

    @torch.no_grad()
    def compute(self, maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the branch's logits [N, C] and units [N, K] of maps [N, M, H, W]."""
        with _enough_memory(len(maps), self._engine.device):
            logits, units = self._branch.compute(torch.from_numpy(maps).to(self._engine.device))
            return logits.float().cpu().numpy(), units.float().cpu().numpy()


def _probe(engine: TorchEngine) -> RelationProbe | None:
    branch = engine.classifier.head.relations()
    return None if branch is None else _TorchRelations(engine, branch)


@contextmanager
def _enough_memory(images: int, device: str) -> Iterator[None]:
    """Turn torch's errors of memory into a `RunError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(said in str(error) for said in _NO_MEMORY):
            raise
        raise RunError(
            f"There is not enough memory to compute the model for {images} images at once.",
            where=f"device {device}",
            fix="Give a smaller --batch-size."
            if images > 1
            else "Use a machine with more memory, or a model with a smaller input.",
        ) from None
