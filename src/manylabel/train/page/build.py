"""Makes a run's page and attention pictures from the outcome of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from manylabel.config import to_tables
from manylabel.data.records import Record, Records
from manylabel.evaluate.receipt import package_versions
from manylabel.explain.explaining import explain_image
from manylabel.explain.pictures.panels import Look
from manylabel.explain.pictures.raster import to_pixels
from manylabel.explain.pictures.sheets import draw_contact_sheet, draw_sheet
from manylabel.explain.pictures.shown import (
    About,
    ImageShown,
    Truth,
    about,
    choose_labels,
    image_shown,
    open_shown,
)
from manylabel.files import write_bytes, write_errors
from manylabel.labels import PRESENT
from manylabel.predict import Predictor
from manylabel.train.config import RunConfig
from manylabel.train.outcome import Outcome
from manylabel.train.page.charts import Chart, Line
from manylabel.train.page.content import (
    Grid,
    Headline,
    Picture,
    Result,
    RunPage,
    write_run_page,
)
from manylabel.train.run_folder import PAGE
from manylabel.train.tuned import TunedRun

PICTURES: Final = "attention"
SHOWN_IMAGES: Final = 6

_SCALE: Final = 1
"""The pixels for each unit of the pictures, so that the page stays small."""

_DEFINITIONS: Final = {
    "mAP": "the mean of the labels' average precision",
    "CF1, OF1": "F1 per label (CF1), and F1 over all decisions pooled (OF1)",
    "U": "a label's attention times its confidence: U = sigmoid(S) * A",
}


@final
@dataclass(frozen=True)
class PageAdditions:
    """What a run's page shows in addition to the run itself.

    Args:
        results: The figures of other models on the same images. They come before the run's own.
        name: What the run's own model is called beside them; if empty, its head and backbone.
        in_words: What the results show, in sentences.
        grids: Further tables of figures.
        pointing: The pointing games, by name.
    """

    results: Sequence[Result] = ()
    name: str = ""
    in_words: str = ""
    grids: Sequence[Grid] = ()
    pointing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def build_run_page(
    outcome: Outcome,
    config: RunConfig,
    additions: PageAdditions | None = None,
    tuned: TunedRun | None = None,
) -> Path:
    """Write `run.html` and the attention pictures of a run, and return the path of the page.

    Args:
        outcome: The run.
        config: Its recipe.
        additions: What the page shows in addition.
        tuned: How the thresholds of the bundle were tuned; None: they were not.

    Raises:
        RunError: They cannot be written.
    """
    additions = additions or PageAdditions()
    last = outcome.handed_over
    pictures = draw_pictures(outcome)
    named = f"{config.head.name} over {config.backbone.name}"
    page = RunPage(
        title=f"{named}: {outcome.folder.name}",
        summary=f"{named}, trained in {_steps(config)} and measured on the {last['split']} split "
        f"of {outcome.held_out.source}.",
        in_words=" ".join(filter(None, _in_words(outcome, additions, tuned))),
        headlines=_headlines(last, tuned),
        facts={
            "data": outcome.held_out.summary(),
            "fingerprint of the measured split": outcome.held_out.fingerprint()[:16],
            "seed": str(config.seed),
        },
        steps=[_step_result(config, result) for result in outcome.results],
        results=[*additions.results, _own_result(additions.name or named, last, tuned)],
        grids=additions.grids,
        pointing=additions.pointing,
        charts=_charts(config, outcome),
        pictures=pictures,
        recipe=_recipe(config),
        definitions=_DEFINITIONS,
        versions=package_versions(),
    )
    return write_run_page(outcome.folder / PAGE, page)


def draw_pictures(outcome: Outcome) -> list[Picture]:
    """Draw attention over some held-out images, and write the pictures to the run's folder.

    Raises:
        RunError: A picture cannot be written.
    """
    predictor = Predictor.load(outcome.bundle)
    shown = [_shown(predictor, record) for record in _worth_showing(outcome.held_out)]
    folder = outcome.folder / PICTURES
    look, pictures = Look(scale=_SCALE), []
    fix = "Make room on the disk. The bundle is saved: `manylabel explain` draws the pictures."
    with write_errors(folder, "The attention pictures", fix=fix):
        for number, (image, maps) in enumerate(shown, start=1):
            png = to_pixels(draw_sheet(image, maps, look), "png", _SCALE)
            write_bytes(folder / f"{number}-{Path(image.name).stem}.png", png)
            pictures.append(Picture(png, f"{image.name}. {image.summary}"))
        if shown:
            rows = [image for image, _ in shown]
            gallery = draw_contact_sheet("Held-out images", rows, shown[0][1], look)
            write_bytes(folder / "gallery.png", to_pixels(gallery, "png", _SCALE))
    return pictures


def _worth_showing(records: Records) -> Records:
    """The first images with at least two labels. The model's scores have no influence."""
    several = np.flatnonzero((records.targets == PRESENT).sum(axis=1) >= 2)
    chosen = several if len(several) else np.arange(len(records))
    return records.select(chosen[:SHOWN_IMAGES])


