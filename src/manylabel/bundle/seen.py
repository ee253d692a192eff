"""The images that a model has seen: a short hash of each, in a file beside the model's weights.

    seen-images.bin    uint64, little-endian: the hashes of the images that the weights were trained
                       on, then of those that validation chose by, then of those that thresholds
                       were tuned on; each of the three parts is sorted

`bundle.json` holds the three counts and the SHA-256 of the file. The hashes are those of
`images.content`: of what an image shows, not of its path or file. An image takes 8 bytes, so 1.7
million images take 14 MB.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from manylabel.config import Config
from manylabel.files import open_regular
from manylabel.images import NO_CONTENT

SEEN_FILE: Final = "seen-images.bin"
MAX_SEEN: Final = 1 << 30
"""The largest size of the file in bytes: 134 million images."""

_TYPE: Final = np.dtype("<u8")
_MOST: Final = MAX_SEEN // _TYPE.itemsize
Count = Annotated[int, Field(ge=0, le=_MOST, strict=True)]


class SeenTable(Config):
    """What `bundle.json` says of the file."""

    trained: Count
    """The number of different images that the weights were trained on."""
    validated: Count
    """The number of different images that validation chose by, such as the best epoch."""
    tuned: Count
    """The number of different images that thresholds or calibration were fitted to."""
    sha256: Annotated[str, Field(max_length=64)]
    """The SHA-256 of the file."""

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return (self.trained + self.validated + self.tuned) * _TYPE.itemsize


@final
@dataclass(frozen=True)
class SeenImages:
    """The hashes of the images that a model has seen; see `SeenImages.of`.

    Each part is the content of the file: sorted uint64 without repeats, little-endian.
    """

    trained: bytes = b""
    validated: bytes = b""
    tuned: bytes = b""

    @classmethod
    def of(
        cls, *, trained: ArrayLike, validated: ArrayLike = (), tuned: ArrayLike = ()
    ) -> SeenImages:
        """The images with these hashes, in any order. `NO_CONTENT` is left out."""
        return cls(_packed(trained), _packed(validated), _packed(tuned))

    def tuned_on(self, contents: ArrayLike) -> SeenImages:
        """The same, but with the images that a new decision was fitted to."""
        return replace(self, tuned=_packed(contents))

    def trained_among(self, contents: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of N images the weights were trained on, bool [N].

        Args:
            contents: uint64 [N], hashes of `images.content`.
        """
        return _among(self.trained, contents)

    def validated_among(self, contents: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of N images validation chose by, bool [N]."""
        return _among(self.validated, contents)

    def tuned_among(self, contents: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of N images thresholds or calibration were fitted to, bool [N]."""
        return _among(self.tuned, contents)

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return self.trained + self.validated + self.tuned

    def table(self) -> SeenTable:
        """What `bundle.json` says of the file."""
        counts = (
            len(part) // _TYPE.itemsize for part in (self.trained, self.validated, self.tuned)
        )
        trained, validated, tuned = counts
        digest = hashlib.sha256(self.to_bytes()).hexdigest()
        return SeenTable(trained=trained, validated=validated, tuned=tuned, sha256=digest)


def read_seen(path: Path, table: SeenTable) -> SeenImages | None:
    """The content of the file at `path`; None if there is no file.

    A bundle without it predicts as before, so a copy of the other two files is still a bundle.

    Raises:
        ValueError: The file is not the one that `table` describes.
        OSError: It cannot be read.
    """
    try:
        with open_regular(path) as file:
            data = file.read(table.size + 1) if table.size <= MAX_SEEN else b""
    except FileNotFoundError:
        return None
    if len(data) != table.size:
        raise ValueError(f"it has not the {table.size:,} bytes that bundle.json names")
    if hashlib.sha256(data).hexdigest() != table.sha256:
        raise ValueError("its SHA-256 differs from the one in bundle.json")
    first = table.trained * _TYPE.itemsize
    second = first + table.validated * _TYPE.itemsize
    return SeenImages(data[:first], data[first:second], data[second:])


def _packed(contents: ArrayLike) -> bytes:
    found = np.unique(np.asarray(contents, dtype=np.uint64))
    return found[found != NO_CONTENT].astype(_TYPE).tobytes()


def _among(part: bytes, contents: NDArray[np.uint64]) -> NDArray[np.bool_]:
    known = np.frombuffer(part, dtype=_TYPE)
    if not len(known):
        return np.zeros(len(contents), dtype=np.bool_)
    places = np.searchsorted(known, contents)
    return known[np.minimum(places, len(known) - 1)] == contents
