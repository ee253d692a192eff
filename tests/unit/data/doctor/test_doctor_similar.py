"""The search overlooks no pair, and the measures tell copies from other pictures."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from manylabel.data.doctor.similar import (
    DISTANCE,
    close_pairs,
    find_alike,
    joined,
    perceptual_hashes,
)


def photo(seed, size=(320, 240)):
    """Blobs over a few octaves, whose contrast falls with frequency, as it does in photographs."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, contrast in ((3, 60), (6, 40), (12, 25), (24, 12)):
        noise = rng.normal(128, 60, (cells, cells, 3)).clip(0, 255).astype(np.uint8)
        layer = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(layer, dtype=float) - 128) * contrast / 60
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def kept(images):
    """Thumbnails and tints of images, made in the plain way."""
    small = [image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR) for image in images]
    colours = np.stack([np.asarray(image.convert("YCbCr")) for image in small])
    tints = colours[..., 1:].reshape(-1, 4, 4, 4, 4, 2).mean(axis=(2, 4)).astype(np.uint8)
    return colours[..., 0], tints


def pairs_of(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize("distance", [0, 3, 7, 10, 11])
def test_every_close_pair_is_found_and_no_other(distance):
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 300, dtype=np.uint64)
    for i in range(0, 300, 2):  # half of them a few flipped bits away from another
        flips = rng.choice(64, rng.integers(0, 14), replace=False)
        hashes[i] = hashes[i + 1] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    hashes[:5] = hashes[10]
    found = set()
    for i, j in close_pairs(hashes, distance):
        found |= set(zip(i.tolist(), j.tolist(), strict=True))
    expected = {
        (i, j)
        for i, j in combinations(range(300), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
    }
    assert found == expected
    assert len(found) > 9


def test_many_matches_are_found_in_chunks(monkeypatch):
    monkeypatch.setattr("manylabel.data.doctor.similar._CHUNK", 7)
    hashes = np.zeros(12, dtype=np.uint64)
    found = set()
    for i, j in close_pairs(hashes, 0):
        found |= set(zip(i.tolist(), j.tolist(), strict=True))
    assert found == set(combinations(range(12), 2))


def test_the_hash_is_that_of_its_definition():
    from scipy.fft import dctn

    luma, _ = kept([photo(seed) for seed in range(20)])
    for thumbnail, found in zip(luma, perceptual_hashes(luma), strict=True):
        low = dctn(thumbnail.astype(float), norm="ortho")[:8, :8].ravel()
        bits = low > np.median(low)
        expected = "0" + "".join(str(int(bit)) for bit in bits[1:])
        # A frequency that lies on the median to rounding may fall to either side.
        assert (int(found) ^ int(expected, 2)).bit_count() <= 1


CHANGES = {
    "smaller": lambda image: image.resize((150, 113)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "noise": lambda image: Image.fromarray(
        (np.asarray(image) + np.random.default_rng(0).normal(0, 8, (240, 320, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_and_nothing_else(change):
    originals = [photo(seed) for seed in range(60)]
    found = find_alike(*kept([*originals, *map(CHANGES[change], originals)]))
    right = {(i, i + 60) for i in range(60)}
    assert pairs_of(found) <= right
    assert len(pairs_of(found)) >= 57
    assert (np.diff(found.likeness) <= 0).all()
    assert found.likeness.min() >= 0.9


def test_another_colour_is_another_picture():
    shirt = np.asarray(photo(3).convert("L"))
    red = Image.fromarray(np.stack([shirt, shirt // 3, shirt // 3], axis=-1))
    blue = Image.fromarray(np.stack([shirt // 3, shirt // 3, shirt], axis=-1))
    # brought to one brightness, they differ in colour alone
    luma, tints = kept([red, blue, red])
    luma[1] = luma[0]
    assert pairs_of(find_alike(luma, tints)) == {(0, 2)}


def test_flat_pictures_are_no_duplicates():
    rng = np.random.default_rng(0)
    luma = rng.integers(120, 123, (40, 16, 16)).astype(np.uint8)
    luma[:5] = 255
    assert len(find_alike(luma, np.full((40, 4, 4, 2), 128, dtype=np.uint8)).first) == 0


def test_pictures_of_one_light_but_different_detail_are_not_alike():
    """Light above, dark below, as at every beach; the detail is another each time."""
    light = np.linspace(200, 40, 16)[:, None] * np.ones((1, 16))
    rng = np.random.default_rng(0)
    luma = (light + rng.normal(0, 6, (60, 16, 16))).clip(0, 255).astype(np.uint8)
    assert np.corrcoef(luma[0].ravel(), luma[1].ravel())[0, 1] > 0.95
    assert len(find_alike(luma, np.full((60, 4, 4, 2), 128, dtype=np.uint8)).first) == 0


def test_a_camera_that_stands_still_gives_one_set_and_few_pairs():
    rng = np.random.default_rng(0)
    scene, other = kept([photo(5)])[0][0], kept([photo(6)])[0][0]
    frames = np.repeat(scene[None], 3000, axis=0).astype(int)
    frames[:1500] += rng.integers(-2, 3, (1500, 16, 16))
    frames[7] = other
    luma = frames.clip(0, 255).astype(np.uint8)
    found = find_alike(luma, np.full((3000, 4, 4, 2), 128, dtype=np.uint8))
    groups = joined(np.arange(3000), found.first, found.second)
    assert np.flatnonzero(groups).tolist() == [7]
    assert len(found.first) < 30_000  # of 4.5 million


def test_different_pictures_of_one_hash_are_told_apart(monkeypatch):
    luma, tints = kept([photo(1), photo(2), photo(1), photo(3), photo(2)])
    monkeypatch.setattr(
        "manylabel.data.doctor.similar.perceptual_hashes",
        lambda luma: np.full(len(luma), 9, dtype=np.uint64),
    )
    assert pairs_of(find_alike(luma, tints)) == {(0, 2), (1, 4)}


@pytest.mark.parametrize("size", [0, 1])
def test_nothing_to_compare(size):
    found = find_alike(np.zeros((size, 16, 16), np.uint8), np.zeros((size, 4, 4, 2), np.uint8))
    assert len(found.first) == len(found.second) == len(found.likeness) == 0


def test_joined_agrees_with_walking_the_graph():
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(1, 40))
        first, second = rng.integers(0, n, (2, int(rng.integers(0, n))))
        half = len(first) // 2
        groups = joined(np.arange(n), first[:half], second[:half])
        groups = joined(groups, first[half:], second[half:])
        linked = {i: {i} for i in range(n)}
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            union = linked[a] | linked[b]
            for i in union:
                linked[i] = union
        assert groups.tolist() == [min(linked[i]) for i in range(n)]


def test_distance_fits_the_bands():
    with pytest.raises(AssertionError):
        next(close_pairs(np.zeros(1, dtype=np.uint64), 12))
    assert DISTANCE < 12
