"""Images per second from JPEG files to batches of pixels, with Pillow and torchvision, on one core.

    python -m benchmarks.input_pipeline --out input_pipeline.json

Every variant decodes 500x375 JPEGs and gives batches of 32 uint8 views of 224x224 through the same
loader. `flip` resizes the whole image and mirrors it half of the time. `paper` resizes the whole
image to 256x256, takes one of the paper's crops, resizes it, and mirrors it half of the time.
`share` is the rate divided by that of libjpeg-turbo (simplejpeg) when it only decodes.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.feed.augment import Augment, FlipConfig, PaperAugmentConfig
from manylabel.feed.cache import ImageCache, fill_cache, plan_cache
from manylabel.feed.loaders import Draw, EpochSampler, ImageDataset, Sample, batches
from manylabel.images import load_rgb
from manylabel.labels import LabelSpace
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

SPEC = InputSpec(height=224, width=224)
WIDTH, HEIGHT = 500, 375
BILINEAR = Image.Resampling.BILINEAR

CACHED_PASSES = 8
"""A pass over the cache is short; in so many, the time that workers take to start is small."""


def draw_photo(rng: np.random.Generator) -> Image.Image:
    """Something that costs a decoder what a photograph does: soft shapes, edges and grain."""
    light = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    for scale, strength in ((256, 1.0), (64, 0.7), (16, 0.35), (4, 0.24), (2, 0.27)):
        light += strength * _smooth_noise(rng, scale)
    for _ in range(12):
        left, top = rng.integers(0, WIDTH - 20), rng.integers(0, HEIGHT - 20)
        right, bottom = left + rng.integers(20, 200), top + rng.integers(20, 150)
        light[top:bottom, left:right] += rng.normal(0, 0.6, 3).astype(np.float32)
    scaled = 128 + 45 * (light - light.mean()) / light.std()
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _smooth_noise(rng: np.random.Generator, scale: int) -> NDArray[np.float32]:
    """[HEIGHT, WIDTH, 3]: brightness alike in the channels, colour less so, as in photographs."""
    shape = (HEIGHT // scale + 2, WIDTH // scale + 2, 3)
    grid = rng.normal(size=shape) * 0.35 + rng.normal(size=(*shape[:2], 1))
    channels = [
        np.asarray(
            Image.fromarray(grid[:, :, channel].astype(np.float32)).resize(
                (WIDTH, HEIGHT), Image.Resampling.BICUBIC
            )
        )
        for channel in range(3)
    ]
    return np.stack(channels, axis=2)


def draw_photos(folder: Path, count: int) -> list[Path]:
    """JPEGs of quality 90 with halved colour, as cameras and web sites write them."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        draw_photo(rng).save(path, quality=90)
    return paths


def paper_box(random: Random) -> tuple[int, int, int, int]:
    """One of the paper's crops of 256x256: left, top, right, bottom."""
    sides = (256, 224, 192, 168, 128)
    width, height = random.choice(sides), random.choice(sides)
    across, down = random.choice(((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)))
    left, top = int(across * (256 - width)), int(down * (256 - height))
    return left, top, left + width, top + height


def pillow_flip(path: Path, random: Random) -> Tensor:
    image = open_by_pillow(path).resize((224, 224), BILINEAR)
    return as_tensor(ImageOps.mirror(image) if random.random() < 0.5 else image)


def pillow_paper(path: Path, random: Random) -> Tensor:
    staged = open_by_pillow(path).resize((256, 256), BILINEAR)
    image = staged.resize((224, 224), BILINEAR, box=paper_box(random))
    return as_tensor(ImageOps.mirror(image) if random.random() < 0.5 else image)


def torchvision_flip(path: Path, random: Random) -> Tensor:
    image = v2.functional.resize(decode_by_torchvision(path), [224, 224])
    return v2.functional.horizontal_flip(image) if random.random() < 0.5 else image


def torchvision_paper(path: Path, random: Random) -> Tensor:
    staged = v2.functional.resize(decode_by_torchvision(path), [256, 256])
    left, top, right, bottom = paper_box(random)
    image = v2.functional.resized_crop(staged, top, left, bottom - top, right - left, [224, 224])
    return v2.functional.horizontal_flip(image) if random.random() < 0.5 else image


