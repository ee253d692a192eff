"""Prediction: scores and labels of images.

All commands that use a model, for instance those of prediction, evaluation and explanation, use
`Predictor`. So an image has the same scores and labels everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.decide import Decision
from manylabel.engines.engine import Engine
from manylabel.engines.load import load_engine
from manylabel.errors import ConfigError, ImageError
from manylabel.images import (
    ImageSource,
    Memory,
    free_memory_share,
    own_bytes,
    parse_size,
    prepared,
)
from manylabel.labels import LabelSpace
from manylabel.metrics.f1 import Decided
from manylabel.preprocess import InputSpec

_DECODERS: Final = 4
"""The number of threads that decode images. Decoding releases Python's global lock."""


@final
@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's scores and labels for one image.

    Args:
        key: The image's name.
        labels: The C labels.
        scores: float32 [C], 0..1, after the activation and the calibration, if there is one.
        decided: Boolean [C]: the labels that are predicted.
        calibrated: Whether the scores are calibrated.
    """

    key: str
    labels: LabelSpace
    scores: NDArray[np.float32]
    decided: Decided
    calibrated: bool = False

    @property
    def names(self) -> list[str]:
        """The predicted labels, highest score first."""
        return [name for name, _ in self.found()]

    def found(self) -> list[tuple[str, float]]:
        """The predicted labels with their scores, highest score first."""
        return [self._with_score(i) for i in self._order() if self.decided[i]]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` labels with the highest scores, and these scores, whether predicted or not."""
        return [self._with_score(i) for i in self._order()[:k]]

    def as_dict(self) -> dict[str, Any]:
        """The prediction, ready for JSON: `image`, `labels` as in `names`, and `scores` by label.

        If the scores are calibrated, there is also `calibrated`, which is true.
        """
        scores = dict(zip(self.labels, self.scores.tolist(), strict=True))
        state = {"calibrated": True} if self.calibrated else {}
        return {"image": self.key, "labels": self.names, "scores": scores, **state}

    def _with_score(self, column: int) -> tuple[str, float]:
        return self.labels[column], float(self.scores[column])

    def _order(self) -> list[int]:
        """The labels' positions by falling score; equal scores are in the order of the labels."""
        return np.argsort(-self.scores, kind="stable").tolist()


@final
@dataclass(frozen=True, eq=False)
class PredictedBatch:
    """The scores, labels and errors of a batch of images.

    Args:
        keys: The names of all images of the batch, in order.
        good: int64 [N]: the positions in `keys` of the N images that were scored, in order.
        scores: float32 [N, C], 0..1: the scores of these images.
        decided: Boolean [N, C]: the predicted labels of these images.
        errors: The errors of the other images, by their position in `keys`.
        contents: uint64 [N]: hashes of what these images show (see `images.content`).
    """

    keys: tuple[str, ...]
    good: NDArray[np.int64]
    scores: NDArray[np.float32]
    decided: Decided
    errors: dict[int, ImageError]
    contents: NDArray[np.uint64]


@final
@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """A batch of images that are ready for the engine.

    Args:
        keys: The names of all images of the batch, in order.
        good: int64 [N]: the positions in `keys` of the N images that can be used, in order.
        pixels: uint8 [N, height, width, 3], RGB, 0..255: these images.
        errors: The errors of the other images, by their position in `keys`.
        contents: As in `PredictedBatch`.
    """

    keys: tuple[str, ...]
    good: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    errors: dict[int, ImageError]
    contents: NDArray[np.uint64]


class _Prepared(NamedTuple):
    """One image, ready for the engine."""

    pixels: NDArray[np.uint8]
    """uint8 [height, width, 3]."""
    content: int
    """The hash of what the image shows."""


