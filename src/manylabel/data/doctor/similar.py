"""Finds pictures that look alike among many, from thumbnails alone.

A 64-bit perceptual hash proposes pairs, and a second measure, the correlation of the thumbnails'
detail, decides. The search is exact: no pair within `DISTANCE` bits is overlooked.

Source: the hash is the DCT hash known as pHash (Zauner, Implementation and Benchmarking of
Perceptual Image Hash Functions, 2010), of a 16x16 thumbnail instead of a 32x32 one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.look import SIDE

DISTANCE: Final = 10
"""Bits of 64 that the hashes of two near duplicates differ in at most."""

LIKENESS: Final = 0.9
"""Correlation of two near duplicates, at least, as a whole and in detail. On photographs, copies
that were re-encoded, halved or brightened stay above it, and unrelated pairs far below."""

_TINT: Final = 16
"""Mean difference of colour, in levels of 255, above which two pictures are not the same one."""

_FLAT: Final = 2.0
"""Pictures whose detail varies less than this, in levels of 255, have nothing to compare."""

_HASH_SIDE: Final = 8
_BAND_BITS: Final = 16
_BANDS: Final = 64 // _BAND_BITS
_CHUNK: Final = 1 << 20
"""Pairs of hashes that are looked at in one go, to bound the memory."""

_THUMBNAILS: Final = 1 << 13
"""Thumbnails, or pairs of them, that are looked at in one go."""


class Pairs(NamedTuple):
    """P pairs of pictures that look alike, the most alike first."""

    first: NDArray[np.intp]
    """[P], positions."""
    second: NDArray[np.intp]
    """[P], positions, each larger than that of `first`."""
    likeness: NDArray[np.float32]
    """[P], 0..1."""


def perceptual_hashes(luma: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A hash [N] for each thumbnail [N, 16, 16]; alike pictures differ in few of its 64 bits.

    A bit says whether one of the lowest 8x8 frequencies is above their median; the first, the mean
    brightness, is left out, and its bit is 0.
    """
    hashes = np.empty(len(luma), dtype=np.uint64)
    for part in _slices(len(luma), _THUMBNAILS):
        low = _frequencies(luma[part])[:, :_HASH_SIDE, :_HASH_SIDE].reshape(-1, _HASH_SIDE**2)
        bits = low > np.median(low, axis=1, keepdims=True)
        bits[:, 0] = False
        hashes[part] = np.packbits(bits, axis=1).view(">u8").reshape(-1)
    return hashes


def find_alike(luma: NDArray[np.uint8], tints: NDArray[np.uint8]) -> Pairs:
    """The pairs of pictures that look alike.

    Pictures that pairs join already are not compared again, and those of one hash with the first of
    them only: a thousand frames of a camera that stands still are a few thousand pairs, and no half
    million. So there may be more pairs that look alike, but none that would join anything else.

    Args:
        luma: uint8 [N, 16, 16], brightness.
        tints: uint8 [N, 4, 4, 2], colour.
    """
    hashes = perceptual_hashes(luma)
    found, heads = _gathered(hashes, luma, tints)
    groups = np.arange(len(heads))
    for a, b in close_pairs(hashes[heads], DISTANCE):
        for part in _slices(len(a), _THUMBNAILS):
            apart = groups[a[part]] != groups[b[part]]
            i, j = a[part][apart], b[part][apart]
            pairs, alike = _alike(luma, tints, heads[i], heads[j])
            if alike.any():
                found.append(pairs)
                groups = joined(groups, i[alike], j[alike])
    first, second, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(-likeness, kind="stable")
    return Pairs(first[order], second[order], likeness[order])


def _gathered(
    hashes: NDArray[np.uint64], luma: NDArray[np.uint8], tints: NDArray[np.uint8]
) -> tuple[list[Pairs], NDArray[np.intp]]:
    """Pictures of equal hash paired with the first that they look like; and all such firsts.

    Flat pictures are left out.
    """
    found, heads = [], []
    left = _detailed(luma)
    while True:  # a round for each of the different pictures that have one hash: seldom a second
        _, first, which = np.unique(hashes[left], return_index=True, return_inverse=True)
        heads.append(left[first])
        others = first[which] != np.arange(len(left))
        pairs, alike = _alike(luma, tints, left[first][which][others], left[others])
        found.append(pairs)
        left = left[others][~alike]
        if not left.size:
            return found, np.sort(np.concatenate(heads))


