"""Labels a folder of photographs from some examples."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from manylabel.atomic.placing import placed
from manylabel.data.records import Records
from manylabel.data.splits.split import check_trainable
from manylabel.errors import ConfigError, ImageError, StoppedError
from manylabel.feed.verify import find_bad_images, without
from manylabel.files import staging_folder, write_errors, write_text
from manylabel.labelling.doubt import Doubts
from manylabel.labelling.examples import Examples, key_of, require_enough, with_measured
from manylabel.labelling.kept import (
    CHECK,
    EXAMPLES,
    LABELS,
    PAGE,
    RUN,
    SUMMARY,
    hashes,
    keep_changed,
    require_replaceable,
)
from manylabel.labelling.page import Content, make_card, render
from manylabel.labelling.tables import GIVEN, PREDICTED, TO_CHECK, Table, write_examples
from manylabel.predict import Prediction, Predictor
from manylabel.train.auto.run import Best, require_start, train_best
from manylabel.train.auto.ways import LINEAR, WAYS, Choices, Way
from manylabel.train.logs import Reporter
from manylabel.train.run_folder import claimed

TO_SHOW: Final = 40
"""The page shows so many photographs, unless the user says otherwise."""
_READERS: Final = 4


@final
@dataclass(frozen=True)
class Task:
    """What is labelled, and how.

    Args:
        photos: The folder of photographs.
        images: The photographs in it.
        examples: Photographs with labels.
        out: The folder of the results. It must not be inside of `photos`.
        minutes: The minutes that training may take; None: the default of `train_best`.
        choices: What the user chose for training.
        ways: The ways to train to choose from.
        to_show: The number of photographs on the page.
    """

    photos: Path
    images: Sequence[Path]
    examples: Examples
    out: Path
    minutes: float | None = None
    choices: Choices = Choices()  # noqa: RUF009 (it is frozen)
    ways: Sequence[Way] = WAYS
    to_show: int = TO_SHOW


@final
@dataclass(frozen=True)
class Labelled:
    """What `label_folder` gives. All files are in `out`.

    Args:
        out: The folder of the results.
        examples: The number of examples that were trained on or measured on.
        labels: The labels of the model.
        predicted: The number of photographs that the model labelled.
        empty: How many of them have no label.
        shown: How many of them are on the page.
        bad: The photographs and examples that cannot be read.
        figures: The model's figures on examples that it was not trained on, in words.
        way: The model, in words.
        seconds: What training and labelling took.
        copies: Tables that a person had changed, by the names of their copies.
    """

    out: Path
    examples: int
    labels: tuple[str, ...]
    predicted: int
    empty: int
    shown: int
    bad: tuple[ImageError, ...]
    figures: str
    way: str
    seconds: float
    copies: tuple[str, ...] = ()


def label_folder(task: Task, reporter: Reporter) -> Labelled:
    """Train on the examples, tune, label the other photographs, and write tables and a page.

    What an earlier call wrote into the folder is replaced when everything new is complete. If the
    work ends before, it stays as it was.

    Args:
        task: What is labelled, and how.
        reporter: Reports the progress.

    Raises:
        ConfigError: The results would replace files that are not of this command, or changes that
            a person made; or the backbone's weights cannot be loaded.
        DataError: There are too few examples.
        MissingExtraError: The package with the backbone's weights is not installed.
        RunError: The work began and could not continue.

    Example:
        `label_folder(Task(photos, images, read_examples(tables, photos), out), reporter).empty`
    """
    _require_apart(task)
    require_replaceable(task.out, task.examples.tables)
    records, notes = require_enough(task.examples)
    require_start(task.choices.recipe(LINEAR))  # before images are opened
    for note in (*task.examples.notes, *notes):
        reporter.say(f"{note}.")
    began = time.monotonic()
    with (
        claimed(task.out),
        write_errors(task.out, "The results"),
        staging_folder(task.out) as staging,
    ):
        work = _Work(task, reporter, staging)
        best, bad = work.train(records)
        found = work.label(best, bad, began)
        copies = keep_changed(task.out, staging)
        with placed(staging, task.out):
            pass
    return replace(found, copies=tuple(copies))


def next_command(task: Task, corrections: str = "checked.csv") -> str:
    """The command that takes a person's corrections."""
    examples = (str(task.out / EXAMPLES), corrections)
    given = [part for table in examples for part in ("--examples", table)]
    return shlex.join(["manylabel", "label", str(task.photos), *given, "--out", str(task.out)])


