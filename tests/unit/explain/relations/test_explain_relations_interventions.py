"""Changing maps recovers what was planted into the weights, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from planted import APPLE, BRANCH, CELLAR, DOG, GAIN, GRID, HEIGHT, PlantedProbe, planted_sample

from manylabel.explain.relations.interventions import (
    DIRECTIONS,
    LEAST,
    move,
    put_in,
    put_out,
    shifted,
    strongest,
)
from manylabel.explain.relations.stream import Sample

PLANTED = {(BRANCH, APPLE): 1, (CELLAR, DOG): -1}
"""The pairs (other, label) and the sign of what the other adds."""


@pytest.fixture(scope="module")
def sample() -> Sample:
    return planted_sample()


@pytest.fixture(scope="module")
def probe() -> PlantedProbe:
    return PlantedProbe()


def significant(p) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in np.argwhere(p < 0.05)}


def test_putting_out_finds_exactly_the_planted_pairs(probe, sample):
    found = put_out(probe, sample)
    assert significant(found.p) == set(PLANTED)
    others = ~np.isin(np.arange(16).reshape(4, 4), [4 * i + j for i, j in PLANTED])
    assert np.abs(found.mean[others]).max() < 1e-6
    for (other, label), sign in PLANTED.items():
        assert np.sign(found.mean[other, label]) == -sign


def test_the_size_of_an_effect_is_the_mean_over_the_images_with_the_label(probe, sample):
    """Written out: the branch's height, weighted by its map, times the weight of its unit."""
    found = put_out(probe, sample)
    lost = [
        -GAIN * float((HEIGHT[:, None] * maps[BRANCH]).sum())
        for maps, present in zip(sample.maps, sample.present, strict=True)
        if present[BRANCH]
    ]
    assert found.images[BRANCH] == len(lost)
    assert found.mean[BRANCH, APPLE] == pytest.approx(np.mean(lost), rel=1e-5)
    error = np.std(lost, ddof=1) / np.sqrt(len(lost))
    assert found.low[BRANCH, APPLE] == pytest.approx(np.mean(lost) - 1.96 * error, rel=1e-4)
    assert found.high[BRANCH, APPLE] == pytest.approx(np.mean(lost) + 1.96 * error, rel=1e-4)


def test_putting_in_finds_exactly_the_planted_pairs(probe, sample):
    found = put_in(probe, sample)
    assert significant(found.p) == set(PLANTED)
    for (other, label), sign in PLANTED.items():
        assert np.sign(found.mean[other, label]) == sign
    assert found.images.tolist() == (~sample.present).sum(0).tolist()


def test_moving_finds_the_planted_direction_and_no_other(probe, sample):
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    found = {(each.other, each.label): each for each in move(probe, sample, pairs)}
    assert {pair: each.words() for pair, each in found.items() if each.words()} == {
        (BRANCH, APPLE): "above, not below"
    }
    planted = found[BRANCH, APPLE]
    assert np.nan_to_num(planted.p[1:], nan=1).min() > 0.05
    # A quarter of the map up or down is two rows, and HEIGHT falls by 1 / 7 in a row. The sum of a
    # map is 0.5 to 1, 0.75 in the mean.
    assert planted.contrasts[0] == pytest.approx(GAIN * 4 / 7 * 0.75, rel=0.05)
    assert planted.contrasts[1] == pytest.approx(0, abs=1e-3)
    assert planted.contrasts[2] == pytest.approx(0, abs=1e-3)


def test_moving_upside_down_finds_below(sample):
    below = PlantedProbe()
    below.branch.conv4.weight.data[BRANCH] = below.branch.conv4.weight.data[BRANCH].flip(1)
    (found,) = move(below, sample, [(BRANCH, APPLE)])
    assert found.words() == "below, not above"


def test_a_move_that_leaves_the_map_is_left_out(probe, sample):
    """The label is in a corner: only below, right and the same place are there."""
    maps = sample.maps.copy()
    maps[:, APPLE] = 0
    maps[:, APPLE, 0, 0] = 1
    corner = Sample(sample.rows, maps, sample.units, sample.present, sample.absent)
    (found,) = move(probe, corner, [(BRANCH, APPLE)])
    assert np.isnan(found.gains).tolist() == [True, False, True, False, False]
    assert np.isnan(found.contrasts).all()
    assert np.isnan(found.p).all()
    assert found.words() == ""
    assert dict(zip(DIRECTIONS, found.changes, strict=True))["below"] < 3


