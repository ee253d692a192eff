"""The walk over pairs, against a slow one with Pillow, and chance against random points."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from toy_engine import LABELS, LEFT, RIGHT, SIDE, noise, record, toy_predictor, toy_records

from manylabel.data.records import Box, Records
from manylabel.explain.scores.measures import SHARES
from manylabel.explain.scores.pairs import measure_maps, measure_pairs, split_iou
from manylabel.explain.scores.regions import BoxRegions

AWAY = Box("left", 0.75, 0.5, 1, 1)


def boxes_of(one):
    return BoxRegions(one.boxes)


def test_pairs_are_labels_that_are_present_and_have_a_region(tmp_path):
    items = [
        record(tmp_path, "a.png", noise(0), (LEFT, RIGHT), (1, 0)),
        record(tmp_path, "b.png", noise(1), (RIGHT,), (1, 1)),
        record(tmp_path, "c.png", noise(2), (LEFT, RIGHT), (-1, 1)),
        record(tmp_path, "d.png", noise(3), (), (1, 1)),
    ]
    records = Records.of(LABELS, items, "toy")
    table, bad = measure_pairs(toy_predictor(3), records, ["aim"], boxes_of)
    assert list(zip(table.images, table.labels, strict=True)) == [(0, 0), (1, 1), (2, 1)]
    assert not bad


def test_maps_are_asked_for_of_present_labels_only(tmp_path):
    """Maps of gradients cost a backward pass for each label."""
    items = [record(tmp_path, f"{i}.png", noise(i), (RIGHT,), (0, 1)) for i in range(3)]
    predictor = toy_predictor()
    measure_pairs(predictor, Records.of(LABELS, items, "toy"), ["aim"], boxes_of)
    assert predictor.engine.asked == {(1,)}  # pyright: ignore[reportAttributeAccessIssue]


def test_occlusion_finds_the_half_that_the_score_depends_on(tmp_path):
    items = [record(tmp_path, f"{i}.png", noise(i), (LEFT, RIGHT)) for i in range(3)]
    table, _ = measure_pairs(
        toy_predictor(), Records.of(LABELS, items, "toy"), ["occlusion", "away"], boxes_of
    )
    assert table.methods[:2] == ("occlusion", "away")
    assert (table.values["energy_inside"][:, 0] > 0.85).all()
    assert (table.values["energy_inside"][:, 1] < 0.1).all()


def test_a_perfect_map_and_its_opposite(tmp_path):
    records = toy_records(tmp_path, 5)
    table, _ = measure_pairs(toy_predictor(), records, ["aim", "away"], boxes_of)
    table, shares = split_iou(table)
    assert table.methods == ("aim", "away", "centre", "chance")
    # The centre lies on the edge of both boxes. Half of a symmetrical map lies in each half.
    assert table.values["pointing"].tolist() == [[1, 0, 1, 0.5]] * 8
    # Enlarged by four, 28 columns are high; the four at their edge have 7, 5, 3 and 1 eighths.
    energy = table.values["energy_inside"]
    assert energy[:, :2] == pytest.approx(np.tile([27.5 / 28, 0.5 / 28], (8, 1)))
    assert energy[:, 2:] == pytest.approx(0.5)
    assert (table.values["iou_half"][:, 0] == 1).all()
    assert (table.values["iou_half"][:, 1] == 0).all()
    assert table.values["iou_half"][:, 3] == pytest.approx(0.5)
    assert shares["aim"] == 0.4  # the lowest of those at which the IoU is 1


def test_a_walk_in_batches_equals_a_slow_walk(tmp_path):
    items = [record(tmp_path, f"{i}.png", noise(i), (AWAY, RIGHT)) for i in range(7)]
    table, _ = measure_pairs(toy_predictor(3), Records.of(LABELS, items, "toy"), ["cam"], boxes_of)
    assert table.images.tolist() == [i for i in range(7) for _ in range(2)]
    for image, label, energy, ious, hit in zip(
        table.images,
        table.labels,
        table.values["energy_inside"][:, 0],
        table.values["iou"][:, 0],
        table.values["pointing"][:, 0],
        strict=True,
    ):
        pixels = noise(int(image)).mean(axis=-1)
        cam = np.array([[pixels[8 * r : 8 * r + 8, 8 * c : 8 * c + 8].mean() for c in range(4)]
                        for r in range(4)])  # fmt: skip
        cam = np.maximum(cam - cam.mean(), 0).astype(np.float32)
        fine = np.asarray(Image.fromarray(cam).resize((56, 56), Image.Resampling.BILINEAR))
        box = (AWAY, RIGHT)[int(label)]
        inside = np.zeros((56, 56))
        inside[round(box.top * 56) : round(box.bottom * 56), round(box.left * 56) :] = 1
        assert energy == pytest.approx((fine * inside).sum() / fine.sum(), abs=1e-5)
        for share, iou in zip(SHARES, ious, strict=True):
            high = fine >= share * fine.max()
            assert iou == pytest.approx((high & (inside > 0)).sum() / (high | (inside > 0)).sum())
        row, column = np.unravel_index(cam.argmax(), cam.shape)
        x, y = (column + 0.5) / 4, (row + 0.5) / 4
        assert hit == (box.left <= x <= box.right and box.top <= y <= box.bottom)


def test_images_that_cannot_be_used_are_left_out(tmp_path):
    records = toy_records(tmp_path, 6)
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "4.png").unlink()
    table, bad = measure_pairs(toy_predictor(2), records, ["aim"], boxes_of)
    assert sorted(set(table.images.tolist())) == [1, 2, 3, 5]
    assert [error.where.split("/")[-1] for error in bad] == ["0.png", "4.png"]


def test_no_more_than_a_batch_of_images_is_run_at_once(tmp_path):
    predictor = toy_predictor(4)
    seen = []

    class Shown:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def done(self, count):
            seen.append(count)

    measure_pairs(
        predictor, toy_records(tmp_path, 10), ["aim"], boxes_of, stage=lambda doing, total: Shown()
    )
    assert predictor.engine.largest == 4  # pyright: ignore[reportAttributeAccessIssue]
    assert seen == list(range(1, 11))


def test_chance_is_what_random_points_and_even_maps_reach():
    boxes = (Box("left", 0.1, 0.2, 0.5, 0.9), Box("left", 0.3, 0.1, 0.8, 0.4))
    values = measure_maps({}, BoxRegions(boxes), "left")
    x, y = np.random.default_rng(0).random((2, 200_000))
    hits = np.zeros(len(x), dtype=bool)
    for box in boxes:
        hits |= (box.left <= x) & (x <= box.right) & (box.top <= y) & (y <= box.bottom)
    assert values["pointing"][-1] == pytest.approx(hits.mean(), abs=0.005)
    even = measure_maps({"even": np.ones((SIDE, SIDE))}, BoxRegions(boxes), "left")
    assert even["energy_inside"][0] == pytest.approx(even["energy_inside"][-1])
    assert even["iou"][0] == pytest.approx(even["iou"][-1])


def test_the_best_threshold_is_one_for_all_pairs_of_a_method(tmp_path):
    items = [record(tmp_path, f"{i}.png", noise(i), (AWAY, RIGHT)) for i in range(4)]
    raw, _ = measure_pairs(toy_predictor(), Records.of(LABELS, items, "toy"), ["cam"], boxes_of)
    table, shares = split_iou(raw)
    means = [np.mean([row[0][i] for row in raw.values["iou"]]) for i in range(len(SHARES))]
    assert shares["cam"] == SHARES[int(np.argmax(means))]
    assert table.values["iou_best"][:, 0].mean() == pytest.approx(max(means))
    assert table.values["iou_best"][:, 0].mean() >= table.values["iou_half"][:, 0].mean()
