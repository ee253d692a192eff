"""`manylabel explain`: draws the evidence that a bundle found for the labels of one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from manylabel.cli.explain_scores import ScoreOptions, score, score_options
from manylabel.cli.shared import DataOptions, data_options, say
from manylabel.files import write_bytes, write_errors

if TYPE_CHECKING:
    from manylabel.explain.attention import Explanation
    from manylabel.predict import Predictor


@click.command("explain", short_help="Draw the evidence for the labels of one image.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder for the picture. It is created if it does not exist. With --score: a JSON "
    "file for all figures, which is not required.",
)
@click.option(
    "--label", "names", multiple=True, metavar="NAME", help="Show this label. Can be repeated."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    help="Show the K labels with the highest scores.",
)
@click.option(
    "--score",
    "scored",
    is_flag=True,
    help="Draw nothing; measure with the boxes or masks of --data how well the maps show where "
    "the labels are.",
)
@data_options(required=False)
@score_options
def explain(
    bundle: Path,
    image: Path | None,
    folder: Path | None,
    names: tuple[str, ...],
    top: int | None,
    scored: bool,
    data: DataOptions,
    scoring: ScoreOptions,
) -> None:
    """Draw the evidence that BUNDLE found for the labels of IMAGE.

    Writes DIR/NAME-attention.png: the photo, and for each label the photo with the map of the
    evidence, as in the SRN paper's Fig. 3. Prints each label's score and the highest point of its
    map, in pixels of the upright image. Without --label or --top, the predicted labels are shown,
    and at least the three best.

    With --score, there is no IMAGE. The maps of all images of --data are measured with its boxes or
    masks: pointing game, energy inside, IoU, insertion and deletion, in total and label by label,
    with intervals, beside a map at the centre and chance.

    \b
    Example:
      manylabel explain runs/demo/bundle photo.jpg --out explained --top 5
      manylabel explain runs/demo/bundle --score --data coco/instances_val2014.json
      manylabel explain bundle --score --data fashion.csv --mask-classes classes.txt --out it.json
    """
    if scored:
        if image is not None or names or top:
            raise click.UsageError("--score takes no IMAGE, --label or --top.")
        score(bundle, data, scoring, folder)
        return
    if image is None or folder is None:
        raise click.UsageError("Give IMAGE and --out, or --score with --data.")
    if names and top:
        raise click.UsageError("Give --label or --top, not both.")
    _draw(bundle, image, folder, names, top)


def _draw(bundle: Path, image: Path, folder: Path, names: tuple[str, ...], top: int | None) -> None:
    """Write the picture of one image, and print its table."""
    from manylabel.explain.attention import explain_image
    from manylabel.explain.overlay import draw_overlay, to_png
    from manylabel.images import open_image
    from manylabel.predict import Predictor

    predictor = Predictor.load(bundle)
    photo = open_image(image)
    found = explain_image(predictor, photo)
    shown = _shown(predictor, found, names, top)
    titles = [f"{predictor.labels[i]} {found.scores[i]:.2f}" for i in shown]
    target = folder / f"{image.stem}-attention.png"
    _write(target, to_png(draw_overlay(photo, found.maps[shown], titles)))
    say(f"Maps: {found.kind.title}.")
    for line in _table(predictor, found, shown, photo.size):
        say(line)
    say(f"Picture: {target}")


def _shown(
    predictor: Predictor, found: Explanation, names: tuple[str, ...], top: int | None
) -> list[int]:
    """The columns of the labels to show."""
    from manylabel.explain.overlay import choose_labels

    if names:
        return [predictor.labels.index(name) for name in dict.fromkeys(names)]
    if top:
        return (-found.scores).argsort(kind="stable")[:top].tolist()
    return choose_labels(found.scores, found.decided)


def _table(
    predictor: Predictor, found: Explanation, shown: list[int], size: tuple[int, int]
) -> list[str]:
    """One line for each label: name, score, whether it is predicted, highest point of its map."""
    from manylabel.explain.localisation import peaks

    width = max(5, *(len(predictor.labels[i]) for i in shown))
    lines = [f"{'label':{width}}  score  predicted  highest at x, y"]
    for i, (x, y) in zip(shown, peaks(found.maps[shown]), strict=True):
        predicted = "yes" if found.decided[i] else "no"
        lines.append(
            f"{predictor.labels[i]:{width}}  {found.scores[i]:.3f}  {predicted:9}  "
            f"{x * size[0]:.0f}, {y * size[1]:.0f}"
        )
    return lines


def _write(target: Path, data: bytes) -> None:
    with write_errors(target, "The picture"):
        write_bytes(target, data)
