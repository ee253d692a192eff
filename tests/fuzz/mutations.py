"""Damage to the bytes of a file, drawn from a random generator: the same seed, the same damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

Rng = np.random.Generator

_NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
"""Values at which sizes and counts in headers go wrong."""

_BYTES: Final = b'012-,;|\t"\r\n <>/&\\[]{}:%?e.=+@#\x00\x1b\x7f\xff'
"""Bytes that mean something to text formats."""

_TOKENS: Final = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"1e9", b"9" * 5_000, b"0." + b"1" * 5_000),
    *(b"[" * 20_000, b'{"a":' * 20_000, b"(" * 5_000, b"null", b"true", b'""', b"x" * 140_000),
    *("é".encode(), "e\u0301".encode(), b"\xed\xa0\x80", "\u202e".encode(), b"\xef\xbb\xbf"),
    *(b"../../etc/passwd", b"/dev/zero", b"file:///etc/passwd", b"http://127.0.0.1:1/x"),
)
"""Pieces of text that readers stumble over."""


def flip_bits(content: bytes, rng: Rng) -> bytes:
    """One to eight flipped bits."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def set_bytes(content: bytes, rng: Rng) -> bytes:
    """One to four bytes replaced by others that mean something."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        damaged[rng.integers(len(damaged))] = _BYTES[rng.integers(len(_BYTES))]
    return bytes(damaged)


def set_number(content: bytes, rng: Rng) -> bytes:
    """A field of one, two or four bytes replaced by a number, most often near the beginning."""
    size = int(rng.choice([1, 2, 4]))
    value = _NUMBERS[rng.integers(len(_NUMBERS))] & (256**size - 1)
    order = "big" if rng.integers(2) else "little"
    reach = len(content) if rng.integers(3) == 0 else min(len(content), 200)
    at = int(rng.integers(reach))
    return content[:at] + value.to_bytes(size, order) + content[at + size :]


def zero_block(content: bytes, rng: Rng) -> bytes:
    """A stretch of zeros, as a disk that lost a block leaves it."""
    start, end = _stretch(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def remove(content: bytes, rng: Rng) -> bytes:
    """A stretch left out."""
    start, end = _stretch(content, rng)
    return content[:start] + content[end:]


def repeat(content: bytes, rng: Rng) -> bytes:
    """A stretch repeated, up to a hundred times."""
    start, end = _stretch(content, rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 101)) + content[end:]


def cut(content: bytes, rng: Rng) -> bytes:
    """Only the beginning, as an interrupted download leaves it."""
    return content[: rng.integers(len(content))]


def insert_noise(content: bytes, rng: Rng) -> bytes:
    """Random bytes put in."""
    at = int(rng.integers(len(content) + 1))
    return content[:at] + rng.bytes(int(rng.integers(1, 65))) + content[at:]


def insert_token(content: bytes, rng: Rng) -> bytes:
    """A hostile piece of text put in, or put in place of a word."""
    token = _TOKENS[rng.integers(len(_TOKENS))]
    at = int(rng.integers(len(content) + 1))
    end = at
    while rng.integers(2) and end < len(content) and content[end : end + 1].isalnum():
        end += 1
    return content[:at] + token + content[end:]


BINARY: Final = (
    *(flip_bits, set_bytes, set_number, set_number, zero_block),
    *(remove, repeat, cut, insert_noise),
)
"""Damage to binary files."""

TEXT: Final = (
    *(flip_bits, set_bytes, set_bytes, insert_token, insert_token, zero_block),
    *(remove, repeat, cut, insert_noise),
)
"""Damage to text files."""

Damage = Callable[[bytes, Rng], bytes]


def mutated(content: bytes, rng: Rng, kinds: Sequence[Damage]) -> bytes:
    """`content` with one to three kinds of damage."""
    for _ in range(rng.integers(1, 4)):
        if content:
            content = kinds[rng.integers(len(kinds))](content, rng)
    return content


def _stretch(content: bytes, rng: Rng) -> tuple[int, int]:
    """Start and end of a random stretch, from one byte to a quarter of the file or 4,096 bytes."""
    start = int(rng.integers(len(content)))
    length = int(rng.integers(1, max(2, min(4_096, len(content) // 4 + 1))))
    return start, min(len(content), start + length)
