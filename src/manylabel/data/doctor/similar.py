"""Finds images that look alike among many, from their thumbnails only.

A 64-bit perceptual hash proposes pairs. A second measure, the correlation of the thumbnails, then
decides. The search is exact: every pair whose hashes differ in at most `DISTANCE` bits is found.

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
"""The largest number of bits, of 64, in which the hashes of two near duplicates differ."""

LIKENESS: Final = 0.9
"""The least correlation of two near duplicates, both of the whole images and of their details. On
photographs, copies that were re-encoded, halved or brightened are above it. Unrelated pairs are far
below."""

_TINT: Final = 16
"""The mean difference of colour, in levels 0..255, above which two images are not the same."""

_FLAT: Final = 2.0
"""The standard deviation of detail, in levels 0..255, below which an image is too flat to
compare."""

_HASH_SIDE: Final = 8
_BAND_BITS: Final = 16
_BANDS: Final = 64 // _BAND_BITS
_CHUNK: Final = 1 << 20
"""The number of pairs of hashes that are compared at once. It limits the memory."""

_THUMBNAILS: Final = 1 << 13
"""The number of thumbnails, or pairs of them, that are processed at once."""


class Pairs(NamedTuple):
    """P pairs of images that look alike, the most alike first."""

    first: NDArray[np.intp]
    """[P], positions."""
    second: NDArray[np.intp]
    """[P], positions, each larger than that of `first`."""
    likeness: NDArray[np.float32]
    """[P], 0..1."""


def perceptual_hashes(luma: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes [N] of thumbnails [N, 16, 16]; images that look alike differ in few of 64 bits.

    Each bit says whether one of the lowest 8x8 frequencies is above their median. The first bit,
    for the mean brightness, is always 0.
    """
    hashes = np.empty(len(luma), dtype=np.uint64)
    for part in _slices(len(luma), _THUMBNAILS):
        low = _frequencies(luma[part])[:, :_HASH_SIDE, :_HASH_SIDE].reshape(-1, _HASH_SIDE**2)
        bits = low > np.median(low, axis=1, keepdims=True)
        bits[:, 0] = False
        hashes[part] = np.packbits(bits, axis=1).view(">u8").reshape(-1)
    return hashes


def find_alike(luma: NDArray[np.uint8], tints: NDArray[np.uint8]) -> Pairs:
    """Pairs of images that look alike.

    Not all such pairs are returned, but enough to connect all images that look alike. Images that
    earlier pairs connect are not compared again. Images with equal hashes are compared only with
    the first of them. So a thousand frames of a fixed camera give a few thousand pairs, not half a
    million.

    Args:
        luma: uint8 [N, 16, 16], brightness.
        tints: uint8 [N, 4, 4, 2], colour.
    """
    hashes = perceptual_hashes(luma)
    found, heads = _pair_equal_hashes(hashes, luma, tints)
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


def _pair_equal_hashes(
    hashes: NDArray[np.uint64], luma: NDArray[np.uint8], tints: NDArray[np.uint8]
) -> tuple[list[Pairs], NDArray[np.intp]]:
    """Pairs each image with the first image that has its hash and looks like it.

    Returns:
        The pairs, and the positions of all first images. Flat images are left out.
    """
    found, heads = [], []
    remaining = _detailed(luma)
    while True:  # one round for each different image with the same hash; mostly there is one
        _, first, which = np.unique(hashes[remaining], return_index=True, return_inverse=True)
        heads.append(remaining[first])
        others = first[which] != np.arange(len(remaining))
        pairs, alike = _alike(luma, tints, remaining[first][which][others], remaining[others])
        found.append(pairs)
        remaining = remaining[others][~alike]
        if not remaining.size:
            return found, np.sort(np.concatenate(heads))


def _alike(
    luma: NDArray[np.uint8],
    tints: NDArray[np.uint8],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> tuple[Pairs, NDArray[np.bool_]]:
    """The pairs that look alike, and a mask [P] that says which of the given pairs they are."""
    likeness = np.empty(len(first), dtype=np.float32)
    for part in _slices(len(first), _THUMBNAILS):
        likeness[part] = _likeness(luma, tints, first[part], second[part])
    alike = likeness >= LIKENESS
    return Pairs(first[alike], second[alike], likeness[alike]), alike


def close_pairs(
    hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """All pairs i < j of hashes [N] that differ in at most `distance` bits, in arrays.

    A pair may occur several times. A hash has four bands of 16 bits. If two hashes differ in d
    bits, then in at least one band they differ in at most d // 4 bits. So for each band, the search
    looks up all hashes that differ from it in at most that many bits.

    Args:
        hashes: N hashes.
        distance: At most 11, which is two bits in one band.
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
    """The groups [N] of N items after pairs of groups are joined.

    A group has the number of its smallest member.

    Args:
        groups: [N], the groups before. They are `np.arange(N)` if each item is alone.
        first: One item of each pair.
        second: The other item of each pair.
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
    """Each row i with each of starts[i] ... starts[i] + counts[i] - 1, in chunks of rows."""
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
    """Correlation [P] of images i and j: the lower of whole and detail; 0 if colours differ."""
    x, y = _frequencies(luma[i]), _frequencies(luma[j])
    off = np.abs(tints[i].astype(np.int16) - tints[j]).mean(axis=(1, 2, 3), dtype=np.float32)
    likeness = (off <= _TINT) * _correlation(_without_lowest(x, 1), _without_lowest(y, 1))
    return np.minimum(likeness, _correlation(_without_lowest(x, 2), _without_lowest(y, 2)))


def _correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correlation [P] of frequencies [P, 16, 16] without their mean."""
    product, xx, yy = (np.einsum("nhw,nhw->n", p, q) for p, q in ((x, y), (x, x), (y, y)))
    return (product / np.sqrt(np.maximum(xx * yy, 1e-6))).astype(np.float32)


def _detailed(luma: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The positions of the images that are not flat."""
    varied = np.empty(len(luma), dtype=np.bool_)
    for part in _slices(len(luma), _THUMBNAILS):
        detail = _without_lowest(_frequencies(luma[part]), 2)
        varied[part] = np.einsum("nhw,nhw->n", detail, detail) >= (_FLAT * SIDE) ** 2
    return np.flatnonzero(varied)


def _without_lowest(frequencies: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A copy without the lowest `side` x `side` frequencies.

    1 removes the mean. 2 also removes the coarse pattern that many unrelated images share, such as
    a bright upper half (sky) and a dark lower half.
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
    """The range 0 ... size - 1 in slices of `step`."""
    return [slice(start, start + step) for start in range(0, size, step)]


def _bit_count(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The number of set bits of each value; bits are summed in pairs, fours, bytes, then all."""
    pairs, fours, bytewise = (
        np.uint64(0x5555555555555555),
        np.uint64(0x3333333333333333),
        np.uint64(0x0F0F0F0F0F0F0F0F),
    )
    values = values - ((values >> np.uint64(1)) & pairs)
    values = (values & fours) + ((values >> np.uint64(2)) & fours)
    values = (values + (values >> np.uint64(4))) & bytewise
    return (values * np.uint64(0x0101010101010101)) >> np.uint64(56)
