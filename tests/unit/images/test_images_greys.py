"""Greys of more than 8 bits: what is black, what is white, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cases import case
from PIL import Image, TiffImagePlugin

from manylabel.errors import ImageError
from manylabel.images import load_rgb

NAN, INF = np.nan, np.inf
RAMP = np.linspace(280, 310, 20 * 30, dtype=np.float32).reshape(20, 30)
"""Degrees, as a thermal camera gives them."""


def tiff(values: np.ndarray, **tags: object) -> bytes:
    file = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in tags.items():
        info[int(number.removeprefix("tag"))] = value
    Image.fromarray(values).save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def greys(data: bytes) -> np.ndarray:
    pixels = load_rgb(data)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The slow way: each value by itself."""
    wide = [min(max((float(v) - low) / (high - low), 0), 1) * 255 for v in values.ravel()]
    return np.rint(wide).reshape(values.shape)


def test_floats_are_scaled_from_their_own_range(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scaled(RAMP, RAMP.min(), RAMP.max())
    for strip in (1 << 20, 7):  # one range in all strips
        monkeypatch.setattr("manylabel.images.greys._STRIP", strip)
        np.testing.assert_allclose(greys(tiff(RAMP)), expected, atol=1)
        assert {0, 255} <= set(greys(tiff(RAMP)).ravel().tolist())


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("count", [1, 250])
def test_values_that_are_not_finite_leave_the_others(odd: float, count: int) -> None:
    values = RAMP.copy()
    places = np.random.default_rng(count).choice(values.size, count, replace=False)
    values.ravel()[places] = odd
    rest = np.setdiff1d(np.arange(values.size), places)
    found = greys(tiff(values)).ravel()
    kept = RAMP.ravel()[rest]
    np.testing.assert_allclose(found[rest], scaled(kept, kept.min(), kept.max()), atol=1)
    told = {NAN: scaled(np.median(kept)[None], kept.min(), kept.max())[0], INF: 255, -INF: 0}
    expected = told[NAN] if np.isnan(odd) else told[odd]
    assert abs(found[places].astype(float) - expected).max() <= 1


@pytest.mark.parametrize("odd", [NAN, INF])
def test_an_image_that_is_mostly_not_finite_is_refused(odd: float) -> None:
    values = np.full((20, 30), odd, dtype=np.float32)
    values[:9] = RAMP[:9]
    with pytest.raises(ImageError, match="55% of the image's values are not finite"):
        load_rgb(tiff(values))
    with pytest.raises(ImageError, match="100% of the image's values"):
        load_rgb(tiff(np.full((20, 30), odd, dtype=np.float32)))


@pytest.mark.parametrize("outlier", [3.4e38, -3.4e38, -9999, 1e6])
def test_single_values_far_away_do_not_make_an_image_flat(outlier: float) -> None:
    values = RAMP.copy()
    values[3, 4] = values[17, 2] = outlier
    found = greys(tiff(values)).astype(float)
    low, high = np.percentile(values, [1, 99])
    np.testing.assert_allclose(found, scaled(values, low, high), atol=1)
    assert found.std() > 60


@pytest.mark.parametrize("missing", ["-9999", "-3.4028234663852886e+38", "nan"])
def test_what_was_not_measured_counts_like_nan(missing: str) -> None:
    """GDAL writes the value into a tag of the TIFF."""
    values = RAMP.copy()
    values[:6] = np.float32(missing)
    found = greys(tiff(values, tag42113=missing))
    kept = RAMP[6:]
    np.testing.assert_allclose(found[6:], scaled(kept, kept.min(), kept.max()), atol=1)
    assert np.ptp(found[:6]) == 0
    assert 120 < found[0, 0] < 135
    values[:12] = np.float32(missing)
    with pytest.raises(ImageError, match="60% of the image's values are not finite, or mean"):
        load_rgb(tiff(values, tag42113=missing))


def test_one_value_is_black() -> None:
    assert not greys(tiff(np.full((4, 5), 7.5, dtype=np.float32))).any()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(-500, 3000, 7, dtype=np.int32)[:480].reshape(20, 24),
        np.arange(480, dtype=np.int32).reshape(20, 24) % 256,
        np.arange(480, dtype=np.int32).reshape(20, 24) * 4_000_000,
    ],
    ids=["heights", "8 bits in 32", "32 bits"],
)
def test_whole_numbers_of_32_bits_are_scaled_from_their_own_range(values: np.ndarray) -> None:
    np.testing.assert_allclose(
        greys(tiff(values)), scaled(values, values.min(), values.max()), atol=1
    )


def test_16_bits_have_a_white_of_their_own() -> None:
    values = np.arange(0, 65_536, 137, dtype=np.uint16)[:476].reshape(17, 28)
    png, pgm = io.BytesIO(), io.BytesIO()
    Image.fromarray(values).save(png, "PNG")
    Image.fromarray(values).save(pgm, "PPM")
    for name, data in {"tiff": tiff(values), "png": png.getvalue(), "pgm": pgm.getvalue()}.items():
        with case(name=name):
            np.testing.assert_array_equal(greys(data), scaled(values, 0, 65_535))
    dark = values // 16  # 12 bits in a file of 16: the doctor names it, nothing is guessed here
    np.testing.assert_array_equal(greys(tiff(dark)), scaled(dark, 0, 65_535))


def test_a_tiff_of_12_bits_says_so() -> None:
    """Two values in three bytes, as TIFF packs them; Pillow cannot write it."""
    values = (np.arange(8 * 6) * 87 % 4096).reshape(6, 8)
    packed = bytes(
        byte
        for a, b in values.reshape(-1, 2).tolist()
        for byte in (a >> 4, (a & 15) << 4 | b >> 8, b & 255)
    )
    short, long = 3, 4
    entries = [
        *((256, short, 8), (257, short, 6), (258, short, 12), (259, short, 1), (262, short, 1)),
        *((273, long, 8), (277, short, 1), (278, short, 6), (279, long, len(packed))),
    ]
    directory = len(entries).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, value in entries
    )
    data = b"II*\0" + (8 + len(packed)).to_bytes(4, "little") + packed + directory + bytes(4)
    np.testing.assert_array_equal(greys(data), scaled(values, 0, 4095))
