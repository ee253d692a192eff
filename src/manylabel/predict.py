"""Prediction: images in, a score for each label out; one path for every command that scores.

Evaluation, explanation and whatever serves a model all go through `Predictor`, so that the same
image gets the same scores everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from manylabel.bundle import Bundle, choose_device, load_bundle
from manylabel.errors import BundleError, ConfigError, ImageError
from manylabel.images import ImageSource, load_rgb
from manylabel.labels import LabelSpace
from manylabel.metrics.thresholds import decide
from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.base import HeadOutput
from manylabel.preprocess import InputSpec, normalise, to_pixels

_DECODERS: Final = 4
"""Threads that decode, which happens outside of Python's lock."""


@final
@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's scores for one image.

    Args:
        key: The image's name.
        labels: The C labels.
        scores: float32 [C], 0..1, after the sigmoid and the bundle's calibration, if it has one.
        thresholds: float32 [C], 0..1: a score that reaches its label's is a decision for it.
        at_least: How many labels are decided for at least, whatever the thresholds.
        at_most: How many at most; None: any number.
        calibrated: The scores went through a calibration.
    """

    key: str
    labels: LabelSpace
    scores: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    at_least: int = 0
    at_most: int | None = None
    calibrated: bool = False

    @property
    def names(self) -> list[str]:
        """The labels that are decided for, highest score first."""
        decided = decide(
            self.scores[None], self.thresholds, at_least=self.at_least, at_most=self.at_most
        )[0]
        return [self.labels[i] for i in self._order() if decided[i]]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` labels of the highest scores with these, whether decided for or not."""
        return [(self.labels[i], float(self.scores[i])) for i in self._order()[:k]]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: `image`, `labels` as `names` gives them, `scores` by name.

        `calibrated` is there, and true, only if they are.
        """
        scores = dict(zip(self.labels, self.scores.tolist(), strict=True))
        told = {"calibrated": True} if self.calibrated else {}
        return {"image": self.key, "labels": self.names, "scores": scores, **told}

    def _order(self) -> list[int]:
        """Columns by falling score; of equal ones the first label first."""
        return np.argsort(-self.scores, kind="stable").tolist()


@final
class Predictor:
    """A bundle at work.

    Args:
        bundle: The model; its classifier is moved to the device.
        device: `auto` (a GPU if there is one), or a device's name as PyTorch has it.
        batch_size: Images scored at once by `predict_many`.

    Raises:
        ConfigError: The device cannot be used, or the batch size is below 1.

    Example:
        `Predictor.load("runs/demo/bundle").predict("photo.jpg").names`
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ConfigError(
                f"The batch size is {batch_size}.", where="batch_size", fix="Give 1 or more."
            )
        self.bundle = bundle
        self.labels: LabelSpace = bundle.labels
        self.spec: InputSpec = bundle.info.input
        self.device: torch.device = choose_device(device)
        self.batch_size = batch_size
        self._classifier = bundle.classifier.to(self.device).eval()
        self._thresholds = np.array(bundle.info.thresholds, dtype=np.float32)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", batch_size: int = 32) -> Predictor:
        """The predictor of the bundle in `folder`.

        Raises:
            BundleError: There is no bundle, or it cannot be used.
            ConfigError: The device cannot be used, or the batch size is below 1.
        """
        return cls(load_bundle(folder), device=device, batch_size=batch_size)

    def predict(self, source: ImageSource) -> Prediction:
        """The scores of one image.

        Args:
            source: A path, the bytes of an image file, or an image that Pillow has opened.

        Raises:
            ImageError: The image cannot be used.
        """
        pixels = to_pixels(load_rgb(source), self.spec)
        scores = self._scores_of([pixels])
        return self._prediction(_key(source), scores[0])

    def predict_many(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Iterator[Prediction | ImageError]:
        """The scores of many images, in their order; a bad one's error stands in its place.

        Images are read when they are about to be needed, so `sources` may be long.

        Args:
            sources: Pairs of a key, which the prediction carries, and an image.
        """
        decoded = self._decode_ahead(sources)
        while batch := list(islice(decoded, self.batch_size)):
            good = [pixels for _, pixels in batch if isinstance(pixels, Tensor)]
            scores = iter(self._scores_of(good))
            for key, pixels in batch:
                if isinstance(pixels, ImageError):
                    yield pixels
                else:
                    yield self._prediction(key, next(scores))

    def forward(self, pixels: Tensor) -> HeadOutput:
        """The head's whole output for pixels as `to_pixels` gives them, uint8 [N, 3, H, W]."""
        return self.look(pixels)[1]

    @torch.no_grad()
    def look(self, pixels: Tensor) -> tuple[FeatureMaps, HeadOutput]:
        """The backbone's maps and the head's output: class activation maps need both."""
        maps = self._classifier.backbone(normalise(pixels.to(self.device), self.spec))
        return maps, self._classifier.head(maps)

    def scores(self, output: HeadOutput) -> Tensor:
        """Scores float32 [N, C], 0..1, of the logits that are the bundle's answer.

        They are calibrated if the bundle has a calibration, and then without a gradient.

        Raises:
            BundleError: The head has no logits of that name.
        """
        name = self.bundle.info.scores_from
        if name != "final" and name not in output.branches:
            raise BundleError(
                f"The bundle's scores are those of '{name}', which its head does not have.",
                where="scores_from",
                fix=f"Known: {', '.join(['final', *output.branches])}.",
            )
        scores = output.select(name).float().sigmoid()
        calibration = self.bundle.info.calibration
        if calibration is None:
            return scores
        return torch.from_numpy(calibration.apply(scores.numpy(force=True))).to(scores.device)

    def _prediction(self, key: str, scores: NDArray[np.float32]) -> Prediction:
        info = self.bundle.info
        return Prediction(
            key,
            self.labels,
            scores,
            self._thresholds,
            at_least=info.at_least,
            at_most=info.at_most,
            calibrated=info.calibration is not None,
        )

    def _scores_of(self, pixels: list[Tensor]) -> NDArray[np.float32]:
        if not pixels:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        return self.scores(self.forward(torch.stack(pixels))).cpu().numpy()

    def _decode_ahead(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Iterator[tuple[str, Tensor | ImageError]]:
        """Keys and pixels in order; while one batch is scored the next is being decoded."""
        rest = iter(sources)
        waiting: deque[tuple[str, Future[Tensor | ImageError]]] = deque()
        pool = ThreadPoolExecutor(max_workers=_DECODERS)
        try:
            while True:
                for key, source in islice(rest, 2 * self.batch_size - len(waiting)):
                    waiting.append((key, pool.submit(self._decode, source)))
                if not waiting:
                    return
                key, future = waiting.popleft()
                yield key, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _decode(self, source: ImageSource) -> Tensor | ImageError:
        try:
            return to_pixels(load_rgb(source), self.spec)
        except ImageError as error:
            return error


def _key(source: ImageSource) -> str:
    if isinstance(source, bytes):
        return "image"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image")
    return str(source)
