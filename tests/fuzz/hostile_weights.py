"""Files of weights of hostile bundles: safetensors whose headers lie, and other tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from safetensors.torch import load, save


def _file(header: Any, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """A safetensors file: the length of the header, the header, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _lie(file: bytes, key: str, value: Any) -> bytes:
    """The file with another header, which says something else of its first tensor of numbers."""
    header, data = _parts(file)
    first = next(name for name in sorted(header) if header[name].get("shape"))
    return _file({**header, first: {**header[first], key: value}}, data)


def _same_place(file: bytes) -> bytes:
    """The file with another header, in which all tensors of a size are at the same place."""
    header, data = _parts(file)
    places: dict[int, list[int]] = {}
    for entry in header.values():
        start, end = entry["data_offsets"]
        entry["data_offsets"] = places.setdefault(end - start, [start, end])
    return _file(header, data)


def with_more(file: bytes, size: int) -> bytes:
    """A file whose header describes one more tensor, of `size` bytes that are not there."""
    header, data = _parts(file)
    place = [len(data), len(data) + size]
    return _file(header | {"more": {"dtype": "U8", "shape": [size], "data_offsets": place}}, data)


ONE: Final = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
ENTRY: Final = json.dumps(ONE)[1:-1].encode()
LYING: Final[Mapping[str, bytes]] = {
    **{f"only {data[:12]!r}, {len(data)} bytes": data for data in (b"", b"1234567", bytes(8))},
    **{f"a header of {n:,} bytes": _file(b"{}", length=n) for n in (10**8, 2**63, 2**64 - 1)},
    **{f"{n:,} bytes of its header": _file(ONE, length=n) for n in (5, 10**6)},
    **{
        f"the header {text[:20].decode()}": _file(text)
        for text in (
            *(b"{nope}", b"[]", b"null", b'{"a": NaN}', b'{"a": ' + b"1" * 5_000 + b"}", b"\0\0"),
            *(
                b"[" * 10**5,
                b'{"a":' * 10**4 + b"1" + b"}" * 10**4,
                b"{" + ENTRY + b"," + ENTRY + b"}",
            ),
        )
    },
    "no entry": _file({"a": None}),
    "metadata in a list": _file({"__metadata__": [], **ONE}),
    "only metadata": _file({"__metadata__": {"a": "b"}}, b""),
    "pickle": b"\x80\x04cos\nsystem\n.",
    "zip": b"PK\x03\x04" + bytes(100),
}
"""Files that have nothing of the valid one."""
LIES: Final[Mapping[str, Sequence[Any]]] = {
    "shape": ([2**40], [2**32] * 3, [-2], [2.0], [True, 2], [], None, "2", [10**30], [1] * 10**5),
    "data_offsets": ([8, 0], [8, 16], [0, 2**42], [0], [-8, 0], [0, 4], [0.0, 8.0], None),
    "dtype": ("F31", [], None, "F64", "I32", "pickle"),
    "code": ("x",),
}
"""What a header says of the first tensor."""
State = dict[str, torch.Tensor]
TENSORS: Final[Mapping[str, Callable[[State], State]]] = {
    **{
        f"all {dtype}": lambda state, dtype=dtype: {k: v.to(dtype) for k, v in state.items()}
        for dtype in (torch.half, torch.double, torch.int32, torch.bool, torch.bfloat16)
    },
    "one missing": lambda state: {key: state[key] for key in sorted(state)[1:]},
    "one more": lambda state: {**state, "more": torch.zeros(1)},
    "other names": lambda state: {f"x.{key}": value for key, value in state.items()},
    **{
        f"the first one {what}": lambda state, change=change: {
            **state,
            min(state): change(state[min(state)]),
        }
        for what, change in {
            "longer": lambda tensor: torch.cat([tensor, tensor]),
            "flat": lambda tensor: tensor.flatten()[None],
            "a number": lambda tensor: tensor.flatten()[0].clone(),
            "half": lambda tensor: tensor.half(),
        }.items()
    },
}
"""What makes other tensors of the valid ones."""

WEIGHTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "more after it": lambda data: data + b"x",
    "the last byte missing": lambda data: data[:-1],
    "300,000 entries": lambda data: _file(
        {str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)}
    ),
    "a long name": lambda data: _file({"a" * 10**7: ONE["a"]}),
    **{name: lambda _, made=made: made for name, made in LYING.items()},
    **{
        f"the first one's {key} = {str(value)[:40]}": partial(_lie, key=key, value=value)
        for key, values in LIES.items()
        for value in values
    },
    "all in one place": _same_place,
    **{
        name: lambda data, change=change: save(change(load(data)))
        for name, change in TENSORS.items()
    },
}
"""What makes a hostile file of the valid one, by name."""
