"""What a safetensors file says that it holds, checked against the size of the file.

    8 bytes     the length of the header
    header      JSON: the type, the shape and the place of each tensor
    data        the tensors, one after another

Nothing of the data is read. So a model is compared with a file before memory is taken for either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BufferedReader
from typing import Any, Final, NamedTuple, final

from manylabel.plain_json import parse_json

MAX_HEADER: Final = 16 << 20
"""The largest length of a header in bytes. A header has about 100 bytes for each tensor."""

MAX_NAME: Final = 500
"""The largest length of a tensor's name."""

_SIZES: Final = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "I64": 8}
_SIZES_OF_REALS: Final = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
ITEM_SIZES: Final[Mapping[str, int]] = _SIZES | _SIZES_OF_REALS
"""The types that a tensor may have, with the bytes of a number."""

_KEYS: Final = {"dtype", "shape", "data_offsets"}


@final
class TensorSpec(NamedTuple):
    """The type and the shape of a tensor."""

    dtype: str
    """A key of `ITEM_SIZES`."""
    shape: tuple[int, ...]
    """Its sizes, each 0 or more."""


def read_tensor_specs(file: BufferedReader, size: int) -> dict[str, TensorSpec]:
    """The tensors that a file holds, by name.

    Args:
        file: The file, at its beginning.
        size: The size of the file in bytes.

    Raises:
        ValueError: The file is not a whole safetensors file. The message is the end of a sentence.
        OSError: The file cannot be read.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        raise ValueError("its header does not fit into the file")
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than {MAX_HEADER:,}")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    header.pop("__metadata__", None)
    entries = {name: _entry(name, given) for name, given in header.items()}
    _check_places(entries, size - 8 - length)
    return {name: spec for name, (spec, _) in entries.items()}


def _entry(name: str, given: Any) -> tuple[TensorSpec, tuple[int, int]]:
    """A tensor and its place: where its data begin and end."""
    if len(name) > MAX_NAME:
        raise ValueError(f"the name of a tensor has more than {MAX_NAME} characters")
    if isinstance(given, dict) and given.keys() == _KEYS and given["dtype"] in tuple(ITEM_SIZES):
        shape, place = given["shape"], given["data_offsets"]
        if _are_sizes(shape) and _are_sizes(place) and len(place) == 2:
            return TensorSpec(given["dtype"], tuple(shape)), (place[0], place[1])
    raise ValueError(f"its header does not describe the tensor {name[:60]!r}")


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_places(
    entries: Mapping[str, tuple[TensorSpec, tuple[int, int]]], data_size: int
) -> None:
    """Check that the tensors lie one after another and fill the file."""
    end = 0
    for name, (spec, place) in sorted(entries.items(), key=lambda entry: entry[1][1]):
        if place != (end, end + math.prod(spec.shape) * ITEM_SIZES[spec.dtype]):
            raise ValueError(f"the tensor {name[:60]!r} does not lie where its header says")
        end = place[1]
    if end != data_size:
        raise ValueError(f"it holds {data_size:,} bytes of tensors, not the {end:,} of its header")
