"""JSON of strangers: what is read is what every reader of JSON reads, and nothing else is."""

from __future__ import annotations

import doctest
import json
import math
import time
from contextlib import suppress

import pytest
from cases import case
from hypothesis import given
from hypothesis import strategies as st

import manylabel.plain_json
from manylabel.plain_json import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, parse_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


MARKS = st.text(alphabet='{}[]",:0123456789eE+-.\\ untrfals').map(str.encode)


@given(st.binary(max_size=60) | MARKS)
def test_anything_else_is_a_value_error_or_what_python_reads(data):
    with suppress(ValueError):
        value = parse_json(data)
        assert json.loads(data) == value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"1" + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"\xff\xfe[\x00]\x00", "not JSON"),
        ("[1]".encode("utf-16"), "not JSON"),
        (b"[1] [2]", "not JSON"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "too large"),
        (b"[-1e999]", "too large"),
        (b"1" * 5000, "digits"),
        (b"[-" + b"9" * (MAX_DIGITS + 1) + b"]", "digits"),
        (b'{"a": 1, "b": 2, "a": 1}', "'a' is given twice"),
        (b'[{"a": {"b": 1, "\\u0062": 2}}]', "'b' is given twice"),
        (b'["\\ud800"]', "half a character"),
        (b'{"\\udfff": 1}', "half a character"),
        (nested(MAX_DEPTH + 1), "deep"),
        (objects(MAX_DEPTH + 1), "deep"),
        (nested(100_000), "deep"),
        (objects(100_000), "deep"),
    ],
    ids=lambda value: str(value[:12]),
)
def test_what_is_refused(data, fault):
    with pytest.raises(ValueError, match=fault):
        parse_json(data)


def test_what_lies_at_the_bounds_is_read():
    assert parse_json(b"9" * MAX_DIGITS) == 10**MAX_DIGITS - 1
    assert parse_json(b"1.5e308") == 1.5e308
    assert parse_json(b"1e-999") == 0
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert parse_json(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]
    for make in (nested, objects):
        with case(make=make.__name__):
            assert parse_json(make(MAX_DEPTH))


def test_too_many_values_take_neither_time_nor_memory():
    for data in (b"[" + b"[]," * MAX_VALUES + b"1]", b"[" * (MAX_VALUES + 1), b"{" * 3_000_000):
        start = time.process_time()
        with pytest.raises(ValueError, match="more than 2,000,000 values"):
            parse_json(data)
        assert time.process_time() - start < 0.5
    assert math.isfinite(parse_json(b"[1.0]")[0])


def test_the_examples_hold():
    result = doctest.testmod(manylabel.plain_json)
    assert result.attempted > 0
    assert result.failed == 0
