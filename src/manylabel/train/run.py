"""One run from a recipe and records to a folder: checkpoint, bundles, metrics, recipe, log."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import Dataset

from manylabel.bundle import BundleInfo, save_bundle, self_contained
from manylabel.config import to_tables, write_toml
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records, Split
from manylabel.data.splits.split import check_trainable, with_splits
from manylabel.errors import CheckpointError, ConfigError, DataError, ImageError, RunError
from manylabel.evaluate.receipt import package_versions
from manylabel.feed.augment import Augment
from manylabel.feed.loaders import ImageDataset, Sample
from manylabel.feed.verify import refusal, without
from manylabel.losses import LOSSES, LabelCounts
from manylabel.models.classifier import Classifier, build_classifier
from manylabel.train.caching import cached_images, find_unusable, processors, refuse_all
from manylabel.train.checkpoint import CHECKPOINT, load_checkpoint
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures, compute_features
from manylabel.train.graph import fill_graph
from manylabel.train.logs import Reporter
from manylabel.train.loop import train
from manylabel.train.outcome import Outcome, metrics_of, receipt_of_step, write_metrics
from manylabel.train.signals import StopRequest
from manylabel.train.state import Job, RunState, View

RECIPE: Final = "recipe.toml"
LOG: Final = "log.jsonl"


def load_records(
    source: DataSource,
    reporter: Reporter,
    *,
    skip_bad: bool = False,
    config: RunConfig | None = None,
) -> Records:
    """The records of a data set, fit to train on: split, every image opened once.

    Args:
        source: Where the data set lies.
        reporter: Reports the progress.
        skip_bad: Leave out images that cannot be used.
        config: The recipe of the run; if it keeps its images, they are kept while they are
            checked.

    Raises:
        DataError: The data set cannot be read, has labels that train never shows, or images that
            cannot be used (unless `skip_bad`).
    """
    records = with_splits(read(source))
    check_trainable(records)
    bad = find_unusable(config, records, reporter, skip_bad=skip_bad)
    if bad and not skip_bad:
        raise refusal(records, bad)
    records = without(records, bad)
    check_trainable(records)
    return records


def run(
    config: RunConfig,
    records: Records,
    folder: Path,
    reporter: Reporter,
    *,
    resume: bool = False,
    weights: Mapping[str, torch.Tensor] | None = None,
    features: Mapping[Split, CachedFeatures] | None = None,
) -> Outcome:
    """Train, measure and save a run.

    Args:
        config: The recipe.
        records: With splits; steps are measured on test, or on val if there is no test.
        folder: Where everything goes; made if need be.
        reporter: Who is told.
        resume: Go on from the checkpoint in `folder` rather than begin.
        weights: Start from these tensors where the classifier has them, by name.
        features: The maps of each split, computed before with the same backbone, for a recipe
            with `features = "cached"`; computed anew if not given.

    Raises:
        ConfigError: The folder holds a run already, or the recipe cannot be carried out.
        CheckpointError: There is nothing to resume, or it is of another run.
        RunError: The run had begun and could not go on.
    """
    began = time.monotonic()
    _require_enough(records)
    identity = _identity(config, records)
    checkpoint = _open_folder(folder, config, identity, resume=resume)
    reporter.log_to(folder / LOG)
    fabric = _fabric(config)
    torch.manual_seed(config.seed)
    classifier = build_classifier(config.model, len(records.labels), config.input)
    if checkpoint is None:  # else the graph is in it
        fill_graph(classifier.head, config.head, records)
    if weights is not None:
        _start_from(classifier, weights)
    fabric.to_device(classifier)
    classifier.to(memory_format=torch.channels_last)
    state = RunState(classifier)
    if checkpoint is not None:
        state.restore(checkpoint)
        reporter.say(f"Going on from {folder / CHECKPOINT}.")
    if config.features == "cached" and features is None:
        features = cache_features(config, records, classifier.backbone, fabric.device, reporter)
    views = _views(config, records, features, reporter)
    job = Job(
        run=config,
        folder=folder,
        identity=identity,
        fabric=fabric,
        loss=LOSSES[config.loss.name][1](config.loss, LabelCounts.of(views["train"].targets)),
        train=views["train"],
        val=views.get("val"),
        held_out=views["test"] if "test" in views else views["val"],
        workers=0 if config.features == "cached" else _workers(config),
        reporter=reporter,
    )

    def keep_step(number: int) -> None:
        info = _bundle_info(job, classifier, state.results[number])
        saved = save_bundle(_step_folder(folder, job, number), classifier, info)
        receipt = receipt_of_step(saved, job.held_out.records, state.results[number]["profile"])
        state.results[number]["receipt"] = receipt.model_dump(mode="json", exclude_none=True)

    with StopRequest() as stop:
        train(job, state, stop=stop, step_done=keep_step)
    bundle = save_bundle(
        folder / "bundle", classifier, _bundle_info(job, classifier, state.results[-1])
    )
    numbers = range(len(config.steps))
    outcome = Outcome(
        folder,
        bundle,
        tuple(_step_folder(folder, job, number) for number in numbers),
        state.results,
        state.history,
        job.held_out.records,
        job.val.records if job.val else None,
    )
    write_metrics(folder, metrics_of(outcome, config, seconds=time.monotonic() - began))
    return outcome


def cache_features(
    config: RunConfig,
    records: Records,
    backbone: nn.Module,
    device: torch.device,
    reporter: Reporter,
) -> dict[Split, CachedFeatures]:
    """The feature maps of every split, for runs with `features = "cached"` to share.

    Raises:
        DataError: Images that cannot be used.
    """
    cached: dict[Split, CachedFeatures] = {}
    for name in records.split_names():
        part = records.split(name)
        reporter.begin(f"feature maps of {name}", len(part))
        with refuse_all(records):
            cached[name] = compute_features(
                backbone,
                part,
                config.input,
                mirrored=name == "train" and config.augment.name == "flip",
                device=device,
                batch_size=config.batch_size,
                workers=_workers(config),
                on_batch=reporter.advance,
            )
        reporter.end()
    return cached


def _identity(config: RunConfig, records: Records) -> str:
    """Of all that a checkpoint's meaning depends on; not of device or where the data lies."""
    tables = to_tables(config)
    for key in ("data", "workers", "device", "cache", "cache_folder"):
        tables.pop(key, None)
    text = json.dumps(tables, sort_keys=True) + records.fingerprint()
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_of(folder: Path) -> Path:
    """The recipe of the run in `folder`.

    Raises:
        CheckpointError: There is no run.
    """
    path = folder / RECIPE
    if not path.exists():
        raise CheckpointError(
            "There is no run to go on with.",
            where=str(folder),
            fix="Give the folder of a run that was stopped; it holds a recipe and a checkpoint.",
        )
    return path