def _shown(predictor: Predictor, record: Record) -> tuple[ImageShown, About]:
    found = explain_image(predictor, record.image)
    chosen = choose_labels(found.scores, found.decided, record.targets == PRESENT, most=4)
    opened = open_shown(record.image, record.key, memory=predictor.memory)
    truth = Truth(record.targets, record.boxes)
    return image_shown(predictor, opened, found, chosen, truth), about(predictor, found)


def _in_words(outcome: Outcome, additions: PageAdditions, tuned: TunedRun | None) -> Iterator[str]:
    yield additions.in_words
    yield from outcome.notes
    if tuned is not None:
        yield tuned.in_words()


def _headlines(figures: Mapping[str, Any], tuned: TunedRun | None) -> list[Headline]:
    """mAP, CF1 and OF1: at the tuned thresholds if they were measured on the same images."""
    images = f"{figures['split']}, {figures['num_images']} images"
    found, at = figures, "at 0.5"
    if tuned is not None and tuned.held_out is not None:
        found, at = tuned.held_out.as_dict(), "at the tuned thresholds"
    return [
        Headline("mAP", _percent(figures["mAP"]), images),
        Headline("CF1", _percent(found["CF1"]), f"mean over labels, {at}"),
        Headline("OF1", _percent(found["OF1"]), f"all decisions pooled, {at}"),
    ]


def _own_result(name: str, figures: Mapping[str, Any], tuned: TunedRun | None) -> Result:
    if tuned is None or tuned.held_out is None:
        return Result(name, figures)
    return Result(name, tuned.held_out.as_dict(), "at the tuned thresholds")


def _steps(config: RunConfig) -> str:
    return "one step" if len(config.steps) == 1 else f"{len(config.steps)} steps"


def _step_result(config: RunConfig, result: Mapping[str, Any]) -> Result:
    plan = config.plan_of(result["kind"])
    return Result(f"{plan.number} {plan.title}", result, f"scored by '{plan.scores}', at 0.5")


def _charts(config: RunConfig, outcome: Outcome) -> list[Chart]:
    history = list(enumerate(outcome.history, start=1))
    firsts: dict[int, tuple[float, str]] = {}
    for epoch, entry in history:
        number = config.plan_of(entry["kind"]).number
        firsts.setdefault(entry["step"], (float(epoch), str(number)))
    marks = list(firsts.values())
    losses = [(float(epoch), float(entry["loss"])) for epoch, entry in history]
    validated = [
        (float(epoch), float(entry["val_mAP"]))
        for epoch, entry in history
        if entry.get("val_mAP") is not None
    ]
    x_label = "epoch (at the top: the step that begins)"
    charts = [Chart("Training loss", x_label, "loss", [Line("loss", losses)], marks)]
    if validated:
        line = [Line("val", validated)]
        charts.append(Chart("mAP on the validation split", x_label, "mAP", line, marks))
    return charts


def _recipe(config: RunConfig) -> str:
    import tomli_w

    return tomli_w.dumps(to_tables(config))


def _percent(value: float | None) -> str:
    return "not defined" if value is None else f"{100 * value:.1f}"
