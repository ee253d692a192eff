import random

import numpy as np
import pytest
import torch

from manylabel.train.random_states import random_states, restore_random_states, seed_all


@pytest.fixture(autouse=True)
def keep_the_states_of_other_tests():
    before = random_states()
    yield
    restore_random_states(before)


def draws():
    """Draws of each generator; numpy keeps every second normal number for the next call."""
    return (
        [random.random(), random.gauss(0, 1)],
        [np.random.rand(), *np.random.normal(size=3).tolist()],
        [*torch.rand(3).tolist(), *torch.randn(3).tolist()],
    )


def test_each_generator_continues_where_its_state_was_saved(tmp_path):
    draws()
    torch.save(random_states(), tmp_path / "states.pt")
    wanted = draws()
    seed_all(99)
    assert all(a != b for a, b in zip(draws(), wanted, strict=True))
    restore_random_states(torch.load(tmp_path / "states.pt", weights_only=True))
    assert draws() == wanted


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7])
def test_a_seed_fixes_each_generator(seed):
    seed_all(seed)
    first = draws()
    seed_all(seed)
    assert draws() == first
    torch.manual_seed(seed)
    assert torch.rand(3).tolist() == first[2][:3], "torch is seeded as torch.manual_seed does"


def test_states_of_accelerators_are_kept_for_each_device(monkeypatch):
    """Two devices when the states are saved, and one when they are restored."""
    states = [torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([3], dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    saved = random_states()
    restored = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *pair: restored.append(pair))
    restore_random_states(saved)
    assert restored == [(states[0], 0)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_each_gpu_continues():
    torch.rand(1, device="cuda")
    states = random_states()
    wanted = torch.rand(4, device="cuda")
    torch.rand(4, device="cuda")
    restore_random_states(states)
    assert torch.equal(torch.rand(4, device="cuda"), wanted)
