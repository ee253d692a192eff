"""Each treatment of unknown targets against the equation of its paper, written out in NumPy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from cases import case

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.losses import LOSSES, BCEConfig, ExpectedPositivesConfig
from manylabel.losses.partial import EntryLoss, PartialLoss, entropy
from manylabel.train.config import resolve

REDUCTIONS = ("sum_over_labels", "mean_over_labels")
OPTIONS = {
    "ignore": {},
    "negative": {},
    "weak-negative": {},
    "weak-negative, weighted": {"weight": 0.25},
    "smoothed-negative": {},
    "smoothed-negative, less": {"smoothing": 0.03},
    "expected-positives": {"positives": 1.75},
    "expected-positives, weighted": {"positives": 0.5, "weight": 3.0},
    "entropy": {},
    "entropy, weighted": {"weight": 0.4},
}
"""Name of an option (up to the comma) and its settings."""

over_options = pytest.mark.parametrize("option", OPTIONS)
over_reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


def settings(option: str) -> dict[str, object]:
    return {"name": option.partition(",")[0], **OPTIONS[option]}


def bce(option: str, reduction: str = "mean_over_labels"):
    config, loss = LOSSES["bce"]
    return loss(config.model_validate({"reduction": reduction, "unknown": settings(option)}))


def draw(images: int = 7, labels: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in 64 bits and int8 targets, about a third of them unknown."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (images, labels)))
    return logits, torch.from_numpy(rng.integers(-1, 2, (images, labels)).astype(np.int8))


def by_the_papers(logits: torch.Tensor, targets: torch.Tensor, option: str) -> float:
    """The mean over images and labels that Cole et al. and Zhou et al. write down."""
    f, z = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
    config = settings(option)
    n, labels = f.shape
    total = 0.0
    for i in range(n):
        for j in range(labels):
            yes, no = -math.log(f[i, j]), -math.log(1 - f[i, j])
            known = {1: yes, 0: no}
            match config["name"]:
                case "negative":
                    total += {**known, -1: no}[z[i, j]]
                case "weak-negative":
                    total += {**known, -1: config.get("weight", 1 / (labels - 1)) * no}[z[i, j]]
                case "smoothed-negative":
                    eps = config.get("smoothing", 0.1)
                    total += (1 - eps) * yes + eps * no if z[i, j] == 1 else 0
                    total += (1 - eps) * no + eps * yes if z[i, j] != 1 else 0
                case "entropy":
                    h = f[i, j] * yes + (1 - f[i, j]) * no
                    total += {**known, -1: -config.get("weight", 0.1) * h}[z[i, j]]
                case _:
                    total += {**known, -1: 0.0}[z[i, j]]
    mean = total / (n * labels)
    if config["name"] == "expected-positives":
        expected = sum(f[i, j] for i in range(n) for j in range(labels)) / n
        mean += config.get("weight", 1) * ((expected - config["positives"]) / labels) ** 2
    return mean


@over_options
def test_equation(option):
    for seed in range(3):
        with case(seed=seed):
            logits, targets = draw(seed=seed)
            wanted = by_the_papers(logits, targets, option)
            assert float(bce(option)(logits, targets)) == pytest.approx(wanted, rel=1e-9)
            assert float(bce(option)(logits.float(), targets)) == pytest.approx(wanted, rel=1e-4)


@over_options
def test_the_sum_is_the_mean_times_the_number_of_labels(option):
    """Penalties too: so an option's balance does not depend on the reduction."""
    logits, targets = draw(labels=80)
    summed, averaged = (bce(option, reduction)(logits, targets) for reduction in REDUCTIONS)
    torch.testing.assert_close(summed, 80 * averaged)


@over_options
@over_reductions
def test_gradient(option, reduction):
    logits, targets = draw(images=3, labels=4)
    loss = bce(option, reduction)
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.requires_grad_())


@over_options
def test_without_unknown_targets_all_but_two_options_are_the_same(option):
    logits, targets = draw()
    targets = targets.clamp(min=0)
    same = torch.equal(bce(option)(logits, targets), bce("ignore")(logits, targets))
    assert same is not option.startswith(("smoothed", "expected"))


@over_options
def test_far_logits_stay_finite(option):
    """80 labels at 1e4 each lie beyond what 16 bits hold."""
    dtypes = torch.float16, torch.bfloat16, torch.float32
    for reduction, dtype, logit, target in product(REDUCTIONS, dtypes, [1e4, -1e4, 0], [1, 0, -1]):
        with case(reduction=reduction, dtype=dtype, logit=logit, target=target):
            logits = torch.full((2, 80), logit, dtype=dtype, requires_grad=True)
            found = bce(option, reduction)(logits, torch.full((2, 80), target, dtype=torch.int8))
            found.backward()
            assert found.dtype == torch.float32
            assert torch.isfinite(found)
            assert logits.grad is not None
            assert torch.isfinite(logits.grad).all()


@over_options
def test_autocast_does_not_lower_its_precision(option):
    logits, targets = draw()
    plain = bce(option)(logits.float(), targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bce(option)(logits.float(), targets), plain)


