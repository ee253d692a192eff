"""MixUp and CutMix against their equations; the same position of a run gives the same draws."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

from manylabel.errors import ConfigError
from manylabel.losses import BCE, BCEConfig
from manylabel.train.config import recipe_folder, resolve
from manylabel.train.mixing import (
    CutMixConfig,
    EitherConfig,
    Mixture,
    MixUpConfig,
    NoMixingConfig,
    PixelBox,
    draw_mixture,
)

SIZE = (12, 20)
KINDS = ("mixup", "cutmix")
CONFIGS = {
    "none": NoMixingConfig,
    "mixup": MixUpConfig,
    "cutmix": CutMixConfig,
    "either": EitherConfig,
}


def drawn(name="either", *, alpha=None, images=8, seed=3, epoch=2, batch=5, size=SIZE):
    config = CONFIGS[name]() if alpha is None else CONFIGS[name](alpha=alpha)
    return draw_mixture(config, images=images, size=size, seed=seed, epoch=epoch, batch=batch)


def images_of(count=8, size=SIZE):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(count, 3, *size, generator=generator)
    return pixels.to(memory_format=torch.channels_last)


def loss_of(logits, targets):
    return BCE(BCEConfig())(logits, targets)


def logits_and_targets(labels=5):
    rng = np.random.default_rng(4)
    targets = rng.integers(-1, 2, (8, labels)).astype(np.int8)
    return torch.from_numpy(rng.normal(0, 2, (8, labels))).float(), torch.from_numpy(targets)


def test_mixup_is_the_weighted_mean():
    mixture = drawn("mixup", alpha=1)
    assert 0.05 < mixture.kept < 0.95
    images = images_of()
    mixed = mixture.inputs(images)
    for i, partner in enumerate(mixture.partners):
        wanted = mixture.kept * images[i].numpy() + (1 - mixture.kept) * images[partner].numpy()
        np.testing.assert_allclose(mixed[i].numpy(), wanted, atol=1e-6)


def test_cutmix_lays_a_box_of_the_partner_over_each_image():
    """Pixel by pixel; `kept` is the fraction of pixels that are kept, not the drawn fraction."""
    images = images_of()
    for batch in range(20):
        mixture = drawn("cutmix", batch=batch)
        mixed, kept = mixture.inputs(images), 0
        for i, partner in enumerate(mixture.partners):
            own = 0
            for row in range(SIZE[0]):
                for column in range(SIZE[1]):
                    pixel = mixed[i, :, row, column]
                    is_own = torch.equal(pixel, images[i, :, row, column])
                    assert is_own or torch.equal(pixel, images[partner, :, row, column])
                    own += is_own
            if partner != i:
                kept = own
        assert mixture.kept == pytest.approx(kept / (SIZE[0] * SIZE[1]))


def test_cutmix_box_by_hand():
    mixture = Mixture(
        kept=1 - 2 / 12, partners=(1, 0), box=PixelBox(top=1, bottom=2, left=1, right=3)
    )
    images = torch.stack([torch.zeros(1, 3, 4), torch.ones(1, 3, 4)])
    mixed = mixture.inputs(images)
    assert mixed[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert torch.equal(mixed[1], 1 - mixed[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_itself_does_not_change(kind):
    images = images_of()
    before = images.clone()
    mixed = drawn(kind).inputs(images)
    assert torch.equal(images, before)
    assert not torch.equal(mixed, before)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_equals_that_of_mixed_targets_if_all_are_known(kind):
    """Equation (1) of MixUp gives the same number, since cross-entropy is linear in the target."""
    mixture = drawn(kind, alpha=1)
    logits, targets = logits_and_targets()
    targets = targets.clamp(min=0)
    soft = mixture.kept * targets + (1 - mixture.kept) * targets[list(mixture.partners)]
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, soft, reduction="sum"
    ) / len(logits)
    torch.testing.assert_close(mixture.loss(loss_of, logits, targets), wanted)


def test_a_target_known_for_one_image_only_counts_with_its_fraction():
    """By hand, at logit 0: each known target costs log 2 times the fraction of its image."""
    mixture = Mixture(kept=0.7, partners=(1, 0))
    targets = torch.tensor([[1, -1], [0, -1]], dtype=torch.int8)
    found = mixture.loss(loss_of, torch.zeros(2, 2), targets)
    assert float(found) == pytest.approx(np.log(2))
    targets = torch.tensor([[1, -1], [-1, -1]], dtype=torch.int8)
    found = mixture.loss(loss_of, torch.zeros(2, 2), targets)
    assert float(found) == pytest.approx(np.log(2) * (0.7 + 0.3) / 2)


def test_any_loss_is_weighted_by_the_fractions():
    mixture = Mixture(kept=0.75, partners=(1, 2, 0))

    def cubic(output, targets):
        return (output - targets).abs().pow(3).sum()

    output, targets = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.0, 1.0, 0.0])
    own, others = 0.125 + 0 + 8, 0.125 + 1 + 8  # partners' targets are 1, 0, 0
    assert float(mixture.loss(cubic, output, targets)) == pytest.approx(0.75 * own + 0.25 * others)


@pytest.mark.parametrize("box", [None, PixelBox(top=3, bottom=3, left=0, right=9)])
def test_a_kept_fraction_of_one_changes_no_bit(box):
    mixture = Mixture(kept=1.0, partners=(3, 2, 1, 0, 7, 6, 5, 4), box=box)
    images, (logits, targets) = images_of(), logits_and_targets()
    assert torch.equal(mixture.inputs(images), images)
    assert torch.equal(mixture.loss(loss_of, logits, targets), loss_of(logits, targets))


def test_none_changes_nothing_and_draws_nothing():
    images, maps = images_of(), object()
    assert drawn("none").inputs(images) is images
    assert drawn("none").inputs(maps) is maps
    assert drawn("none").kept == 1


@pytest.mark.parametrize("name", [*KINDS, "either"])
def test_the_same_position_gives_the_same_mixture_and_another_does_not(name):
    assert drawn(name) == drawn(name)
    others = [drawn(name, **{key: 0}) for key in ("seed", "epoch", "batch")]
    assert len({*others, drawn(name)}) == 4


def test_the_generators_of_torch_and_python_are_not_used():
    before = torch.get_rng_state()
    drawn("either")
    assert torch.equal(torch.get_rng_state(), before)


def test_partners_are_a_permutation_of_the_batch():
    for batch in range(20):
        assert sorted(drawn(batch=batch, images=7).partners) == list(range(7))
    assert drawn("mixup", images=1).partners == (0,)


def test_either_draws_both_kinds():
    boxes = [drawn("either", batch=batch).box is not None for batch in range(400)]
    assert 160 < sum(boxes) < 240


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixups_fraction_has_the_mean_and_variance_of_beta(alpha):
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1))."""
    shares = [drawn("mixup", alpha=alpha, images=2, batch=batch).kept for batch in range(4000)]
    assert statistics.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert statistics.pvariance(shares) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_unset_alpha_is_the_papers():
    for kind, alpha in (("mixup", 0.2), ("cutmix", 1.0)):
        assert drawn(kind) == drawn(kind, alpha=alpha)


