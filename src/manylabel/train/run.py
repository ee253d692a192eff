"""Runs a recipe: trains on records, and writes checkpoint, bundles, metrics and log to a folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.folder import read_bundle, write_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.config import to_tables
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records, Split
from manylabel.data.splits.split import check_trainable, with_splits
from manylabel.devices import choose_device
from manylabel.errors import ConfigError, DataError
from manylabel.evaluate.receipt import package_versions
from manylabel.feed.verify import refusal, without
from manylabel.locks import held, lock_beside
from manylabel.losses import LOSSES, LabelCounts
from manylabel.models.classifier import Classifier, build_classifier, without_weights
from manylabel.processes import agreed, from_leader, processes, require_same
from manylabel.train.caching import find_unusable
from manylabel.train.checkpoint import CHECKPOINT
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures
from manylabel.train.hand_over import choose_step, describe_choice
from manylabel.train.job import Job, View
from manylabel.train.logs import Reporter
from manylabel.train.loop import train
from manylabel.train.outcome import Outcome, metrics_of, receipt_of_step, write_metrics
from manylabel.train.random_states import seed_all
from manylabel.train.run_folder import (
    BUNDLE,
    LOG,
    claimed,
    open_folder,
    step_folder,
    write_recipe,
)
from manylabel.train.seen import find_contents, find_seen
from manylabel.train.signals import StopRequest
from manylabel.train.start import start_from, starting_model
from manylabel.train.state import RunState
from manylabel.train.views import build_views, cache_features, reading_workers


def load_records(
    source: DataSource, reporter: Reporter, config: RunConfig | None = None
) -> Records:
    """The records of a data set, with splits, after each image was opened once to check it.

    Args:
        source: Where the data set lies.
        reporter: Reports the progress.
        config: The recipe of the run. It says whether bad images are left out. If the run keeps
            its images, they are kept while they are checked. If it keeps the maps of a frozen
            backbone, `run` checks the images when it computes these.

    Raises:
        DataError: The data set cannot be read, has labels without a training image, or has images
            that cannot be used (unless the recipe says `skip_bad_images`).
    """
    records = with_splits(read(source))
    check_trainable(records)
    contents = np.zeros(len(records), dtype=np.uint64)
    bad = find_unusable(config, records, reporter, contents=contents)
    if bad and not (config is not None and config.skip_bad_images):
        raise refusal(records, bad)
    records = without(replace(records, contents=contents), bad)
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

    If there are several processes, the leading one writes the files, and all return the outcome.

    Args:
        config: The recipe.
        records: The records, with splits. Steps are measured on test, or on val if there is no
            test split.
        folder: The folder of the run; it is created if it does not exist.
        reporter: Reports progress.
        resume: Whether to resume from the checkpoint in `folder`.
        weights: Initial weights by name. Names that the classifier does not have are ignored.
        features: The feature maps of each split, for a recipe with `features = "cached"`. They
            must come from the same backbone. If not given, they are computed.

    Raises:
        ConfigError: The folder already holds a run, another process works in it, or the recipe
            cannot be run.
        CheckpointError: There is nothing to resume, or the checkpoint belongs to another run.
        RunError: The run began and could not continue.
    """
    _require_enough(records)
    identity = identity_of(config, records)
    require_same(identity, "recipe and data set")
    with claimed(folder, resume=resume):
        return _run(config, records, folder, identity, reporter, resume, weights, features)


def _run(
    config: RunConfig,
    records: Records,
    folder: Path,
    identity: str,
    reporter: Reporter,
    resume: bool,
    weights: Mapping[str, torch.Tensor] | None,
    features: Mapping[Split, CachedFeatures] | None,
) -> Outcome:
    began = time.monotonic()
    checkpoint = agreed(lambda: open_folder(folder, identity, resume=resume))
    fabric = _fabric(config)
    classifier = _build_classifier(config, records, fabric, weights, checkpoint, reporter)
    if config.features == "cached" and features is None:
        features = cache_features(config, records, classifier.backbone, fabric.device, reporter)
    views = build_views(config, records, features, reporter)
    job = _job(config, folder, identity, fabric, views, reporter)
    contents = find_contents(config, records, features, reporter)
    seen, overlap = find_seen(contents, job.held_out.name, reporter)
    job = replace(job, seen=seen, overlap=overlap)
    if checkpoint is None:  # only now: a run that is refused leaves no file
        agreed(lambda: write_recipe(folder, config))
    reporter.log_to(folder / LOG)
    state = RunState(classifier, fabric.strategy.precision)
    if checkpoint is not None:
        state.restore(checkpoint, job)
        reporter.say(f"Resuming from {folder / CHECKPOINT}.")
    with StopRequest() as stop:
        for number in train(job, state, stop):
            _keep_step(job, state, number)
    outcome = _outcome(job, state)
    if processes().leads:
        write_metrics(folder, metrics_of(outcome, config, seconds=time.monotonic() - began))
    return outcome


