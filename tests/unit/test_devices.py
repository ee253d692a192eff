"""Devices by their names."""

from __future__ import annotations

import pytest
import torch

from manylabel.devices import choose_device
from manylabel.errors import ConfigError


def test_auto_is_a_gpu_where_there_is_one() -> None:
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (choose_device("auto").type == "cpu") is not gpu
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["nope", "cuda:99", "meta", ""])
def test_a_device_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' cannot be used"):
        choose_device(name)
