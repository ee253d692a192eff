"""The observer against probabilities that are counted, not computed."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.data.synthetic import LABELS, Relations, Scene, sample_scene
from manylabel.data.synthetic.observer import GROUPS, observe
from manylabel.data.synthetic.rules import prior

PRIORS = np.array([prior(name) for name in LABELS])


def scenes(relations: Relations, count: int, seed: int = 5) -> list[Scene]:
    return [sample_scene(seed, "train", index, relations) for index in range(count)]


def truth(drawn: list[Scene]) -> np.ndarray:
    return np.array([[name in scene.labels for name in LABELS] for scene in drawn])


def test_every_label_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(LABELS)


def test_without_relations_the_observer_adds_nothing_but_rivals() -> None:
    """Independent labels: the posterior is the local evidence, for labels of their own shape."""
    relations = Relations(0.0)
    drawn = scenes(relations, 50)
    local = np.random.default_rng(0).uniform(0.01, 0.45, (50, len(LABELS)))
    seen = observe(local, drawn, relations)
    alone = [i for i, n in enumerate(LABELS) if n not in GROUPS["told apart by layout"]]
    np.testing.assert_allclose(seen.semantic[:, alone], local[:, alone], rtol=1e-6)
    np.testing.assert_allclose(seen.spatial[:, alone], local[:, alone], rtol=1e-6)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_semantic_posteriors_are_the_frequencies(strength: float) -> None:
    """Evidence that says nothing: what is left is P(label | other labels), counted in scenes."""
    relations = Relations(strength)
    drawn = scenes(relations, 4000)
    seen = observe(np.tile(PRIORS, (len(drawn), 1)), drawn, relations).semantic
    present = truth(drawn)
    for name in LABELS:
        column = LABELS.index(name)
        for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 1.01)):
            rows = (seen[:, column] >= low) & (seen[:, column] < high)
            if rows.sum() < 60:
                continue
            said, counted = seen[rows, column].mean(), present[rows, column].mean()
            slack = 4 * np.sqrt(max(said * (1 - said), 0.003) / rows.sum())
            assert abs(said - counted) < slack, (name, low, said, counted)


@pytest.mark.parametrize("relations", [Relations(1.0, "near"), Relations(1.0, "far")])
def test_layout_decides_completely_at_full_strength(relations: Relations) -> None:
    """Whoever sees the shape, the reference and the layout ranks all scenes rightly."""
    drawn = scenes(relations, 400)
    present = truth(drawn)
    seen = observe(shape_evidence(drawn), drawn, relations)
    for name in GROUPS["told apart by layout"]:
        column = LABELS.index(name)
        scores = seen.spatial[:, column]
        assert scores[present[:, column]].min() > scores[~present[:, column]].max()
        half = seen.semantic[present[:, column], column]
        assert half.max() < 0.6  # without the layout it is one of two


def test_layout_says_only_as_much_as_its_strength() -> None:
    """At half strength, calibrated: of the birds said with p, p are birds."""
    relations = Relations(0.5)
    drawn = scenes(relations, 4000)
    present = truth(drawn)
    seen = observe(shape_evidence(drawn), drawn, relations).spatial
    for name in ("bird", "pond"):
        column = LABELS.index(name)
        for low, high in ((0.0, 0.1), (0.3, 0.6), (0.8, 1.01)):
            rows = (seen[:, column] >= low) & (seen[:, column] < high)
            assert rows.sum() > 60, (name, low)
            said, counted = seen[rows, column].mean(), present[rows, column].mean()
            slack = 4 * np.sqrt(max(said * (1 - said), 0.004) / rows.sum())
            assert abs(said - counted) < slack, (name, low, said, counted)


def shape_evidence(drawn: list[Scene]) -> np.ndarray:
    """Calibrated evidence of a model that sees shapes perfectly, and nothing else."""
    local = np.empty((len(drawn), len(LABELS)))
    for row, scene in enumerate(drawn):
        for column, name in enumerate(LABELS):
            local[row, column] = float(name in scene.labels)
        for shape, names in (("spindle", ("bird", "fish")), ("puff", ("cloud", "pond"))):
            there = any(item.shape == shape for item in scene.items)
            reference = "boat" if shape == "spindle" else "bridge"
            stray = 0.15 * (1 - prior(reference))
            share = prior(names[0]) / (2 * prior(names[0]) + stray)
            for name in names:
                local[row, LABELS.index(name)] = share if there else 0.0
    return local
