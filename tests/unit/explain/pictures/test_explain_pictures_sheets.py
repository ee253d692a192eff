"""Sheets: what they hold, where it is, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from manylabel.data.records import Box
from manylabel.evidence import CLASS_ACTIVATION, WEIGHTED_ATTENTION
from manylabel.explain.pictures.drawing import Drawing, Group, Raster, Rect, Shape, Text
from manylabel.explain.pictures.fonts import width_of
from manylabel.explain.pictures.panels import Look
from manylabel.explain.pictures.raster import rendered
from manylabel.explain.pictures.sheets import draw_contact_sheet, draw_label, draw_sheet
from manylabel.explain.pictures.shown import About, ImageShown, LabelShown
from manylabel.explain.pictures.themes import BOX, THEMES

ABOUT = About(method="attention", kind=WEIGHTED_ATTENTION, grid=(2, 3))
FAST = Look(scale=0.5)
MAP = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
SIGNS = {
    (True, True): "found",
    (False, False): "missed",
    (True, False): "wrongly predicted",
    (False, True): "rightly not predicted",
    (True, None): "predicted",
    (False, None): "not predicted",
}
"""What is said of a label that is (predicted, right)."""


def label(name: str, score: float = 0.75, right: bool | None = True, **more) -> LabelShown:
    predicted = more.pop("predicted", True)
    said = SIGNS[predicted, right]
    return LabelShown(
        name=name, score=score, threshold=0.5, predicted=predicted, right=right, said=said, **more
    )


def image(
    *labels: LabelShown, size: tuple[int, int] = (60, 40), maps: np.ndarray = MAP, **more
) -> ImageShown:
    return ImageShown(
        name="photos/a.png",
        image=Image.new("RGB", size, (100, 100, 100)),
        size=size,
        labels=labels,
        strengths=np.stack([maps] * len(labels)),
        predicted=sum(each.predicted for each in labels),
        **more,
    )


def parts(drawing: Drawing) -> Iterator[Text | Rect | Shape | Raster]:
    for part in drawing.parts:
        if isinstance(part, Group):
            yield from part.parts
        else:
            yield part


def texts(drawing: Drawing) -> list[str]:
    return [part.text for part in parts(drawing) if isinstance(part, Text)]


def pictures(drawing: Drawing) -> list[Raster]:
    """The images of the panels, without the bar of colours, which is the last one."""
    return [part for part in parts(drawing) if isinstance(part, Raster)][:-1]


def in_order(words: Sequence[str], drawing: Drawing) -> bool:
    said = texts(drawing)
    places = [said.index(word) for word in words]
    return places == sorted(places)


def test_a_sheet_has_the_image_and_then_its_labels():
    drawing = draw_sheet(image(label("cat", 0.9), label("dog", 0.6, False)), ABOUT, FAST)
    assert in_order(["photos/a.png", "image", "cat", "0.90", "dog", "0.60"], drawing)
    own, cat, _ = pictures(drawing)
    assert own.y == cat.y
    assert own.x + own.width < cat.x
    assert np.asarray(own.image).tolist() == np.full_like(np.asarray(own.image), 100).tolist()
    strongest = np.asarray(cat.image)[-5, 5]  # the lower left corner of the map
    assert strongest[0] > 180 > 120 > strongest[2]  # yellow
    assert abs(int(np.asarray(cat.image)[5, -5, 0]) - 94) <= 1


def test_the_words_and_numbers_below_a_panel():
    said = texts(draw_sheet(image(label("cat", 0.876)), ABOUT, FAST))
    for words in ("cat", "0.88", "found", "threshold 0.50", "60 x 40 pixels"):
        assert words in said


def test_every_verdict_has_its_own_words_and_its_own_sign():
    """Colours do not count: the outlines of the shapes are compared, and which are full."""
    seen = {}
    for (predicted, right), words in SIGNS.items():
        drawing = draw_sheet(image(label("cat", right=right, predicted=predicted)), ABOUT, FAST)
        assert words in texts(drawing)
        shapes = [part for part in parts(drawing) if isinstance(part, Shape)]
        seen[words] = tuple((len(each.points), each.fill is None) for each in shapes)
    assert len(set(seen.values())) == len(SIGNS)


def test_a_score_bar_is_as_long_as_the_score():
    drawing = draw_sheet(image(label("cat", 0.25)), ABOUT, FAST)
    low = [part for part in parts(drawing) if isinstance(part, Rect) and part.height == 4]
    track, bar = low
    assert bar.width == pytest.approx(0.25 * track.width)
    tick = next(part for part in parts(drawing) if isinstance(part, Rect) and part.width == 2)
    assert tick.x + 1 == pytest.approx(track.x + track.width / 2, abs=1)


def test_boxes_are_drawn_where_they_are():
    box = Box("cat", 0.25, 0.5, 0.75, 1.0)
    shown = image(label("cat", boxes=(box,)), label("dog"), boxes=(box,))
    drawing = draw_sheet(shown, ABOUT, FAST)
    own, cat, dog = pictures(drawing)
    lines = [part for part in parts(drawing) if isinstance(part, Rect) and part.stroke == BOX]
    assert len(lines) == 3  # over the image, over its own label, and in the key
    for picture, line in zip((own, cat), lines, strict=False):
        assert line.x == pytest.approx(picture.x + 0.25 * picture.width, abs=1.5)
        assert line.y == pytest.approx(picture.y + 0.5 * picture.height, abs=1.5)
        assert line.width == pytest.approx(0.5 * picture.width, abs=1.5)
        assert line.height == pytest.approx(0.5 * picture.height, abs=1.5)
    assert not any(dog.x <= line.x <= dog.x + dog.width and line.y < dog.y + 99 for line in lines)
    pixels = np.asarray(rendered(drawing, 2)).astype(int)
    left = round(2 * (cat.x + 0.25 * cat.width))
    column = pixels[round(2 * (cat.y + 0.75 * cat.height)), left - 4 : left + 5]
    assert (np.abs(column - (0x7E, 0xF0, 0xFF)).max(axis=1) <= 2).any()
    assert "cat" in texts(drawing)[4:]  # the tag of the box


def test_the_meaning_of_the_colours_is_in_the_picture():
    drawing = draw_sheet(image(label("cat")), ABOUT, FAST)
    said = " ".join(texts(drawing))
    assert "no evidence maximum" in said
    assert "SRN's weighted attention U (method attention), 2 x 3 cells." in said
    assert "own scale" in said
    assert "half of the maximum" in said
    grid = " ".join(texts(draw_sheet(image(label("cat")), ABOUT, Look(scale=0.5, style="grid"))))
    assert "half of the maximum" not in grid
    limited = About(method="cam", kind=CLASS_ACTIVATION, grid=(7, 7), limited=True, notes=("Hey.",))
    said = " ".join(texts(draw_sheet(image(label("cat")), limited, FAST)))
    assert "limits the number of labels" in said
    assert said.endswith("Hey.")


def test_a_map_without_evidence_says_so():
    drawing = draw_sheet(image(label("cat"), maps=np.zeros((2, 3))), ABOUT, FAST)
    assert texts(drawing).count("no evidence") == 2  # over the image, and at the bar


def test_an_image_without_a_predicted_label_says_so():
    shown = image(label("cat", 0.1, None, predicted=False))
    assert "No label is predicted; the best are shown." in texts(draw_sheet(shown, ABOUT, FAST))
    sheet = draw_contact_sheet("two", [shown, shown, image(label("dog"))], ABOUT, FAST)
    assert texts(sheet).count("no label is predicted") == 2


@pytest.mark.parametrize("theme", THEMES)
def test_the_theme_is_the_background(theme):
    drawing = draw_sheet(image(label("cat")), ABOUT, Look(theme=theme, scale=0.5))
    corner = rendered(drawing, 0.5).getpixel((1, 1))
    assert corner == tuple(int(THEMES[theme].paper[i : i + 2], 16) for i in (1, 3, 5))
    inks = {part.colour for part in parts(drawing) if isinstance(part, Text)}
    assert inks <= {THEMES[theme].ink, THEMES[theme].soft, THEMES[theme].found}


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 100), (3000, 20), (20, 3000)])
@pytest.mark.parametrize("number", [1, 4, 12])
def test_nothing_overlaps_or_leaves_the_sheet(size, number):
    names = ["cat", "a label with a name that is too long for its panel by far", "x" * 300, "عربة"]
    labels = [label(names[i % 4], right=(True, False, None)[i % 3]) for i in range(number)]
    drawing = draw_sheet(image(*labels, size=size), ABOUT, Look(scale=0.1))
    found = pictures(drawing)
    assert len(found) == number + 1
    for one in found:
        assert one.x >= 0
        assert one.x + one.width <= drawing.width
        assert one.y + one.height + 56 <= drawing.height
        assert min(one.width, one.height) >= 20
    for one, other in combinations(found, 2):
        assert (
            one.x + one.width < other.x
            or other.x + other.width < one.x
            or one.y + one.height + 56 < other.y  # the caption is between them
            or other.y + other.height + 56 < one.y
        )
    for part in parts(drawing):
        if isinstance(part, Text):
            width = width_of(part.text, part.size, bold=part.bold)
            left = part.x - width if part.at_end else part.x
            assert left >= 0, part.text
            assert left + width <= drawing.width, part.text
            assert part.y <= drawing.height


def test_the_texts_of_one_line_do_not_touch():
    for right in (True, False, None):
        for predicted in (True, False):
            one = label("a long name of a label, " * 3, right=right, predicted=predicted)
            lines: dict[float, list[Text]] = {}
            for part in parts(draw_contact_sheet("t", [image(one)], ABOUT, FAST)):
                if isinstance(part, Text):
                    lines.setdefault(part.y, []).append(part)
            for line in lines.values():
                ends = [part for part in line if part.at_end]
                for end in ends:
                    before = [p for p in line if not p.at_end and p.x < end.x]
                    nearest = max(before, key=lambda p: p.x)
                    reach = nearest.x + width_of(nearest.text, nearest.size, bold=nearest.bold)
                    assert reach < end.x - width_of(end.text, end.size, bold=end.bold)


def test_a_contact_sheet_has_a_row_an_image():
    rows = [image(label("cat"), label("dog")), image(label("owl"), size=(40, 80))]
    drawing = draw_contact_sheet("my images", rows, ABOUT, FAST)
    found = pictures(drawing)
    assert texts(drawing)[0] == "my images"
    assert len(found) == 5
    assert found[0].y == found[1].y == found[2].y < found[3].y
    assert found[0].y + found[0].height + 56 < found[3].y
    assert found[3].height == 2 * found[3].width


def test_a_picture_of_one_label_is_larger():
    shown = image(label("cat"), label("dog"))
    (one,) = pictures(draw_label(shown, 1, ABOUT, FAST))
    assert one.width > 1.5 * pictures(draw_sheet(shown, ABOUT, FAST))[0].width
    assert "dog" in texts(draw_label(shown, 1, ABOUT, FAST))
    assert "cat" not in texts(draw_label(shown, 1, ABOUT, FAST))


def test_who_hears_a_picture_gets_every_fact():
    drawing = draw_sheet(image(label("cat", 0.9), label("dog", 0.6, False)), ABOUT, FAST)
    assert drawing.title == "Evidence in photos/a.png"
    assert "cat: score 0.90, threshold 0.50, found" in drawing.says
    assert "dog: score 0.60, threshold 0.50, wrongly predicted" in drawing.says
    groups = [part.says for part in drawing.parts if isinstance(part, Group)]
    assert "cat: score 0.90, threshold 0.50, found" in groups
