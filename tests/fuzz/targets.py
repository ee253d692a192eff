"""What the fuzz job attacks: for each target its valid files, and what reads a damaged one.

A target accepts a damaged file or refuses it with a `ManylabelError`. Everything else is a failure:
another exception, a crash, a file that takes too long or too much memory, or a damaged file that is
accepted although its content is protected by a digest.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final, final

import mutations
import numpy as np
import samples
import torch

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import INFO_FILE, WEIGHTS_FILE
from manylabel.config import parse, read_toml
from manylabel.data.doctor.look import look
from manylabel.data.read import DataSource, read
from manylabel.evaluate.predictions.score import Inputs, score_predictions
from manylabel.feed.cache import ImageCache, fill_cache, forget_damaged, plan_cache
from manylabel.images import load_rgb, open_image
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec
from manylabel.train.checkpoint import load_checkpoint, save_checkpoint
from manylabel.train.config import RunConfig

ROOT: Final = Path(__file__).parents[2]
SPEC: Final = InputSpec(height=64, width=64)

Feed = Callable[[Path], None]
"""Reads the file at a path. Returns if it accepts it; raises a `ManylabelError` if not."""


@final
@dataclass(frozen=True)
class Target:
    """One kind of input.

    Args:
        make: Writes all files that the target needs into a folder, and returns the valid files that
            are damaged, relative to the folder; and what reads one of them.
        kinds: The kinds of damage.
        exact: Whether a file with other bytes than the valid one must be refused.
    """

    make: Callable[[Path], tuple[Sequence[str], Feed]]
    kinds: Sequence[mutations.Damage]
    exact: bool = False


def _images(folder: Path, read_image: Feed) -> tuple[Sequence[str], Feed]:
    for name, content in samples.images().items():
        (folder / name).write_bytes(content)
    return sorted(samples.images()), read_image


def _to_model(path: Path) -> None:
    pixels = to_pixels(load_rgb(path), SPEC)
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == torch.uint8


def _open(path: Path) -> None:
    image = open_image(path)
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (image.height, image.width, 3)


def _bundle(folder: Path, damaged: str) -> tuple[Sequence[str], Feed]:
    saved = load_bundle(samples.bundle(folder / "bundle"))

    def load(path: Path) -> None:
        found = load_bundle(path.parent)
        assert (found.info, found.weights_sha256) == (saved.info, saved.weights_sha256)

    return [f"bundle/{damaged}"], load


def _checkpoint(folder: Path) -> tuple[Sequence[str], Feed]:
    weights = torch.arange(4_000, dtype=torch.float32)
    state = {"identity": "this run", "parts": {"classifier": {"weight": weights}}, "best": None}
    save_checkpoint(folder / "checkpoint.pt", state)

    def load(path: Path) -> None:
        load_checkpoint(path, identity="this run")

    return ["checkpoint.pt"], load


def _cache(folder: Path) -> tuple[Sequence[str], Feed]:
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(samples.images()["baseline.jpg"])
    rows = "".join(f"{number}.jpg,cat\n" for number in range(4))
    (folder / "photos.csv").write_text(f"image,labels\n{rows}")
    records = read(DataSource(path=folder / "photos.csv"))
    plan = plan_cache(records, SPEC, folder / "cache")
    fill_cache(plan, workers=1)
    drawn = plan.pixels_path.read_bytes()

    def mend(path: Path) -> None:
        forget_damaged(plan, workers=1)
        fill_cache(plan, workers=1)
        cache = ImageCache(plan)
        found = [cache[i].permute(1, 2, 0).numpy().tobytes() for i in range(len(cache))]
        assert b"".join(found) == drawn

    return [str(path.relative_to(folder)) for path in (plan.pixels_path, plan.sums_path)], mend


def _data(
    folder: Path, make_files: Callable[[], Mapping[str, bytes]]
) -> tuple[Sequence[str], Feed]:
    files = make_files()
    for name in ("a.jpg", "b.jpg", "c.jpg", "1.jpg", "2.jpg"):
        (folder / name).write_bytes(samples.images()["baseline.jpg"])
    for name, content in files.items():
        (folder / name).write_bytes(content)

    def load(path: Path) -> None:
        records = read(DataSource(path=path))
        assert len(records) == len(set(records.keys)) > 0
        assert records.targets.shape == (len(records), len(records.labels))
        assert set(np.unique(records.targets).tolist()) <= {-1, 0, 1}

    return sorted(files), load


def _tables() -> Mapping[str, bytes]:
    return {"long.csv": samples.TABLE, "wide.csv": samples.WIDE}


def _coco() -> Mapping[str, bytes]:
    return {"instances.json": samples.COCO}


def _shards() -> Mapping[str, bytes]:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as shard:
        for key in ("a", "b"):
            members = {
                "jpg": samples.images()["baseline.jpg"],
                "json": json.dumps({"labels": ["cat"] if key == "a" else []}).encode(),
            }
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                shard.addfile(member, BytesIO(content))
    return {"shard-0.tar": file.getvalue()}


def _scores(folder: Path) -> tuple[Sequence[str], Feed]:
    (folder / "truth.csv").write_bytes(samples.TRUTH)
    (folder / "scores.csv").write_bytes(samples.SCORES)
    keys, labels = np.array(["a.jpg", "b.jpg", "c.jpg"]), np.array(samples.LABELS)
    numbers = np.full((3, 3), 0.25, dtype=np.float32)
    np.savez(folder / "scores.npz", images=keys, labels=labels, scores=numbers)
    inputs = Inputs(targets=folder / "truth.csv")

    def measure(path: Path) -> None:
        figures = score_predictions(path, inputs).measures
        assert figures is not None

    return ["scores.csv", "scores.npz"], measure


def _recipe(folder: Path) -> tuple[Sequence[str], Feed]:
    content = (ROOT / "recipes" / "quick-resnet50-srn.toml").read_bytes()
    (folder / "recipe.toml").write_bytes(content)

    def load(path: Path) -> None:
        parse(RunConfig, read_toml(path), where=str(path))

    return ["recipe.toml"], load


TARGETS: Final[Mapping[str, Target]] = {
    "images to a model": Target(partial(_images, read_image=_to_model), mutations.BINARY),
    "images to draw on": Target(partial(_images, read_image=_open), mutations.BINARY),
    "images in the doctor": Target(
        partial(_images, read_image=lambda path: look(path) and None), mutations.BINARY
    ),
    "weights of bundles": Target(
        partial(_bundle, damaged=WEIGHTS_FILE), mutations.BINARY, exact=True
    ),
    "bundle.json": Target(partial(_bundle, damaged=INFO_FILE), mutations.TEXT),
    "checkpoints": Target(_checkpoint, mutations.BINARY, exact=True),
    "image caches": Target(_cache, mutations.BINARY),
    "tables": Target(partial(_data, make_files=_tables), mutations.TEXT),
    "COCO": Target(partial(_data, make_files=_coco), mutations.TEXT),
    "shards": Target(partial(_data, make_files=_shards), mutations.BINARY),
    "predictions": Target(_scores, mutations.TEXT),
    "recipes": Target(_recipe, mutations.TEXT),
}
"""The targets by name."""