def open_by_pillow(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def decode_by_torchvision(path: Path) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pixels = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    assert isinstance(pixels, Tensor)
    return pixels


class OtherViews(Dataset[Sample | ImageError]):
    """Records as samples by another library's means."""

    def __init__(self, records: Records, view: Callable[[Path, Random], Tensor]) -> None:
        self.records, self.view = records, view

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> Sample:
        """A random view of one record."""
        place = self.records.images[draw.record]
        assert isinstance(place, Path)
        pixels = self.view(place, Random(draw.record))
        return Sample(pixels, torch.tensor(self.records.targets[draw.record]), draw.record)


class Passes(Sampler[Draw]):
    """Several epochs, one after the other."""

    def __init__(self, targets: NDArray[np.int8], passes: int) -> None:
        self.targets, self.passes = targets, passes

    def __len__(self) -> int:
        return len(self.targets) * self.passes

    def __iter__(self) -> Iterator[Draw]:
        for epoch in range(self.passes):
            yield from EpochSampler(self.targets, seed=0, epoch=epoch)


@dataclass(frozen=True)
class Timed:
    """What is timed, and how many images one run of it is."""

    run: Callable[[], None]
    images: int


def decoding(paths: list[Path], decode: Callable[[Path], object]) -> Timed:
    def run() -> None:
        for path in paths:
            decode(path)

    return Timed(run, len(paths))


def through_loader(
    source: ImageDataset | OtherViews, *, passes: int = 1, workers: int = 0
) -> Timed:
    sampler = Passes(source.records.targets, passes)

    def run() -> None:
        seen = sum(len(b.records) for b in batches(source, sampler, batch_size=32, workers=workers))
        assert seen == len(sampler)

    return Timed(run, len(sampler))


def contenders(paths: list[Path], folder: Path) -> dict[str, Timed]:
    """All paths, by name; the caches are built in `folder`."""
    photos = photo_records(paths, turns=1)
    # Four times, so that the cache does not fit a processor's own.
    many = photo_records(paths, turns=4)
    found = {
        "simplejpeg_decode": decoding(
            paths, lambda path: simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
        ),
        "pillow_decode": decoding(paths, open_by_pillow),
        "torchvision_decode": decoding(paths, decode_by_torchvision),
        "pillow_flip": through_loader(OtherViews(photos, pillow_flip)),
        "torchvision_flip": through_loader(OtherViews(photos, torchvision_flip)),
        "pillow_paper": through_loader(OtherViews(photos, pillow_paper)),
        "torchvision_paper": through_loader(OtherViews(photos, torchvision_paper)),
    }
    for config in (FlipConfig(), PaperAugmentConfig()):
        augment = Augment(config, SPEC)
        live = ImageDataset(photos, SPEC, augment=augment)
        plan = plan_cache(many, augment.stage_spec, folder)
        fill_cache(plan, workers=2)
        cached = ImageDataset(many, SPEC, augment=augment, cache=ImageCache(plan))
        found |= {
            f"manylabel_{config.name}": through_loader(live),
            f"manylabel_{config.name}_cached": through_loader(cached, passes=CACHED_PASSES),
            f"manylabel_{config.name}_cached_2_workers": through_loader(
                cached, passes=CACHED_PASSES, workers=2
            ),
        }
    return found


def photo_records(paths: list[Path], *, turns: int) -> Records:
    """Each photo so many times, with 80 labels."""
    items = tuple(
        Record(f"{turn}/{path.name}", path, np.zeros(80, dtype=np.int8))
        for turn in range(turns)
        for path in paths
    )
    return Records.of(LabelSpace(f"label {i}" for i in range(80)), items, "photos")


def require_alike(paths: list[Path]) -> dict[str, int]:
    """The largest differences from Pillow's pixels, 0..255: of decoding, and of the squash."""
    decoded = squashed = 0
    for path in paths[:20]:
        image = open_by_pillow(path)
        found = load_rgb(path)
        opened = torch.from_numpy(found).permute(2, 0, 1)
        decoded = max(decoded, int((opened.int() - as_tensor(image).int()).abs().max()))
        reference = as_tensor(image.resize((224, 224), BILINEAR)).int()
        squashed = max(squashed, int((to_pixels(found, SPEC).int() - reference).abs().max()))
    assert decoded == 0, decoded
    assert squashed <= 1, squashed
    return {"decoded": decoded, "squashed": squashed}


def report(paths: list[Path], folder: Path, rounds: int) -> dict[str, Any]:
    """The figures, after one untimed run of each."""
    torch.set_num_threads(1)
    alike = require_alike(paths)
    timed = contenders(paths, folder)
    for each in timed.values():
        each.run()
    seconds = time_interleaved({name: each.run for name, each in timed.items()}, rounds)
    rates = {name: timed[name].images / median(taken) for name, taken in seconds.items()}
    bare = rates["simplejpeg_decode"]
    return {
        "headline": {f"{name}_images_s": rate for name, rate in rates.items()},
        "share_of_bare_decode": {name: rate / bare for name, rate in rates.items()},
        "over_pillow": {
            title: rates[f"manylabel_{title}"] / rates[f"pillow_{title}"]
            for title in ("flip", "paper")
        },
        "over_torchvision": {
            title: rates[f"manylabel_{title}"] / rates[f"torchvision_{title}"]
            for title in ("flip", "paper")
        },
        "largest_difference_from_pillow": alike,
        "files": len(paths),
        "bytes_a_file": round(sum(path.stat().st_size for path in paths) / len(paths)),
        "rounds": rounds,
        "versions": versions("pillow", "simplejpeg", "torch", "torchvision"),
        "processor": processor(),
    }


def table(figures: dict[str, Any]) -> str:
    """The headline as text."""
    lines = [
        f"{figures['files']} JPEGs of {figures['bytes_a_file'] / 1000:.0f} KB, "
        f"{figures['rounds']} rounds, {figures['processor']}",
        f"  {'':<40} images/s   share",
    ]
    for name, share in figures["share_of_bare_decode"].items():
        rate = figures["headline"][f"{name}_images_s"]
        lines.append(f"  {name:<40} {rate:8,.0f}  {share:6.2f}")
    for other in ("pillow", "torchvision"):
        ratios = figures[f"over_{other}"]
        lines.append(
            f"manylabel over {other}: flip {ratios['flip']:.2f}, paper {ratios['paper']:.2f}"
        )
    return "\n".join(lines)


def find_photos(folder: Path, count: int) -> list[Path]:
    """The first JPEGs below a folder, by name."""
    jpegs = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
    return sorted(jpegs)[:count]


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--images", type=Path, help="use the JPEGs of this folder")
    parser.add_argument("--count", type=int, default=200, help="number of images")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = (
            draw_photos(folder, args.count)
            if args.images is None
            else find_photos(args.images, args.count)
        )
        figures = report(paths, folder / "cache", args.rounds)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