def require_free(folder: Path) -> None:
    """Returns if no run would be written over in `folder`.

    Raises:
        ConfigError: It holds a run.
    """
    if (folder / CHECKPOINT).exists():
        raise ConfigError(
            "The folder holds a run already.",
            where=str(folder),
            fix=f"Go on with it by --resume {folder}, or give another folder with --out.",
        )


def _require_enough(records: Records) -> None:
    counts = records.split_counts()
    if (images := counts.get("train", 0)) < 2:
        raise DataError(
            f"The train split has {images} images, too few to train on: it takes two at least.",
            where=records.source,
            fix="Put more images into the split 'train'.",
        )
    if not {"val", "test"} & counts.keys():
        raise DataError(
            "No image is left to measure on: there is neither a val nor a test split.",
            where=records.source,
            fix="Add images, or put some into the split 'test'.",
        )


def _open_folder(
    folder: Path, config: RunConfig, identity: str, *, resume: bool
) -> dict[str, Any] | None:
    """Make the run's folder, or give the checkpoint that it holds."""
    if resume:
        return load_checkpoint(folder / CHECKPOINT, identity=identity)
    require_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_toml(config, folder / RECIPE)
    except OSError as error:
        raise RunError(
            f"The run's folder cannot be written: {error.strerror}.",
            where=str(folder),
            fix="Give a folder that you may write to with --out.",
        ) from error
    return None


def _fabric(config: RunConfig) -> Fabric:
    accelerator = "gpu" if config.device == "cuda" else config.device
    try:
        return Fabric(accelerator=accelerator, devices=1, precision=config.precision)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The device '{config.device}' cannot be used: {str(error).splitlines()[0]}",
            where="device",
            fix="Leave it at 'auto', or give cpu, cuda or mps.",
        ) from None


def _start_from(classifier: Classifier, weights: Mapping[str, torch.Tensor]) -> None:
    own = classifier.state_dict()
    shared = {key: value for key, value in weights.items() if key in own}
    assert shared, "no tensor of the given weights is of this classifier"
    classifier.load_state_dict(shared, strict=False)


def _views(
    config: RunConfig,
    records: Records,
    features: Mapping[Split, CachedFeatures] | None,
    reporter: Reporter,
) -> dict[Split, View]:
    views: dict[Split, View] = {}
    for name in records.split_names():
        part = records.split(name)
        if config.features == "cached":
            assert features is not None
            samples = features[name].seeded(config.seed)
        else:
            samples = _live(config, part, name, reporter)
        views[name] = View(name, part, samples)
    return views


def _live(
    config: RunConfig, part: Records, name: Split, reporter: Reporter
) -> Dataset[Sample | ImageError]:
    augment = Augment(config.augment, config.input) if name == "train" else None
    cache = None
    if config.cache:
        cache = cached_images(config, part, name, reporter)
    return ImageDataset(part, config.input, augment=augment, seed=config.seed, cache=cache)


def _bundle_info(job: Job, classifier: Classifier, result: Mapping[str, Any]) -> BundleInfo:
    config, records = job.run, job.train.records
    return BundleInfo(
        model=self_contained(config.model, classifier),
        labels=records.labels.names,
        input=config.input,
        thresholds=(0.5,) * len(records.labels),
        scores_from=result["scores"],
        provenance={
            "step": result["number"],
            "seed": config.seed,
            "recipe": to_tables(config),
            "trained_on": records.fingerprint(),
            "versions": package_versions(),
        },
    )


def _step_folder(folder: Path, job: Job, number: int) -> Path:
    return folder / "steps" / f"{number + 1}-{job.step(number).kind}"


def _workers(config: RunConfig) -> int:
    return processors() - 1 if config.workers is None else config.workers