@final
class Predictor:
    """Predicts with a model: it combines preprocessing, engine and decision.

    Args:
        engine: Computes the logits.
        decision: Turns logits into labels; the model's own decision if not given.
        batch_size: The number of images that are scored at once.
        memory: The memory for images that are decoded at the same time. If not given, most of what
            is free.

    Raises:
        ConfigError: The batch size is below 1.

    Example:
        `Predictor.load("runs/demo/bundle").predict("photo.jpg").names`
    """

    def __init__(
        self,
        engine: Engine,
        decision: Decision | None = None,
        *,
        batch_size: int = 32,
        memory: Memory | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(
                f"The batch size is {batch_size}.", where="batch_size", fix="Give 1 or more."
            )
        self.engine = engine
        self.decision = engine.info.decision if decision is None else decision
        self.labels = LabelSpace(engine.info.labels)
        self.spec: InputSpec = engine.info.input
        self.batch_size = batch_size
        self.memory = memory or free_memory_share()
        assert self.decision.num_labels == len(self.labels)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_memory: str | None = None,
    ) -> Predictor:
        """The predictor of the model in `folder`.

        Args:
            folder: A bundle.
            device: `auto` (a GPU if there is one), or the name of a torch device.
            batch_size: The number of images that are scored at once.
            max_memory: The most memory that the process may take with this model and its images,
                such as "4GB" or "50%".

        Raises:
            BundleError: There is no bundle, or it cannot be used.
            ConfigError: The device cannot be used, the batch size is below 1, or the model takes
                more memory than is allowed.
        """
        most = None if max_memory is None else parse_size(max_memory)
        predictor = cls(load_engine(folder, device=device), batch_size=batch_size)
        if most is not None:
            predictor.memory = predictor._memory_below(most)
        return predictor

    def _memory_below(self, most: int) -> Memory:
        """What is left for images, so that the whole process takes at most so many bytes.

        Raises:
            ConfigError: Nothing is left.
        """
        taken = self._taken(most)
        if taken >= most:
            raise ConfigError(
                f"The model takes at least {taken / 1e6:,.0f} MB of memory with batches of "
                f"{self.batch_size}, and {most / 1e6:,.0f} MB are allowed.",
                where="--max-memory",
                fix="Allow more, or give a smaller --batch-size.",
            )
        fix = "Make it smaller first, or allow more with --max-memory."
        return Memory(most - taken, fix=fix)

    def _taken(self, most: int) -> int:
        """The memory of the process with full batches, or less than that, but `most` or more.

        It is measured with batches that grow. The next one is not run if it would go beyond `most`.
        """
        image = self.spec.height * self.spec.width * 3
        waiting = 2 * self.batch_size * image  # so many prepared images wait for the model
        size, peaks, expected = 1, list[int](), own_bytes() + waiting
        while expected < most:
            shape = (size, self.spec.height, self.spec.width, 3)
            self.engine.run(np.zeros(shape, dtype=np.uint8))
            peaks.append(own_bytes() + waiting)
            if size == self.batch_size or peaks[-1] >= most:
                return peaks[-1]
            grown = [after - before for before, after in pairwise(peaks[-3:])]
            steady = len(grown) == 2 and min(grown) > 0  # an earlier peak hides small batches
            larger = self.batch_size if steady else min(2 * size, self.batch_size)
            each = grown[-1] // (size // 2) if grown else 0
            expected = peaks[-1] + each * (larger - size)
            size = larger
        return expected

    def deciding(self, decision: Decision) -> Predictor:
        """A predictor of the same model with another decision."""
        return Predictor(self.engine, decision, batch_size=self.batch_size, memory=self.memory)

    def predict(self, source: ImageSource) -> Prediction:
        """The prediction for one image.

        Args:
            source: A path, the bytes of an image file, or an image that Pillow has opened.

        Raises:
            ImageError: The image cannot be used.
        """
        scores = self._score(self.prepare(source)[None])
        return self._prediction(_key(source), scores[0], self.decision.decide(scores)[0])

    def predict_many(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Iterator[Prediction | ImageError]:
        """The predictions for many images, in order. A bad image yields its error instead.

        Args:
            sources: As for `predict_batches`.
        """
        batches = self.predict_batches(sources)
        try:
            for batch in batches:
                rows = iter(zip(batch.scores, batch.decided, strict=True))
                for position, key in enumerate(batch.keys):
                    error = batch.errors.get(position)
                    yield self._prediction(key, *next(rows)) if error is None else error
        finally:
            batches.close()

    def predict_batches(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Generator[PredictedBatch, None, None]:
        """The scores and labels of many images, batch by batch, in order.

        Images are read only shortly before they are needed, so `sources` may be long. Each batch
        except the last one has `batch_size` images, including bad ones.

        Args:
            sources: Pairs of a key and an image. The key becomes that of the prediction.
        """
        batches = self.prepare_batches(sources)
        try:
            for batch in batches:
                scores = self._score(batch.pixels)
                decided = self.decision.decide(scores)
                yield PredictedBatch(
                    batch.keys, batch.good, scores, decided, batch.errors, batch.contents
                )
        finally:
            batches.close()

    def prepare_batches(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Generator[PreparedBatch, None, None]:
        """The pixels of many images as the engine takes them, batch by batch, in order.

        The batches are those of `predict_batches`, so what an engine computes from them has the
        same bits.

        Args:
            sources: As for `predict_batches`.
        """
        images = self._prepare_ahead(sources)
        try:
            while (batch := self._prepared_batch(list(islice(images, self.batch_size)))).keys:
                yield batch
        finally:
            images.close()

    def _prepared_batch(self, batch: Sequence[tuple[str, _Prepared | ImageError]]) -> PreparedBatch:
        good = {i: found for i, (_, found) in enumerate(batch) if isinstance(found, _Prepared)}
        none = np.zeros((0, self.spec.height, self.spec.width, 3), dtype=np.uint8)
        return PreparedBatch(
            keys=tuple(key for key, _ in batch),
            good=np.fromiter(good, dtype=np.int64, count=len(good)),
            pixels=np.stack([found.pixels for found in good.values()]) if good else none,
            errors={
                i: found for i, (_, found) in enumerate(batch) if isinstance(found, ImageError)
            },
            contents=np.array([found.content for found in good.values()], dtype=np.uint64),
        )

    def _prediction(self, key: str, scores: NDArray[np.float32], decided: Decided) -> Prediction:
        calibrated = self.decision.calibration is not None
        return Prediction(key, self.labels, scores, decided, calibrated)

    def _score(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores [N, C] of N prepared images."""
        if not len(pixels):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        return self.decision.scores(self.engine.run(pixels).logits)

    def prepare(self, source: ImageSource) -> NDArray[np.uint8]:
        """The pixels of an image as the engine takes them: uint8 [height, width, 3].

        Args:
            source: A path, the bytes of an image file, or an image that Pillow has opened.

        Raises:
            ImageError: The image cannot be used.
        """
        return self._prepare(source).pixels

    def _prepare(self, source: ImageSource) -> _Prepared:
        size, contents = (self.spec.height, self.spec.width), list[int]()
        pixels = prepared(
            source, self.engine.prepare, size=size, memory=self.memory, on_content=contents.append
        )
        return _Prepared(pixels, contents[-1])

    def _prepare_ahead(
        self, sources: Iterable[tuple[str, ImageSource]]
    ) -> Generator[tuple[str, _Prepared | ImageError], None, None]:
        """Keys and pixels in order. The next batch is decoded while a batch is scored."""
        rest = iter(sources)
        waiting: deque[tuple[str, Future[_Prepared | ImageError]]] = deque()
        pool = ThreadPoolExecutor(max_workers=_DECODERS)
        try:
            while True:
                for key, source in islice(rest, 2 * self.batch_size - len(waiting)):
                    waiting.append((key, pool.submit(self._prepare_or_error, source)))
                if not waiting:
                    return
                key, future = waiting.popleft()
                yield key, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare_or_error(self, source: ImageSource) -> _Prepared | ImageError:
        try:
            return self._prepare(source)
        except ImageError as error:
            return error


def _key(source: ImageSource) -> str:
    if isinstance(source, bytes):
        return "image"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image")
    return str(source)