def identity_of(config: RunConfig, records: Records) -> str:
    """A hash of all that a checkpoint depends on, without the device and the paths of files.

    The checkpoint holds all weights, so it does not depend on where the first ones came from.
    """
    tables = to_tables(config)
    left_out = ("data", "workers", "device", "cache", "cache_folder", "start_from", "hand_over")
    for key in left_out:
        tables.pop(key, None)
    tables["backbone"].pop("weights", None)
    splits = {name: records.split(name).fingerprint() for name in records.split_names()}
    text = json.dumps([tables, records.fingerprint(), splits], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_enough(records: Records) -> None:
    counts = records.split_counts()
    if (images := counts.get("train", 0)) < 2:
        raise DataError(
            f"The train split has too few images: {images}. Training needs at least two.",
            where=records.source,
            fix="Put more images into the split 'train'.",
        )
    if not {"val", "test"} & counts.keys():
        raise DataError(
            "There is no image to measure on: the data set has no val split and no test split.",
            where=records.source,
            fix="Add images, or put some into the split 'test'.",
        )


def _fabric(config: RunConfig) -> Fabric:
    device = choose_device(processes().device(config.device))
    devices = 1 if device.index is None else [device.index]
    try:
        return Fabric(accelerator=device.type, devices=devices, precision=config.precision)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The device '{device}' cannot train with precision '{config.precision}': "
            f"{str(error).splitlines()[0].rstrip('.')}.",
            where="device, precision",
            fix="Give another precision, or device = 'cpu'.",
        ) from None


def _build_classifier(
    config: RunConfig,
    records: Records,
    fabric: Fabric,
    weights: Mapping[str, torch.Tensor] | None,
    checkpoint: Mapping[str, Any] | None,
    reporter: Reporter,
) -> Classifier:
    """The classifier with its initial weights, on its device.

    A checkpoint's weights are loaded here, since feature maps may be computed with the backbone
    before the rest of the checkpoint is restored.
    """
    seed_all(config.seed)
    model = starting_model(config) if checkpoint is None else without_weights(config.model)
    classifier = build_classifier(model, records.labels, config.input)
    if checkpoint is None:  # a checkpoint's weights already contain what `prepare` reads
        classifier.head.prepare(records.split("train").targets)
        if config.start_from is not None:
            reporter.say(start_from(classifier, config.start_from))
    else:
        weights = checkpoint["parts"]["classifier"]
    if weights is not None:
        _start_from(classifier, weights)
    fabric.to_device(classifier)
    return classifier.to(memory_format=torch.channels_last)


def _start_from(classifier: Classifier, weights: Mapping[str, torch.Tensor]) -> None:
    own = classifier.state_dict()
    shared = {key: value for key, value in weights.items() if key in own}
    assert shared, "no tensor of the given weights is of this classifier"
    classifier.load_state_dict(shared, strict=False)


def _job(
    config: RunConfig,
    folder: Path,
    identity: str,
    fabric: Fabric,
    views: Mapping[Split, View],
    reporter: Reporter,
) -> Job:
    return Job(
        run=config,
        folder=folder,
        identity=identity,
        fabric=fabric,
        loss=LOSSES[config.loss.name][1](config.loss, LabelCounts.of(views["train"].targets)),
        train=views["train"],
        val=views.get("val"),
        held_out=views["test"] if "test" in views else views["val"],
        workers=0 if config.features == "cached" else reading_workers(config),
        reporter=reporter,
    )


def _keep_step(job: Job, state: RunState, number: int) -> None:
    """Save the bundle of a step that has just ended, and add its receipt to the results."""
    result = state.results[number]

    def save() -> dict[str, Any]:
        info = _bundle_info(job, state.classifier, result)
        bundle = save_bundle(step_folder(job, number), state.classifier, info)
        receipt = receipt_of_step(bundle, job.held_out.records, result["profile"])
        if job.overlap is not None:
            receipt = receipt.model_copy(update=job.overlap.receipt())
        return receipt.model_dump(mode="json", exclude_none=True)

    result["receipt"] = from_leader(save)


def _outcome(job: Job, state: RunState) -> Outcome:
    """Save the bundle that is handed over, and return the outcome of the run."""
    steps = tuple(step_folder(job, number) for number in range(len(job.run.steps)))
    chosen = choose_step(state.results, job.run.hand_over)
    notes = describe_choice(state.results, chosen, steps)
    for note in notes:
        job.reporter.say(note)
    return Outcome(
        folder=job.folder,
        bundle=from_leader(lambda: _hand_over(job, steps[chosen])),
        steps=steps,
        results=state.results,
        history=state.history,
        held_out=job.held_out.records,
        val=job.val.records if job.val else None,
        chosen=chosen,
        notes=tuple(notes),
    )


def _hand_over(job: Job, step: Path) -> Path:
    """Copy the bundle of a step to the run's bundle. If that is being tuned, wait for it."""
    found, bundle = read_bundle(step), job.folder / BUNDLE
    with held(
        lock_beside(bundle),
        on_wait=lambda: job.reporter.say(f"Waiting for another process that writes {bundle}."),
    ):
        return write_bundle(bundle, found.weights, found.info)


def _bundle_info(job: Job, classifier: Classifier, result: Mapping[str, Any]) -> BundleInfo:
    config, records = job.run, job.train.records
    return BundleInfo(
        model=architecture(config.model, classifier),
        labels=records.labels.names,
        input=config.input,
        thresholds=(0.5,) * len(records.labels),
        scores_from=result["scores"],
        seen=job.seen,
        provenance={
            "step": result["number"],
            "seed": config.seed,
            "recipe": to_tables(config),
            "trained_on": records.fingerprint(),
            "versions": package_versions(),
        },
    )
