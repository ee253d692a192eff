"""What a safetensors file says that it holds, beside what the library reads from it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import case
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.torch import save, save_file

from manylabel.bundle.tensors import MAX_HEADER, TensorSpec, read_tensor_specs
from manylabel.files import open_regular

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def specs(path: Path) -> dict[str, TensorSpec]:
    with open_regular(path) as file:
        return read_tensor_specs(file, path.stat().st_size)


def packed(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def test_the_library_says_the_same(tmp_path: Path) -> None:
    state = {
        "b": torch.zeros(3, 0, 2),
        "a": torch.ones(4, dtype=torch.bfloat16),
        "c": torch.tensor(1),
        "é": torch.zeros(2, 2, dtype=torch.bool),
        "d": torch.zeros(5, dtype=torch.float16),
    }
    save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = specs(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        told = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        assert found == {
            key: TensorSpec(each.get_dtype(), tuple(each.get_shape())) for key, each in told.items()
        }
    assert found["c"] == TensorSpec("I64", ())


LIES: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": bytes(7),
    "no header": bytes(8),
    "a header of 2 ** 63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header beyond the file": packed({"a": ONE}, bytes(8), length=10**6),
    "half a header": packed({"a": ONE}, bytes(8), length=9),
    "a list": packed([]),
    "deep": packed(b"[" * 10**5 + b"]" * 10**5),
    "an endless number": packed(b'{"a": ' + b"1" * 5000 + b"}"),
    "one name twice": packed(b'{"a": %s, "a": %s}' % ((json.dumps(ONE).encode(),) * 2), bytes(8)),
    "overlap": packed({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12)),
    "one place for two": packed({"a": ONE, "b": ONE}, bytes(8)),
    "a gap": packed({"a": {**ONE, "data_offsets": [8, 16]}}, bytes(16)),
    "backwards": packed({"a": {**ONE, "data_offsets": [8, 0]}}, bytes(8)),
    "a huge shape": packed({"a": {**ONE, "shape": [2**40]}}, bytes(8)),
    "a shape of 2 ** 96": packed({"a": {**ONE, "shape": [2**32] * 3}}, bytes(8)),
    "a huge tensor": packed({"a": {**ONE, "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(8)),
    "a negative shape": packed({"a": {**ONE, "shape": [-2]}}, bytes(8)),
    "a true shape": packed({"a": {**ONE, "shape": [True, 2]}}, bytes(8)),
    "an unknown type": packed({"a": {**ONE, "dtype": "F31"}}, bytes(8)),
    "a list as type": packed({"a": {**ONE, "dtype": []}}, bytes(8)),
    "no type": packed({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "another key": packed({"a": {**ONE, "code": "x"}}, bytes(8)),
    "no entry": packed({"a": None}),
    "a long name": packed({"a" * 501: ONE}, bytes(8)),
    "more data": packed({"a": ONE}, bytes(9)),
    "less data": packed({"a": ONE}, bytes(7)),
}


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for name, data in LIES.items():
        path.write_bytes(data)
        with case(name=name), pytest.raises(ValueError, match=r"^[^\n]{5,200}$"):
            specs(path)


def test_a_whole_file_of_the_library_is_taken_and_no_part_of_it(tmp_path: Path) -> None:
    """Each beginning of a file, and each flipped bit of its header: taken only if all agree."""
    path = tmp_path / "a.safetensors"
    whole = save({"a": torch.ones(2, 3), "b": torch.arange(3)})
    path.write_bytes(whole)
    assert specs(path) == {"a": TensorSpec("F32", (2, 3)), "b": TensorSpec("I64", (3,))}
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with case(end=end), pytest.raises(ValueError, match=r"."):
            specs(path)
    for bit in range(0, 8 * (len(whole) - 48), 3):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            specs(path)
        except ValueError:
            continue
        with case(bit=bit):  # what is taken here, such as another name, the library takes too
            deserialize(bytes(damaged))


def test_the_library_refuses_what_is_refused_here_or_holds_no_tensor_of_it() -> None:
    """The reader here may be stricter than the library, but never about whole files."""
    strict = {"another key", "a long name", "one name twice"}
    for name in LIES.keys() - strict:
        with case(name=name), pytest.raises(SafetensorError):
            deserialize(LIES[name])


def test_a_sparse_file_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed({"a": ONE}, bytes(8)))
    os.truncate(path, 100 << 30)
    with pytest.raises(ValueError, match=r"it holds 107,\d{3},\d{3},\d{3} bytes of tensors"):
        specs(path)
    path.write_bytes(struct.pack("<Q", MAX_HEADER + 1))
    os.truncate(path, 100 << 30)
    with pytest.raises(ValueError, match=r"16,777,217 bytes, more than"):
        specs(path)
