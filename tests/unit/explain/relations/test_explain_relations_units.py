"""What units follow, on units that are computed from maps by a known rule."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.explain.relations.stream import Sample
from manylabel.explain.relations.units import Follows, cells, follow

GRID = (8, 8)
CAT, DOG, OWL = range(3)
RULES = {
    "where the cat is": ("place", CAT),
    "how strong the dog is": ("presence", DOG),
    "where cat and owl are": ("layout", CAT),
    "how strong cat and dog are": ("several", CAT),
    "noise": ("none", None),
    "nothing": ("silent", None),
}


def sample(images: int = 600, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    present = random.random((images, 3)) < 0.6
    maps = np.zeros((images, 3, *GRID), dtype=np.float32)
    rows, columns = (random.integers(0, side, present.shape) for side in GRID)
    for i, c in zip(*np.nonzero(present), strict=True):
        maps[i, c, rows[i, c], columns[i, c]] = random.uniform(0.5, 1)
    height = np.linspace(1, -1, GRID[0])[:, None]
    side = np.linspace(-1, 1, GRID[1])[None]
    cat, owl = (maps[:, CAT] * height).sum((1, 2)), (maps[:, OWL] * side).sum((1, 2))
    units = [
        np.maximum(cat, 0),
        maps[:, DOG].sum((1, 2)),
        np.maximum(cat + 0.8 * owl, 0),
        maps[:, [CAT, DOG]].sum((1, 2, 3)),
        random.random(images),
        np.full(images, 0.25),
    ]
    stacked = np.stack(units, axis=1).astype(np.float32)
    return Sample(np.arange(images), maps, stacked, present, ~present)


@pytest.fixture(scope="module")
def found() -> Follows:
    return follow(sample())


def test_each_unit_follows_what_it_was_made_from(found):
    assert dict(zip(RULES, found.kind, strict=True)) == {k: kind for k, (kind, _) in RULES.items()}
    assert found.first[:2].tolist() == [CAT, DOG]
    assert {int(found.first[2]), int(found.second[2])} == {CAT, OWL}
    assert found.p_first[:3].tolist() == [0.01] * 3
    assert found.p_second[2] == 0.01
    assert {int(found.first[3]), int(found.second[3])} == {CAT, DOG}
    assert found.p_second[0] > 0.05
    assert found.p_first[4] > 0.05
    assert found.ranked("layout") == [2]
    assert found.ranked("place") == [0]


def test_the_shares_are_those_of_least_squares(found):
    """Written out: the cat's map in cells of 2x2, with a constant, for the first unit."""
    given = sample()
    y = given.units[:, 0].astype(float)

    def explained(*features):
        x = np.column_stack([np.ones(len(y)), *features])
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return 1 - rest.var() / y.var()

    cat = given.maps[:, CAT].reshape(-1, 4, 2, 4, 2).sum((2, 4)).reshape(-1, 16)
    owl = given.maps[:, OWL].reshape(-1, 4, 2, 4, 2).sum((2, 4)).reshape(-1, 16)
    assert found.explained[0] == pytest.approx(explained(cat), abs=1e-4)
    assert found.place[0] == pytest.approx(explained(cat) - explained(cat.sum(1)), abs=1e-4)
    y = given.units[:, 2].astype(float)
    assert found.explained[2] + found.added[2] == pytest.approx(explained(cat, owl), abs=1e-4)
    first, second = (cat, owl) if found.first[2] == CAT else (owl, cat)
    strong = explained(first, second.sum(1)) - explained(first)
    assert found.added_place[2] == pytest.approx(found.added[2] - strong, abs=1e-4)


def test_units_of_shuffled_images_follow_nothing():
    given = sample()
    units = given.units[np.random.default_rng(1).permutation(len(given.units))]
    shuffled = follow(Sample(given.rows, given.maps, units, given.present, given.absent))
    assert set(shuffled.kind) == {"none", "silent"}


def test_cells_are_sums_whatever_the_size():
    maps = np.random.default_rng(0).random((2, 7, 5), dtype=np.float32)
    found = cells(maps, 3)
    rows, columns = [0, 2, 4, 7], [0, 1, 3, 5]
    for i in range(3):
        for j in range(3):
            part = maps[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            np.testing.assert_allclose(found[:, i, j], part.sum((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(cells(maps[:, :2, :2], 3), maps[:, :2, :2])


def test_the_same_seed_gives_the_same_numbers():
    first, again = follow(sample(), seed=5), follow(sample(), seed=5)
    np.testing.assert_array_equal(first.p_first, again.p_first)
    assert first.kind == again.kind
