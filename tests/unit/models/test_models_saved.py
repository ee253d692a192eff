"""Files of `torch.save`: state dicts are read, and small files that ask for memory are not."""

from __future__ import annotations

import io
import zipfile
from collections import Counter, OrderedDict
from typing import Any

import pytest
import torch
from cases import case
from torch import nn

from manylabel.models import saved
from manylabel.models.saved import load_saved

BIG = 10**15
"""More bytes than any machine has: asking for them fails at once, with another error."""


class Calls:
    """A value whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def stored(value: Any, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def load(data: bytes) -> Any:
    return load_saved(io.BytesIO(data), len(data))


def test_what_state_dicts_are_made_of_is_read() -> None:
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool]
    types += [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
    tensors = {str(each): torch.ones(2, 3, dtype=each) for each in types}
    others = [1, 2.5, "text", None, True, (1, 2), torch.float32, torch.Size([2, 3])]
    layer = nn.Linear(2, 3).state_dict()
    value = OrderedDict(tensors=tensors, others=others, counter=Counter("abca"), layer=layer)
    for zipped in (True, False):
        with case(zipped=zipped):
            found = load(stored({**value, "own": nn.Parameter(torch.ones(2))}, zipped=zipped))
            assert isinstance(found["own"], nn.Parameter)
            assert found["others"] == others
            assert found["counter"] == value["counter"]
            assert all(torch.equal(found["tensors"][key], tensors[key]) for key in tensors)
            assert all(torch.equal(found["layer"][key], layer[key]) for key in layer)


def test_what_takes_memory_by_its_name_is_refused() -> None:
    for name, asked in {
        "bytearray": Calls(bytearray, BIG),
        "storage": Calls(torch.UntypedStorage, BIG),
        "tensor": Calls(torch.FloatTensor, BIG),
        "codec": Calls(bytes, BIG),
    }.items():
        for zipped in (True, False):
            data = stored({"weight": torch.zeros(2), "more": asked}, zipped=zipped)
            with case(name=name, zipped=zipped), pytest.raises(Exception, match="it names ."):
                load(data)


def test_a_file_that_only_begins_in_the_old_format_is_read_as_torch_reads_it() -> None:
    """A harmless zip behind the old format must not hide what torch would run."""
    data = stored(Calls(bytearray, BIG), zipped=False) + stored([1])
    assert zipfile.is_zipfile(io.BytesIO(data))
    with pytest.raises(Exception, match=r"it names .*bytearray"):
        load(data)


def test_too_many_steps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored([[] for _ in range(2000)])
    assert load(data) == [[]] * 2000
    monkeypatch.setattr(saved, "MAX_STEPS", 2000)
    with pytest.raises(ValueError, match="more than 2,000 steps"):
        load(data)