@dataclass
class _Work:
    """What the parts of `label_folder` share. Everything is written into `staging`."""

    task: Task
    reporter: Reporter
    staging: Path

    def train(self, records: Records) -> tuple[Best, list[ImageError]]:
        """The best model of the examples that can be read, and the errors of the others."""
        self.reporter.begin("reading the examples", len(records))
        bad = find_bad_images(
            records, workers=_READERS, on_progress=lambda done: self.reporter.advance(1)
        )
        self.reporter.end()
        good = with_measured(without(records, bad), self.task.choices.seed)
        check_trainable(good)
        data = {"path": str(self.task.out / EXAMPLES), "images": str(self.task.photos)}
        try:
            best = train_best(
                good,
                self.staging / RUN,
                self.reporter,
                self.task.choices,
                data=data,
                minutes=self.task.minutes,
                ways=self.task.ways,
            )
        except StoppedError:  # its message is about resuming, but the run goes with the staging
            raise StoppedError(
                "Stopped while the model was trained. Earlier results are unchanged.",
                where=str(self.task.out),
                fix="Give the command again. With --minutes 1 it takes less time.",
            ) from None
        return best, bad

    def label(self, best: Best, bad: list[ImageError], began: float) -> Labelled:
        """Label the other photographs, and write everything."""
        predictor = Predictor.load(best.outcome.bundle, device=self.task.choices.device)
        others, empty, doubts, unreadable = self._write_labels(predictor)
        shown = [others[position] for position in doubts.first(self.task.to_show)]
        found = Labelled(
            out=self.task.out,
            examples=best.plan.survey.total,
            labels=predictor.labels.names,
            predicted=len(others),
            empty=empty,
            shown=len(shown),
            bad=(*bad, *unreadable),
            figures=_figures(best),
            way=best.way.title,
            seconds=time.monotonic() - began,
        )
        self._write_check(predictor, shown, found)
        with (self.staging / EXAMPLES).open("w", encoding="utf-8", newline="") as stream:
            write_examples(stream, self.task.examples.records)
        self._write_summary(found)
        return found

    def _write_labels(
        self, predictor: Predictor
    ) -> tuple[list[tuple[str, Path]], int, Doubts, list[ImageError]]:
        """Write labels.csv row by row. The photographs that were labelled, and what was met."""
        doubts, empty = Doubts(predictor.decision.thresholds), 0
        others, bad = list[tuple[str, Path]](), list[ImageError]()
        given = self._given()
        with (self.staging / LABELS).open("w", encoding="utf-8", newline="") as stream:
            table = Table(stream, predictor.labels)
            for key, labels in given.items():
                table.row(key, labels, GIVEN)
            for (key, path), result in self._predictions(predictor, given):
                if isinstance(result, ImageError):
                    bad.append(result)
                    continue
                table.row(key, result.names, PREDICTED, result.scores)
                doubts.add(result.scores)
                others.append((key, path))
                empty += not result.decided.any()
        return others, empty, doubts, bad

    def _given(self) -> dict[str, list[str]]:
        """The labels that a person gave, by image."""
        records = self.task.examples.records
        return {
            key: records.labels.decode(targets)
            for key, targets in zip(records.keys, records.targets, strict=True)
        }

    def _predictions(
        self, predictor: Predictor, given: dict[str, list[str]]
    ) -> Iterator[tuple[tuple[str, Path], Prediction | ImageError]]:
        """Each photograph that is no example, and its prediction."""
        rest = {key_of(image, self.task.photos): image for image in self.task.images}
        named = [(key, image) for key, image in rest.items() if key not in given]
        self.reporter.begin("labelling", len(named))
        for each, result in zip(named, predictor.predict_many(iter(named)), strict=True):
            yield each, result
            self.reporter.advance(1)
        self.reporter.end()

    def _write_check(
        self, predictor: Predictor, shown: Sequence[tuple[str, Path]], found: Labelled
    ) -> None:
        """Write check.csv and check.html."""
        thresholds, cards = predictor.decision.thresholds, []
        with (self.staging / CHECK).open("w", encoding="utf-8", newline="") as stream:
            table = Table(stream)
            for each, result in zip(shown, predictor.predict_many(iter(shown)), strict=True):
                if isinstance(result, Prediction):  # the file may have gone since
                    table.row(each[0], result.names, TO_CHECK)
                    cards.append(make_card(result, each[1], thresholds, self.task.out))
        content = Content(
            title=self.task.photos.absolute().name,
            labels=predictor.labels.names,
            cards=cards,
            facts=_facts(found),
            command=next_command(self.task),
        )
        write_text(self.staging / PAGE, render(content))

    def _write_summary(self, found: Labelled) -> None:
        values = {
            "examples": found.examples,
            "labels": list(found.labels),
            "predicted": found.predicted,
            "without_a_label": found.empty,
            "cannot_be_read": [error.where for error in found.bad],
            "figures": found.figures,
            "seconds": round(found.seconds, 1),
            "tables": hashes(self.staging),
        }
        write_text(self.staging / SUMMARY, json.dumps(values, indent=2) + "\n")


def _require_apart(task: Task) -> None:
    photos, out = task.photos.resolve(), task.out.resolve()
    if out.is_relative_to(photos):
        raise ConfigError(
            "The results would lie among the photographs, and their pictures would be labelled.",
            where=f"--out {task.out}",
            fix=f"Give a folder outside of {task.photos}.",
        )


def _figures(best: Best) -> str:
    val = best.outcome.val
    images = 0 if val is None else len(val)
    text = f"mAP {100 * best.test_mAP[best.way.name]:.1f}"
    if best.tuned is not None:
        tuned = best.tuned.tuning.figures["tuned"]
        text += f", CF1 {100 * tuned.CF1:.1f}, OF1 {100 * tuned.OF1:.1f} (thresholds out of fold)"
    return f"{text} on {images:,} examples that it was not trained on"


def _facts(found: Labelled) -> list[tuple[str, str]]:
    return [
        ("examples", f"{found.examples:,}"),
        ("photographs labelled", f"{found.predicted:,}"),
        ("without a label", f"{found.empty:,}"),
        ("to check here", f"{found.shown:,}"),
    ]
