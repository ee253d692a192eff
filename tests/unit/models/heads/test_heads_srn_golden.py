"""Every stage of SRN gives what it gave when its golden tensors were made."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[3] / "golden"
TOPOLOGIES = ("paper", "released")


def _load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _load_maker()


def header(topology: str) -> dict[str, str]:
    with safe_open(make.path_of(topology), framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_stage(topology):
    golden, found = load_file(make.path_of(topology)), make.stages(topology)
    assert found.keys() == golden.keys()
    made = header(topology)
    for name, expected in golden.items():
        value = found[name]
        assert value.shape == expected.shape, name
        assert value.dtype == expected.dtype, name
        scale = float(expected.abs().max())
        assert scale > 0.01, name
        off = float((value - expected).abs().max()) / scale
        assert off <= float(made["tolerance"]), (
            f"{name} is off by {off:.1e} of its largest value; made with torch {made['torch']} "
            f"and timm {made['timm']} by: {made['command']}"
        )


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_header_says_how_it_was_made(topology):
    made = header(topology)
    assert made.keys() == {"command", "tolerance", "torch", "timm", "numpy"}
    assert float(made["tolerance"]) == make.TOLERANCE
    assert made["command"] == "python tests/golden/make.py"
    assert json.dumps(made).isascii()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_weights_do_not_depend_on_torchs_seed(topology):
    weights = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights.append(make.build(topology).state_dict())
    one, two = weights
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_the_topologies_share_a_backbone_and_nothing_after_it():
    paper, released = (load_file(make.path_of(topology)) for topology in TOPOLOGIES)
    assert torch.equal(paper["features.mid"], released["features.mid"])
    assert torch.equal(paper["logits.cls"], released["logits.cls"])
    for name in ("maps.attention", "maps.confidence", "logits.att", "logits.sr"):
        assert not torch.allclose(paper[name], released[name], rtol=0.01), name


def test_they_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 300_000
