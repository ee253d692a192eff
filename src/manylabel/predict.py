"""Prediction: scores and labels of images.

All commands that use a model, for instance those of prediction, evaluation and explanation, use
`Predictor`. So an image has the same scores and labels everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, final, overload

import numpy as np
from numpy.typing import NDArray

from manylabel.decide import Decision
from manylabel.engines.engine import Engine
from manylabel.engines.load import load_engine
from manylabel.engines.memory import memory_below
from manylabel.errors import ConfigError, ImageError
from manylabel.images import Memory, free_memory_share, parse_size, prepared
from manylabel.images.arrays import Picture, as_source, name_of, stacked
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
            predictor.memory = memory_below(predictor.engine, batch_size, most)
        return predictor

    def deciding(self, decision: Decision) -> Predictor:
        """A predictor of the same model with another decision."""
        return Predictor(self.engine, decision, batch_size=self.batch_size, memory=self.memory)

    @overload
    def predict(self, images: Picture) -> Prediction: ...

    @overload
    def predict(self, images: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """The prediction for one image, or a list of predictions for a list of images.

        Args:
            images: An image, or a list of images. An image is a path, the bytes of a file, an image
                of Pillow, an array (uint8 [H, W, 3] in RGB, or [H, W] for greys) or a tensor
                ([3, H, W] in RGB or [1, H, W]; uint8, or float in 0..1).

        Raises:
            ImageError: An image cannot be used. `predict_many` goes on with the others.
        """
        if not isinstance(images, list | tuple):
            scores = self._score(self.prepare(images)[None])
            return self._prediction(name_of(images), scores[0], self.decision.decide(scores)[0])
        found = []
        for one in self.predict_many(images):
            if isinstance(one, ImageError):
                raise one
            found.append(one)
        return found

    def embed(self, images: Picture | Sequence[Picture]) -> NDArray[np.float32]:
        """The features of images: the backbone's last map, averaged over its positions.

        Images that look alike to the model have similar features, whatever its labels are.

        Args:
            images: As for `predict`.

        Returns:
            float32 [N, D], one row for each image; D depends on the backbone.

        Raises:
            ConfigError: The engine gives no features.
            ImageError: An image cannot be used.
        """
        several: Iterable[Any] = images if isinstance(images, list | tuple) else [images]
        rows = []
        for batch in self.prepare_batches(_named(several)):
            if batch.errors:
                raise next(iter(batch.errors.values()))
            rows.append(self.engine.embed(batch.pixels))
        return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)

    def predict_many(
        self, sources: Iterable[Picture | tuple[str, Picture]]
    ) -> Iterator[Prediction | ImageError]:
        """The predictions for many images, in order. A bad image yields its error instead.

        Images are read only shortly before they are needed, so there may be any number of them.

        Args:
            sources: Images as for `predict`, or pairs of a key and an image. The key becomes that
                of the prediction. Without one, it is the path, or "image 1" for the first image.
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
        self, sources: Iterable[Picture | tuple[str, Picture]]
    ) -> Generator[PredictedBatch, None, None]:
        """The scores and labels of many images, batch by batch, in order.

        Images are read only shortly before they are needed, so `sources` may be long. Each batch
        except the last one has `batch_size` images, including bad ones.

        Args:
            sources: As for `predict_many`.
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
        self, sources: Iterable[Picture | tuple[str, Picture]]
    ) -> Generator[PreparedBatch, None, None]:
        """The pixels of many images as the engine takes them, batch by batch, in order.

        The batches are those of `predict_batches`, so what an engine computes from them has the
        same bits.

        Args:
            sources: As for `predict_many`.
        """
        images = self._prepare_ahead(_named(sources))
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
            pixels=stacked([found.pixels for found in good.values()]) if good else none,
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

    def prepare(self, source: Picture, name: str = "an image") -> NDArray[np.uint8]:
        """The pixels of an image as the engine takes them: uint8 [height, width, 3].

        Args:
            source: An image as for `predict`.
            name: What an array or a tensor is called in errors.

        Raises:
            ImageError: The image cannot be used.
        """
        return self._prepare(source, name).pixels

    def _prepare(self, source: Picture, name: str) -> _Prepared:
        size, contents = (self.spec.height, self.spec.width), list[int]()
        pixels = prepared(
            as_source(source, name),
            self.engine.prepare,
            size=size,
            memory=self.memory,
            on_content=contents.append,
        )
        return _Prepared(pixels, contents[-1])

    def _prepare_ahead(
        self, sources: Iterable[tuple[str, Picture]]
    ) -> Generator[tuple[str, _Prepared | ImageError], None, None]:
        """Keys and pixels in order. The next batch is decoded while a batch is scored."""
        rest = iter(sources)
        waiting: deque[tuple[str, Future[_Prepared | ImageError]]] = deque()
        pool = ThreadPoolExecutor(max_workers=_DECODERS)
        try:
            while True:
                for key, source in islice(rest, 2 * self.batch_size - len(waiting)):
                    waiting.append((key, pool.submit(self._prepare_or_error, source, key)))
                if not waiting:
                    return
                key, future = waiting.popleft()
                yield key, future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare_or_error(self, source: Picture, name: str) -> _Prepared | ImageError:
        try:
            return self._prepare(source, name)
        except ImageError as error:
            return error


def _named(sources: Iterable[Picture | tuple[str, Picture]]) -> Iterator[tuple[str, Picture]]:
    """Pairs of a key and an image; images without a key get one."""
    if isinstance(sources, str | bytes | Path):
        raise ConfigError(
            "One path or file is given where many images are needed.",
            where=name_of(sources),
            fix="Give a list of images, such as sorted(Path(folder).rglob('*.jpg')).",
        )
    for number, source in enumerate(sources, start=1):
        if isinstance(source, tuple):
            yield source
        else:
            yield name_of(source, f"image {number}"), source