@over_reductions
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_ignored_logits_change_not_one_bit(reduction, dtype):
    """Neither of the loss nor of any gradient, however wild they are."""
    logits, targets = draw(images=32, labels=20)
    unknown = targets == -1
    results = []
    for values in (0.0, 1e4, -1e4, 100 * torch.randn(32, 20, dtype=torch.float64)):
        changed = torch.where(unknown, values, logits).to(dtype).requires_grad_()
        found = bce("ignore", reduction)(changed, targets)
        (gradient,) = torch.autograd.grad(found, changed)
        results.append((found.detach(), gradient))
    for found, gradient in results:
        assert torch.equal(found, results[0][0])
        assert torch.equal(gradient, results[0][1])
        assert not gradient[unknown].any()


@pytest.mark.parametrize(
    ("option", "pushes"),
    [
        ("ignore", 0),
        ("negative", -1),
        ("weak-negative", -1),
        ("smoothed-negative", -1),
        ("entropy", 0),
    ],
)
def test_where_an_unsure_unknown_is_pushed(option, pushes):
    """At logit 0: down where unknown means absent, nowhere where it means unknown."""
    logits = torch.zeros(1, 3, requires_grad=True)
    targets = torch.tensor([[1, 0, -1]], dtype=torch.int8)
    (gradient,) = torch.autograd.grad(bce(option)(logits, targets), logits)
    assert -np.sign(float(gradient[0, 2])) == pushes


def test_entropy_pulls_a_sure_unknown_back():
    logits = torch.tensor([[3.0, -3.0]], requires_grad=True)
    unknown = torch.full((1, 2), -1, dtype=torch.int8)
    (gradient,) = torch.autograd.grad(bce("entropy")(logits, unknown), logits)
    assert gradient[0, 0] > 0 > gradient[0, 1]


def test_entropy_by_hand():
    """log 2 where nothing is known; 0.75 and 0.25 give 0.5623 nats; sure is 0."""
    logits = torch.tensor([0.0, math.log(3), -math.log(3), 1e4, -1e4])
    wanted = [math.log(2), 0.562335, 0.562335, 0, 0]
    assert entropy(logits).tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("positives", "direction"), [(0.5, 1), (2.5, -1)])
def test_expected_positives_moves_scores_towards_the_number(positives, direction):
    """Three labels at a score of a half are 1.5 positives: too many, or too few."""
    logits = torch.zeros(2, 3, requires_grad=True)
    unknown = torch.full((2, 3), -1, dtype=torch.int8)
    config = ExpectedPositivesConfig(positives=positives)
    loss = PartialLoss(squared_error, config, "sum_over_labels")(logits, unknown)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == pytest.approx(1 / 3)
    assert torch.equal(torch.sign(gradient), torch.full((2, 3), float(direction)))


def squared_error(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (torch.sigmoid(logits) - targets).square()


ENTRIES: dict[str, EntryLoss] = {
    "squared error": squared_error,
    "focal": lambda z, t: (t - torch.sigmoid(z)).abs() ** 2 * (torch.nn.functional.softplus(z)),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_it_goes_with_any_loss_of_entries(entry):
    """Known targets cost what that loss says; an unknown one what the option makes of it."""
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.7]])
    targets = torch.tensor([[1, 0, -1, -1]], dtype=torch.int8)
    yes, no = entry(logits, torch.ones(1, 4))[0], entry(logits, torch.zeros(1, 4))[0]
    known, as_absent = yes[0] + no[1], no[2] + no[3]
    wanted = {
        "ignore": known,
        "negative": known + as_absent,
        "weak-negative": known + as_absent / 3,
        "smoothed-negative": 0.9 * (known + as_absent) + 0.1 * (no[0] + yes[1] + yes[2] + yes[3]),
    }
    for name, value in wanted.items():
        config = BCEConfig.model_validate({"unknown": {"name": name}}).unknown
        found = PartialLoss(entry, config, "sum_over_labels")(logits, targets)
        torch.testing.assert_close(found, value)


def test_a_single_label_has_a_finite_weight():
    logits, targets = torch.zeros(2, 1), torch.full((2, 1), -1, dtype=torch.int8)
    assert float(bce("weak-negative")(logits, targets)) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"name": "role"}, "'unknown.name' does not fit"),
        ({"name": "expected-positives"}, "'unknown.positives' is missing"),
        ({"name": "entropy", "weight": 0}, "'unknown.weight' does not fit"),
        ({"name": "smoothed-negative", "smoothing": 0.5}, "'unknown.smoothing' does not fit"),
        ({"name": "entropy", "smoothing": 0.2}, "Unknown key 'unknown.smoothing'"),
        ({"weight": 0.2}, "Unknown key 'unknown.weight'"),
    ],
)
def test_settings_that_do_not_fit_are_named(given, what):
    with pytest.raises(ConfigError) as error:
        parse(BCEConfig, {"unknown": given}, where="recipe.toml")
    assert what in error.value.what


def test_a_recipe_sets_it():
    tables = {
        "backbone": {"name": "test_resnet", "pretrained": False},
        "steps": [{"kind": "main", "epochs": 1}],
        "loss": {"unknown": {"name": "expected-positives", "positives": 2.9}},
    }
    assert resolve(tables, where="recipe.toml").loss.unknown.positives == 2.9
    tables["loss"] = {"unknown": {"nam": "entropy"}}
    with pytest.raises(ConfigError, match=r"Unknown key 'loss.unknown.nam'"):
        resolve(tables, where="recipe.toml")


def test_by_default_unknown_targets_are_ignored():
    assert LOSSES["bce"][0]().unknown.name == "ignore"
