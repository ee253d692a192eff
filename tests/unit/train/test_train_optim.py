import math

import pytest
import torch
from torch import nn

from manylabel.errors import ConfigError
from manylabel.train.optim import Schedule, SGDConfig, build_optimizer


def made(iterations=10, *, validated=True, **schedule):
    config = SGDConfig.model_validate({"lr": 0.1, "schedule": schedule})
    optimizer = build_optimizer(config, [nn.Parameter(torch.zeros(1))])
    return optimizer, Schedule(config, optimizer, iterations=iterations, validated=validated)


def rates(optimizer, schedule, epochs, iterations, losses=None):
    """The rate in effect during each iteration."""
    seen = []
    for epoch in range(epochs):
        for _ in range(iterations):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_iteration()
        schedule.after_epoch(losses[epoch] if losses else None)
    return seen


def test_sgd_step_is_the_papers_formula():
    """w <- w - lr * v, v <- momentum * v + g + decay * w, as in Caffe and PyTorch."""
    config = SGDConfig(lr=0.1)
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer(config, [weight])
    w, v = 2.0, 0.0
    for gradient in (1.0, -3.0):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        v = 0.9 * v + gradient + 5e-4 * w
        w -= 0.1 * v
        assert weight.item() == pytest.approx(w, rel=1e-6)


def test_constant_stays():
    assert set(rates(*made(name="constant"), epochs=2, iterations=5)) == {0.1}


def test_milestones_fall_after_the_epochs_named():
    seen = rates(*made(name="milestones", epochs=[1, 3], factor=0.1), epochs=4, iterations=1)
    assert seen == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_cosine_ends_at_zero():
    seen = rates(*made(name="cosine"), epochs=2, iterations=5)
    wanted = [0.1 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)]
    assert seen == pytest.approx(wanted)


def test_one_cycle_peaks_at_the_rate_after_three_tenths():
    optimizer, schedule = made(100, name="one-cycle")
    seen = rates(optimizer, schedule, epochs=4, iterations=25)
    assert max(seen) == pytest.approx(0.1, rel=1e-2)
    assert 28 <= seen.index(max(seen)) <= 31
    assert seen[0] < 0.005
    assert seen[-1] < 1e-3


def test_plateau_falls_when_the_loss_saturates_and_no_further_than_the_smallest():
    optimizer, schedule = made(name="plateau", patience=1, smallest=0.005)
    seen = rates(optimizer, schedule, 7, 1, losses=[5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.005])


def test_plateau_without_a_validation_split_is_refused():
    with pytest.raises(ConfigError, match="validation loss"):
        made(name="plateau", validated=False)


@pytest.mark.parametrize("name", ["one-cycle", "cosine", "milestones", "plateau"])
def test_a_schedule_continues_from_its_state(name):
    settings = {"name": name, "epochs": [1]} if name == "milestones" else {"name": name}
    whole_optimizer, whole = made(20, **settings)
    wanted = rates(whole_optimizer, whole, 4, 5, losses=[1.0] * 4)
    first_optimizer, first = made(20, **settings)
    seen = rates(first_optimizer, first, 2, 5, losses=[1.0] * 2)
    second_optimizer, second = made(20, **settings)
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert seen + rates(second_optimizer, second, 2, 5, losses=[1.0] * 2) == wanted
