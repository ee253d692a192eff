"""How much the pixels of a very large JPEG change if it is decoded at a reduced size.

    python -m benchmarks.reduced_jpegs --out reduced.json

Each picture of 9000x7200 pixels is decoded whole, and as `manylabel.images.jpeg.reduction` allows
for the size that it is then resized to. Two photographs of scikit-learn are enlarged, or repeated
side by side; noise and thin lines are the hardest cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.common import arguments, versions, write
from manylabel.images import load_rgb, prepared
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

HEIGHT, WIDTH = 7200, 9000
SIZES = (224, 448)


def main() -> None:
    given = arguments(__doc__, rounds=1).parse_args()
    torch.set_num_threads(1)
    rows = {name: _differences(draw()) for name, draw in PICTURES.items()}
    print(f"{'':20}{'largest':>10}{'above 1':>12}")
    for name, row in rows.items():
        print(f"{name:20}{row['largest']:>10}{100 * row['share_above_1']:>10.4f} %")
    write({"pictures": rows, "versions": versions("simplejpeg", "torch")}, given.out)


def _differences(picture: NDArray[np.uint8]) -> dict[str, Any]:
    """The largest difference of 255 levels, and the largest share of values that differ by more."""
    found = list(_of_each_setting(picture))
    return {
        "largest": max(int(each.max()) for each in found),
        "share_above_1": max(float((each > 1).mean()) for each in found),
    }


def _of_each_setting(picture: NDArray[np.uint8]) -> Iterator[NDArray[np.int16]]:
    for subsampling in ("420", "444"):
        data = simplejpeg.encode_jpeg(picture, quality=85, colorsubsampling=subsampling)
        whole = load_rgb(data)
        for side in SIZES:
            for resize in ("bilinear", "bicubic"):
                spec = InputSpec(height=side, width=side, resize=resize)
                expected = to_pixels(whole, spec).numpy().astype(np.int16)
                reduced = prepared(
                    data, lambda pixels, spec=spec: to_pixels(pixels, spec), size=(side, side)
                )
                yield np.abs(reduced.numpy().astype(np.int16) - expected)


def _photographs() -> list[NDArray[np.uint8]]:
    return load_sample_images().images


def _enlarged() -> NDArray[np.uint8]:
    image = Image.fromarray(_photographs()[0])
    return np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _side_by_side() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    one = [np.hstack([_photographs()[i] for i in rng.integers(2, size=15)]) for _ in range(17)]
    return np.ascontiguousarray(np.vstack(one)[:HEIGHT, :WIDTH])


def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _lines() -> NDArray[np.uint8]:
    picture = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    picture[::7] = 0
    picture[:, ::11] = (200, 0, 0)
    return picture


PICTURES: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "a photograph": _enlarged,
    "many photographs": _side_by_side,
    "noise": _noise,
    "lines of one pixel": _lines,
}

if __name__ == "__main__":
    main()
