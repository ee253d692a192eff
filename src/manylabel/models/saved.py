"""Loads what `torch.save` wrote, and nothing that asks for memory by a number.

A pickle is a program. `torch.load(weights_only=True)` runs only a part of it, but this part can
still call `bytearray` and the like with any size. So the program is read before it runs: it may
name only what state dicts and checkpoints are made of.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Iterator
from pickle import UnpicklingError
from typing import IO, Any, Final

import torch

MAX_STEPS: Final = 2_000_000
"""The largest number of steps of a pickle. A tensor of a state dict takes about 25."""

_KNOWN: Final = re.compile(
    r"collections (OrderedDict|Counter)"
    r"|torch (Size|device|b?float\d+|u?int\d+|bool|(?!Untyped|Typed)\w+Storage)"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)"
    r"|torch\.nn\.parameter Parameter"
)
"""What a pickle may name. None of these takes memory of a size that is only named."""
_ZIP: Final = b"PK\x03\x04"
"""What the files of `torch.save` begin with, by which torch itself knows them."""
_OLD_PARTS: Final = 5
"""The pickles of a file in torch's old format: two marks, the system, the content and the keys."""


def load_saved(file: IO[bytes], size: int) -> Any:
    """What `torch.save` wrote to a file, on the CPU. Nothing in it is run.

    Args:
        file: The file, which torch's bytes fill from its beginning.
        size: Its size in bytes.

    Raises:
        UnpicklingError: It holds more than tensors, numbers, texts, lists and dictionaries. The
            message is that of torch, or the end of a sentence.
        Exception: Whatever torch raises for files that are damaged.
    """
    begin = file.read(len(_ZIP))
    file.seek(0)
    if begin == _ZIP:
        _check(io.BytesIO(_program(file, size)))
    else:
        for _ in range(_OLD_PARTS):
            _check(file)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _program(file: IO[bytes], size: int) -> bytes:
    """The pickle in a file of the format zip, found as torch finds it."""
    reader = torch._C.PyTorchFileReader(file)  # another reader may find another pickle
    # torch never compresses; but it would unpack anything
    if sum(reader.get_record_size(name) for name in reader.get_all_records()) > size:
        raise ValueError("its content is larger than the file")
    return reader.get_record("data.pkl")


def _check(program: IO[bytes]) -> None:
    """Check what a pickle names, and how long it is. The file then stands behind the pickle."""
    for steps, named in enumerate(_named(program)):
        if steps > MAX_STEPS:
            raise ValueError(f"it takes more than {MAX_STEPS:,} steps to build what it holds")
        if named is not None and not _KNOWN.fullmatch(named):
            raise UnpicklingError(f"it names {named[:60].replace(' ', '.')}")


def _named(program: IO[bytes]) -> Iterator[str | None]:
    """For each step of a pickle, the module and the name that it asks for; None: it asks for none.

    Other ways to ask for a name than that of `torch.save` are refused by torch.
    """
    for code, argument, _ in pickletools.genops(program):
        yield str(argument) if code.name == "GLOBAL" else None