def _alike(
    luma: NDArray[np.uint8],
    tints: NDArray[np.uint8],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> tuple[Pairs, NDArray[np.bool_]]:
    """Those of the pairs that look alike, and which they are."""
    likeness = np.empty(len(first), dtype=np.float32)
    for part in _slices(len(first), _THUMBNAILS):
        likeness[part] = _likeness(luma, tints, first[part], second[part])
    alike = likeness >= LIKENESS
    return Pairs(first[alike], second[alike], likeness[alike]), alike


def close_pairs(
    hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """All pairs i < j of hashes [N] that differ in at most `distance` bits, in arrays.

    A pair may come up several times. Two hashes that differ in d bits differ in at most d // 4 of
    them in one of their four bands of 16 bits: for each band, the hashes are looked up that agree
    with it but for so many bits.

    Args:
        hashes: N hashes.
        distance: At most 11: two bits a band.
    """
    assert 0 <= distance < 3 * _BANDS, distance
    flips = [
        sum(1 << bit for bit in chosen)
        for size in range(distance // _BANDS + 1)
        for chosen in combinations(range(_BAND_BITS), size)
    ]
    for band in range(_BANDS):
        values = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(0xFFFF)).astype(np.intp)
        order = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=1 << _BAND_BITS)
        starts = np.cumsum(counts) - counts
        for flip in flips:
            for i, at in _matches(starts[values ^ flip], counts[values ^ flip]):
                j = order[at]
                rising = i < j
                i, j = i[rising], j[rising]
                close = _bit_count(hashes[i] ^ hashes[j]) <= distance
                yield i[close], j[close]


def joined(
    groups: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The groups of N things after pairs (first, second) join them; a group is its smallest member.

    Args:
        groups: The groups before, [N]; `np.arange(N)` where each thing is on its own.
        first: One of each pair.
        second: The other.
    """
    groups = groups.copy()
    while True:
        a, b = groups[first], groups[second]
        if np.array_equal(a, b):
            return groups
        low = np.minimum(a, b)
        np.minimum.at(groups, a, low)
        np.minimum.at(groups, b, low)
        while not np.array_equal(groups, groups[groups]):
            groups = groups[groups]


def _matches(
    starts: NDArray[np.intp], counts: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Each row i with each place starts[i] ... starts[i] + counts[i] - 1, in chunks of rows."""
    rows = np.flatnonzero(counts)
    ends = np.cumsum(counts[rows])
    begin = 0
    while begin < len(rows):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        part = rows[begin:end]
        many = counts[part]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        yield np.repeat(part, many), np.repeat(starts[part], many) + within
        begin = end


def _likeness(
    luma: NDArray[np.uint8],
    tints: NDArray[np.uint8],
    i: NDArray[np.intp],
    j: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Correlation [P] of pictures i and j, the lesser of whole and detail; 0 if colours differ."""
    x, y = _frequencies(luma[i]), _frequencies(luma[j])
    off = np.abs(tints[i].astype(np.int16) - tints[j]).mean(axis=(1, 2, 3), dtype=np.float32)
    likeness = (off <= _TINT) * _correlation(_without_lowest(x, 1), _without_lowest(y, 1))
    return np.minimum(likeness, _correlation(_without_lowest(x, 2), _without_lowest(y, 2)))


def _correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of frequencies [P, 16, 16] that have no mean."""
    product, xx, yy = (np.einsum("nhw,nhw->n", p, q) for p, q in ((x, y), (x, x), (y, y)))
    return (product / np.sqrt(np.maximum(xx * yy, 1e-6))).astype(np.float32)


def _detailed(luma: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The pictures that are not flat."""
    varied = np.empty(len(luma), dtype=np.bool_)
    for part in _slices(len(luma), _THUMBNAILS):
        detail = _without_lowest(_frequencies(luma[part]), 2)
        varied[part] = np.einsum("nhw,nhw->n", detail, detail) >= (_FLAT * SIDE) ** 2
    return np.flatnonzero(varied)


def _without_lowest(frequencies: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A copy without the lowest frequencies: 1 takes the mean away, 2 what all beaches share.

    That is: light above, dark below.
    """
    rest = frequencies.copy()
    rest[:, :side, :side] = 0
    return rest


def _frequencies(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The orthonormal DCT-II [N, 16, 16] of thumbnails."""
    return np.matmul(_DCT @ luma.astype(np.float32), _DCT.T)


def _dct_matrix(size: int) -> NDArray[np.float32]:
    frequency, place = np.arange(size)[:, None], np.arange(size)[None]
    waves = np.cos(np.pi * (2 * place + 1) * frequency / (2 * size)) * np.sqrt(2 / size)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


_DCT: Final[NDArray[np.float32]] = _dct_matrix(SIDE)


def _slices(size: int, step: int) -> list[slice]:
    """The range 0 ... size - 1 in parts of `step`."""
    return [slice(start, start + step) for start in range(0, size, step)]


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """How many bits of each are set: sums of pairs, of fours, of bytes, of all."""
    pairs, fours, bytewise = (
        np.uint64(0x5555555555555555),
        np.uint64(0x3333333333333333),
        np.uint64(0x0F0F0F0F0F0F0F0F),
    )
    values = values - ((values >> np.uint64(1)) & pairs)
    values = (values & fours) + ((values >> np.uint64(2)) & fours)
    values = (values + (values >> np.uint64(4))) & bytewise
    return (values * np.uint64(0x0101010101010101)) >> np.uint64(56)
