"""What writes files and folders, from a bundle to a whole training."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from killing import Writer
from PIL import Image
from rich.console import Console

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.folder import read_bundle, with_decision
from manylabel.bundle.info import BundleInfo
from manylabel.data.readers.coco import read_coco
from manylabel.data.readers.parquet import read_parquet
from manylabel.data.readers.table import read_table
from manylabel.data.readers.webdataset import read_webdataset
from manylabel.data.records import Record, Records
from manylabel.data.synthetic import draw_scenes
from manylabel.data.writers.convert import convert, plan
from manylabel.decide import Decision
from manylabel.evaluate.predictions.table import (
    Predictions,
    read_predictions,
    write_predictions,
)
from manylabel.feed import cache as image_cache
from manylabel.feed.cache import CachePlan, ImageCache, fill_cache, plan_cache
from manylabel.html import write_html
from manylabel.images import FilePart, open_image
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec
from manylabel.train.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import run

LABELS = LabelSpace(("cat", "dog"))


def nothing(home: Path) -> None:
    """There is nothing before."""


# Bundles


@cache
def classifier(seed: int) -> tuple[Classifier, BundleInfo]:
    """A tiny network with other weights for each seed."""
    spec = InputSpec(height=32, width=32)
    backbone = BackboneConfig(name="test_resnet", pretrained=False)
    model = ModelConfig(backbone=backbone, head=LinearConfig())
    torch.manual_seed(seed)
    built = build_classifier(model, LABELS, spec)
    info = BundleInfo(
        model=architecture(model, built),
        labels=LABELS.names,
        input=spec,
        thresholds=(seed / 2,) * 2,
    )
    return built, info


def save_old(home: Path) -> None:
    save_bundle(home / "bundle", *classifier(0))


def save_new(home: Path) -> None:
    save_bundle(home / "bundle", *classifier(1))


@cache
def weights_of(seed: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return read_bundle(save_bundle(Path(folder) / "b", *classifier(seed))).weights_sha256


def bundle_state(home: Path) -> str:
    if not (home / "bundle").exists():
        return "none"
    found = read_bundle(home / "bundle")
    pairs = {(weights_of(0), 0.0): "old", (weights_of(1), 0.5): "new"}
    return pairs.get((found.weights_sha256, found.info.thresholds[0]), "mixed")


def tune_in_place(home: Path) -> None:
    with_decision(home / "bundle", home / "bundle", Decision(thresholds=(0.9, 0.9)))


def decision_state(home: Path) -> str:
    return {0.0: "old", 0.9: "new"}.get(read_bundle(home / "bundle").info.thresholds[0], "other")


# Single files


def checkpoint(seed: int) -> dict[str, object]:
    return {"identity": "x", "weights": torch.full((50_000,), float(seed))}


def checkpoint_state(home: Path) -> str:
    weights = load_checkpoint(home / CHECKPOINT, identity="x")["weights"]
    return {0.0: "old", 1.0: "new"}[float(weights[-1])] if len(set(weights.tolist())) == 1 else "?"


def page(text: str) -> Callable[[Path], None]:
    return lambda home: (write_html(home / "report.html", f"<p>{text * 20_000}</p>"), None)[1]


def page_state(home: Path) -> str:
    text = (home / "report.html").read_text(encoding="utf-8")
    return {f"<p>{word * 20_000}</p>": word for word in ("old", "new")}.get(text, "half")


def predictions(name: str, value: float) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        keys = tuple(f"{i}.jpg" for i in range(500))
        scores = np.full((500, 2), value, dtype=np.float32)
        write_predictions(home / name, Predictions(keys, LABELS, scores, ""))

    return write


def predictions_state(name: str) -> Callable[[Path], str]:
    def state(home: Path) -> str:
        found = read_predictions(home / name)
        values = set(found.scores.ravel().tolist())
        return {0.25: "old", 0.75: "new"}[values.pop()] if len(found.keys) == 500 else "half"

    return state


# Data sets


def photos(home: Path, count: int = 6) -> list[Path]:
    paths = []
    for number in range(count):
        path = home / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def records_of(home: Path, target: int) -> Records:
    paths = sorted((home / "photos").iterdir())
    items = [Record(path.name, path, np.full(2, target, dtype=np.int8)) for path in paths]
    return Records.of(LABELS, items, "photos")


def converted(name: str, to: str, target: int) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        if target == 0:
            photos(home)
        planned = plan(records_of(home, target), home / name, to=to, overwrite=True)  # pyright: ignore
        convert(planned)

    return write


def converted_state(name: str, read: Callable[[Path], Records]) -> Callable[[Path], str]:
    def state(home: Path) -> str:
        found = read(home / name)
        for image in found.images:
            open_image(image)
        return {0: "old", 1: "new"}[int(found.targets[0, 0])] if len(found) == 6 else "half"

    return state


def scenes(home: Path) -> None:
    draw_scenes(home / "scenes", counts={"train": 3, "test": 2}, size=64, workers=1)


@cache
def drawn() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        scenes(Path(folder))
        return _files(Path(folder) / "scenes")


def scenes_state(home: Path) -> str:
    if not (home / "scenes" / "scenes.json").exists():
        return "none"
    return "new" if _files(home / "scenes") == drawn() else "half"


def _files(folder: Path) -> Mapping[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


# The cache of images


def cache_plan(home: Path) -> CachePlan:
    return plan_cache(records_of(home, 0), InputSpec(height=40, width=40), home / "cache")


def fill(home: Path) -> None:
    forget = getattr(image_cache, "forget_damaged", None)
    if forget is not None:
        forget(cache_plan(home), workers=1)
    fill_cache(cache_plan(home), workers=1)


def cache_state(home: Path) -> str:
    """What is marked as written must be exact."""
    found = cache_plan(home)
    written = found.written()
    if not written.all():
        return "none"
    cached = ImageCache(found)
    wanted = [to_pixels(open_image(place), found.spec) for place in found.records.images]
    same = [torch.equal(cached[i], image) for i, image in enumerate(wanted)]
    return "new" if all(same) else "damaged"


# A training


@cache
def training() -> tuple[RunConfig, Records]:
    folder = Path(tempfile.mkdtemp(prefix="faults-photos-"))
    splits = ("train",) * 6 + ("val",) * 3 + ("test",) * 3
    items = [
        Record(path.name, path, np.array([i % 2, i % 3 == 0], dtype=np.int8), split)
        for i, (path, split) in enumerate(zip(photos(folder, 12), splits, strict=True))
    ]
    tables = {
        "seed": 3,
        "batch_size": 3,
        "workers": 0,
        "device": "cpu",
        "input": {"height": 32, "width": 32},
        "augment": {"name": "flip"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "linear"},
        "optim": {"name": "adamw", "lr": 2e-3},
        "steps": [{"kind": "main", "epochs": 1}, {"kind": "main", "epochs": 1}],
    }
    return resolve(tables, where="faults"), Records.of(LABELS, items, "photos")


def quiet() -> Reporter:
    return Reporter(console=Console(file=io.StringIO()))


def train(home: Path) -> None:
    config, records = training()
    run(config, records, home / "run", quiet(), resume=(home / "run" / CHECKPOINT).exists())


@cache
def trained() -> str:
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        return read_bundle(Path(folder) / "run" / "bundle").weights_sha256


def training_state(home: Path) -> str:
    """Every bundle must be whole, and every line of the log; the last one has the same bits."""
    folder = home / "run"
    for found in (*(folder / "steps").glob("*"), folder / "bundle"):
        if found.exists() and not found.name.startswith("."):
            read_bundle(found)
    if (folder / "metrics.json").exists():
        for line in (folder / "log.jsonl").read_text().splitlines():
            json.loads(line)
        same = read_bundle(folder / "bundle").weights_sha256 == trained()
        return "new" if same else "other bits"
    return "none"


def warm_up() -> None:
    """Compute in the parent what every child would compute again."""
    torch.set_num_threads(1)
    weights_of(0), weights_of(1), drawn(), trained()


def copies(target: int) -> Callable[[Path], None]:
    """A table whose images are parts of files, so that copies of them are written beside it."""

    def write(home: Path) -> None:
        if target == 0:
            photos(home)
        items = []
        for number, path in enumerate(sorted((home / "photos").iterdir())):
            other = path.with_name(f"{5 - number}.png") if target else path
            part = FilePart(other, 0, other.stat().st_size, path.name)
            items.append(Record(path.name, part, np.full(2, target, dtype=np.int8)))
        convert(plan(Records.of(LABELS, items, "shard"), home / "set.csv", overwrite=True))

    return write


def copies_state(home: Path) -> str:
    found = read_table(home / "set.csv")
    target = int(found.targets[0, 0])
    for number, place in enumerate(found.images):
        original = home / "photos" / f"{5 - number if target else number}.png"
        assert isinstance(place, Path)
        if place.read_bytes() != original.read_bytes():
            return "mixed"
    return {0: "old", 1: "new"}[target]


WRITERS = (
    Writer("a bundle over another", save_old, save_new, bundle_state),
    Writer("a first bundle", nothing, save_new, bundle_state, before="none"),
    Writer("a decision into its bundle", save_old, tune_in_place, decision_state),
    Writer(
        "a checkpoint",
        lambda home: save_checkpoint(home / CHECKPOINT, checkpoint(0)),
        lambda home: save_checkpoint(home / CHECKPOINT, checkpoint(1)),
        checkpoint_state,
    ),
    Writer("a page", page("old"), page("new"), page_state),
    *(
        Writer(
            f"predictions, {name}",
            predictions(name, 0.25),
            predictions(name, 0.75),
            predictions_state(name),
        )
        for name in ("scores.csv", "scores.parquet", "scores.npz")
    ),
    Writer(
        "convert to a table",
        converted("set.csv", "table", 0),
        converted("set.csv", "table", 1),
        converted_state("set.csv", read_table),
    ),
    Writer(
        "convert to Parquet",
        converted("set.parquet", "parquet", 0),
        converted("set.parquet", "parquet", 1),
        converted_state("set.parquet", read_parquet),
    ),
    Writer(
        "convert to COCO files",
        converted("set", "coco", 0),
        converted("set", "coco", 1),
        converted_state("set", read_coco),
    ),
    Writer(
        "convert to shards",
        converted("shards", "webdataset", 0),
        converted("shards", "webdataset", 1),
        converted_state("shards", read_webdataset),
    ),
    # Two names in one folder cannot be exchanged in one step.
    Writer("convert, with copies", copies(0), copies(1), copies_state, passing="mixed"),
    Writer("scenes", nothing, scenes, scenes_state, before="none"),
    Writer("the cache of images", lambda home: (photos(home), None)[1], fill, cache_state, "none"),
    Writer("a training", nothing, train, training_state, before="none"),
)