def test_a_model_without_finite_logits_has_no_gains_and_no_warning(sample):
    """Warnings are errors in the tests."""

    class Diverged(PlantedProbe):
        def compute(self, maps):
            logits, units = super().compute(maps)
            return np.full_like(logits, np.nan), units

    placed = move(Diverged(), sample, [(BRANCH, APPLE)])[0]
    assert np.isnan(placed.gains).all()
    assert np.isnan(placed.p).all()
    assert placed.words() == ""


def test_gains_and_changes_are_what_a_loop_does(probe, sample):
    part = (each[:100] for each in (sample.rows, sample.maps, sample.units, sample.present))
    few = Sample(*part, sample.absent[:100])
    table = []
    for maps, present in zip(few.maps, few.present, strict=True):
        if not (present[BRANCH] and present[APPLE]):
            continue
        peaks = [np.argwhere(maps[label] == maps[label].max())[0] for label in (APPLE, BRANCH)]
        before = probe.compute(maps[None])[0][0, APPLE]
        row = [before]
        for step in ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)):
            goal = peaks[0] + np.array(step) * round(maps.shape[1] / 4)
            moved = maps.copy()
            moved[BRANCH] = shifted(maps[BRANCH], *(goal - peaks[1]).tolist())
            inside = ((goal >= 0) & (goal < maps.shape[1:])).all()
            row.append(probe.compute(moved[None])[0][0, APPLE] if inside else np.nan)
        table.append(row)
    logits = np.array(table)
    placed = move(probe, few, [(BRANCH, APPLE)])[0]
    assert placed.images == len(logits) > 15
    moved, means = logits[:, 1:], np.nanmean(logits[:, 1:], axis=1, keepdims=True)
    assert placed.gains == pytest.approx(np.nanmean(moved - means, axis=0), abs=1e-5)
    assert placed.changes == pytest.approx(np.nanmean(moved - logits[:, :1], axis=0), abs=1e-5)


def test_the_strongest_pairs_are_those_with_images(sample):
    strength = np.arange(16.0).reshape(4, 4)
    assert strongest(strength, sample)[0] == (3, 2)  # (3, 3) is no pair
    assert len(strongest(strength, sample)) == 12
    rare = sample.present.copy()
    rare[:, DOG] = False
    fewer = Sample(sample.rows, sample.maps, sample.units, rare, sample.absent)
    assert all(DOG not in pair for pair in strongest(strength, fewer))
    assert strongest(np.full((4, 4), np.nan), sample) == []


def test_a_label_that_is_never_present_is_not_measured(probe, sample):
    present, absent = sample.present.copy(), sample.absent.copy()
    present[:, BRANCH], absent[:, BRANCH] = False, True
    none = Sample(sample.rows, sample.maps, sample.units, present, absent)
    for found in (put_out(probe, none), put_in(probe, none)):
        assert found.images[BRANCH] == 0
        assert np.isnan(found.mean[BRANCH]).all()
        assert np.isnan(found.p[BRANCH]).all()
        assert significant(found.p) == {(CELLAR, DOG)}


def test_too_few_images_are_not_measured(probe):
    few = planted_sample(images=LEAST - 1)
    assert np.isnan(put_out(probe, few).mean).all()
    assert np.isnan(put_out(probe, few).p).all()


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (-3, 1), (1, -7)])
def test_shifting_is_what_a_loop_does(down, right):
    one = np.random.default_rng(0).random(GRID, dtype=np.float32)
    expected = np.zeros_like(one)
    for y in range(GRID[0]):
        for x in range(GRID[1]):
            if 0 <= y + down < GRID[0] and 0 <= x + right < GRID[1]:
                expected[y + down, x + right] = one[y, x]
    expected *= one.sum() / expected.sum()
    np.testing.assert_allclose(shifted(one, down, right), expected, rtol=1e-5)


def test_a_map_that_leaves_is_gone():
    one = np.zeros(GRID, dtype=np.float32)
    one[0, 0] = 1
    assert shifted(one, -1, 0).sum() == 0


def test_the_same_seed_gives_the_same_numbers(probe, sample):
    first, again, other = (put_in(probe, sample, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_array_equal(first.p, again.p)
    assert (first.mean[BRANCH, APPLE] != other.mean[BRANCH, APPLE]).all()