def test_cutmixs_box_has_about_the_drawn_area_and_stays_inside():
    """On a large image, boxes that are not clipped have the aspect ratio of the image."""
    whole = 0
    for batch in range(300):
        mixture = drawn("cutmix", batch=batch, images=2, size=(300, 500))
        box = mixture.box
        assert box is not None
        assert 0 <= box.top <= box.bottom <= 300
        assert 0 <= box.left <= box.right <= 500
        if box.top > 0 and box.bottom < 300 and box.left > 0 and box.right < 500:
            whole += 1
            height, width = box.bottom - box.top, box.right - box.left
            assert height / 300 == pytest.approx(width / 500, abs=0.01)
    assert whole > 30


def tables(**changes):
    base = {
        "backbone": {"name": "test_resnet", "pretrained": False},
        "steps": [{"kind": "main", "epochs": 1, "freeze": ["backbone"]}],
        "augment": {"name": "none"},
    }
    return {**base, **changes}


def test_cached_features_refuse_mixing():
    with pytest.raises(ConfigError, match=r"mixing 'cutmix' needs features = 'live'"):
        resolve(tables(features="cached", mixing={"name": "cutmix"}), where="recipe.toml")
    assert resolve(tables(features="cached"), where="recipe.toml").mixing.name == "none"
    assert resolve(tables(mixing={"name": "cutmix"}), where="recipe.toml").mixing.alpha == 1


@pytest.mark.parametrize("path", sorted(recipe_folder().glob("*.toml")), ids=lambda path: path.stem)
def test_no_recipe_mixes(path):
    assert "mixing" not in path.read_text(encoding="utf-8")
