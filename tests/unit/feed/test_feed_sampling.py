import hashlib
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.config import Config, parse
from manylabel.errors import ConfigError
from manylabel.feed.sampling import (
    InverseFrequencyConfig,
    RepeatFactorConfig,
    SamplerConfig,
    UniformConfig,
    draw_weights,
    epoch_length,
    epoch_order,
    mix,
    repeat_factors,
    repeats,
)

quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)
matrices = (
    st.integers(1, 30)
    .flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([1, 0, 0, -1]), min_size=3, max_size=3), min_size=n, max_size=n
        )
    )
    .map(lambda rows: np.array(rows, dtype=np.int8))
)

# 100 images: a common label, one on 4 images, one on a single image that also has the common one,
# and ten images without any.
TARGETS = np.zeros((100, 3), dtype=np.int8)
TARGETS[:90, 0] = 1
TARGETS[86:90, 1] = 1
TARGETS[0, 2] = 1
TARGETS[90:, 2] = -1

REPEAT = RepeatFactorConfig(threshold=0.1)
INVERSE = InverseFrequencyConfig()


def slow_factors(targets, threshold):
    """LVIS's r_i = max over the image's labels of max(1, sqrt(t / f_c)), one at a time."""
    result = []
    for row in targets:
        factor = 1.0
        for c, target in enumerate(row):
            if target == 1:
                share = sum(other[c] == 1 for other in targets) / len(targets)
                factor = max(factor, math.sqrt(threshold / share))
        result.append(factor)
    return result


def slow_weights(targets, power):
    """The weight of an image's rarest label; the lowest of all for an image without one."""
    weights = []
    for row in targets:
        of_labels = []
        for c in range(len(row)):
            if row[c] == 1:
                count = sum(other[c] == 1 for other in targets)
                of_labels.append((count / len(targets)) ** -power)
        weights.append(max(of_labels, default=0))
    lowest = min((w for w in weights if w), default=1)
    weights = [w or lowest for w in weights]
    return [w / sum(weights) for w in weights]


@quick
@given(targets=matrices, threshold=st.floats(0.001, 1), power=st.floats(0.1, 2))
def test_factors_and_weights_against_slow_ones(targets, threshold, power):
    assert repeat_factors(targets, threshold) == pytest.approx(slow_factors(targets, threshold))
    assert draw_weights(targets, power) == pytest.approx(slow_weights(targets, power))


def test_factors_by_hand():
    factors = repeat_factors(TARGETS, 0.1)
    assert factors[0] == pytest.approx(math.sqrt(0.1 / 0.01))
    assert factors[86] == pytest.approx(math.sqrt(0.1 / 0.04))
    assert set(factors[1:86]) == set(factors[90:]) == {1.0}


@pytest.mark.parametrize("config", [UniformConfig(), REPEAT, INVERSE], ids=lambda c: c.name)
def test_an_order_is_a_value_of_seed_and_epoch(config):
    first = epoch_order(config, TARGETS, seed=1, epoch=2)
    assert first.dtype == np.int64
    assert (first == epoch_order(config, TARGETS, seed=1, epoch=2)).all()
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}):
        assert first.tolist() != epoch_order(config, TARGETS, **other).tolist()


@pytest.mark.parametrize("config", [UniformConfig(), REPEAT, INVERSE], ids=lambda c: c.name)
def test_every_epoch_is_equally_long(config):
    lengths = {len(epoch_order(config, TARGETS, seed=0, epoch=epoch)) for epoch in range(50)}
    assert lengths == {epoch_length(config, TARGETS)}


def test_uniform_is_a_permutation_by_torch_from_a_hash():
    """Runs that were trained without a sampler keep their order."""
    number = int.from_bytes(hashlib.blake2b(b"3,4", digest_size=8).digest(), "big") >> 1
    expected = torch.randperm(100, generator=torch.Generator().manual_seed(number))
    assert epoch_order(UniformConfig(), TARGETS, seed=3, epoch=4).tolist() == expected.tolist()
    assert mix(3, 4) == number


@quick
@given(targets=matrices, threshold=st.floats(0.001, 1), epoch=st.integers(0, 9))
def test_counts_are_the_factors_rounded_down_or_up(targets, threshold, epoch):
    config = RepeatFactorConfig(threshold=threshold)
    order = epoch_order(config, targets, seed=0, epoch=epoch)
    factors = np.array(slow_factors(targets, threshold))
    counts = np.bincount(order, minlength=len(targets))
    assert len(order) == epoch_length(config, targets)
    assert abs(len(order) - factors.sum()) <= 0.5 + 1e-9
    assert (counts >= np.floor(factors + 1e-9)).all()
    # A fraction that is stretched to more than 1, so that the sum is whole, can give one more.
    assert (counts <= np.ceil(factors) + 1).all()


def test_images_are_shown_as_often_as_their_factors_say():
    epochs = 2000
    shown = Counter()
    for epoch in range(epochs):
        shown.update(epoch_order(REPEAT, TARGETS, seed=0, epoch=epoch).tolist())
    factors = repeat_factors(TARGETS, 0.1)
    extra = factors - np.floor(factors)
    # Five fractions are rounded to a whole sum; beyond that the counts are binomial.
    expected = np.floor(factors) + extra * round(extra.sum()) / extra.sum()
    mean = np.array([shown[i] / epochs for i in range(100)])
    assert np.abs(mean - expected).max() < 4 * 0.5 / math.sqrt(epochs)
    assert round(extra.sum()) == 2
    assert mean[1:86] == pytest.approx(1)


def test_images_are_drawn_as_often_as_their_weights_say():
    epochs = 2000
    shown = np.zeros(100)
    for epoch in range(epochs):
        shown += np.bincount(epoch_order(INVERSE, TARGETS, seed=0, epoch=epoch), minlength=100)
    weights = np.array(slow_weights(TARGETS, 0.5))
    assert weights[95] == weights[5]
    deviation = np.sqrt(weights * epochs * 100)
    assert (np.abs(shown - weights * epochs * 100) < 4.5 * deviation).all()


def test_an_image_that_comes_again_is_counted():
    order = np.array([4, 0, 4, 4, 1, 0])
    assert repeats(order).tolist() == [0, 0, 1, 2, 0, 1]
    assert repeats(np.zeros(0, dtype=np.int64)).tolist() == []


class Recipe(Config):
    """A recipe with this table alone."""

    sampler: SamplerConfig = UniformConfig()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("x", "name", "x"),
        ("repeat-factor", "threshold", 0),
        ("repeat-factor", "threshold", 2),
        ("inverse-frequency", "power", 0),
        ("inverse-frequency", "threshold", 0.1),
        ("uniform", "power", 1),
    ],
)
def test_settings_are_checked(name, key, value):
    with pytest.raises(ConfigError, match=rf"'sampler\.{key}'"):
        parse(Recipe, {"sampler": {"name": name, key: value}}, where="recipe.toml")


def test_a_table_without_a_name_is_uniform():
    assert parse(Recipe, {"sampler": {}}, where="recipe.toml").sampler == UniformConfig()
