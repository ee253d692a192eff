"""A run with `cache = true` has the same result, and decodes its images once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource
from manylabel.data.records import Records
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import ConfigError, DataError
from manylabel.feed import cache, verify
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records, run

COUNTS = {"train": 48, "val": 16, "test": 24}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = draw_scenes(tmp_path_factory.mktemp("scenes") / "drawn", counts=COUNTS, workers=1)
    return load_records(DataSource(path=folder), reporter(io.StringIO()))


def reporter(said: io.StringIO) -> Reporter:
    return Reporter(console=Console(file=said, width=200))


def recipe(**changes: object) -> RunConfig:
    tables = {
        "batch_size": 16,
        "workers": 0,
        "device": "cpu",
        "input": {"height": 56, "width": 56},
        "augment": {"name": "paper"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "linear"},
        "optim": {"name": "adamw", "lr": 2e-3},
        "steps": [{"kind": "main", "epochs": 2}],
    }
    return resolve({**tables, **changes}, where="test")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", [{"name": "paper"}, {"name": "flip", "randaugment": 9}])
def test_a_cached_run_is_the_same_run(
    records: Records, tmp_path: Path, augment: dict[str, object], workers: int
) -> None:
    live = run(recipe(augment=augment), records, tmp_path / "live", reporter(io.StringIO()))
    said = io.StringIO()
    changes = {"cache": True, "cache_folder": str(tmp_path / "cache"), "workers": workers}
    config = recipe(augment=augment, **changes)
    cached = run(config, records, tmp_path / "cached", reporter(said))
    assert cached.history[-1]["loss"] == live.history[-1]["loss"]
    weights, expected = (
        load_bundle(outcome.bundle).classifier.state_dict() for outcome in (cached, live)
    )
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    side = 64 if augment["name"] == "paper" else 56
    assert f"Caching the 48 images of train at {side}x{side} pixels: 0.00 GB in " in said.getvalue()
    assert "Caching the 24 images of test at 56x56 pixels" in said.getvalue()
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_second_run_decodes_nothing(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(cache=True, cache_folder=str(tmp_path / "cache"))
    run(config, records, tmp_path / "first", reporter(io.StringIO()))
    monkeypatch.setattr(cache, "prepared", lambda place, *_, **__: pytest.fail(f"{place} is read"))
    said = io.StringIO()
    run(config, records, tmp_path / "second", reporter(said))
    assert "Keeping" not in said.getvalue()


def test_the_caches_are_the_check_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw_scenes(tmp_path / "drawn", counts=COUNTS, workers=1)
    config = recipe(cache=True, cache_folder=str(tmp_path / "cache"))
    monkeypatch.setattr(
        verify, "_look", lambda _, place, *, hashed: pytest.fail(f"{place} is opened twice")
    )
    found = load_records(DataSource(path=folder), reporter(io.StringIO()), config)
    monkeypatch.setattr(
        cache, "prepared", lambda place, *_, **__: pytest.fail(f"{place} is read twice")
    )
    run(config, found, tmp_path / "run", reporter(io.StringIO()))
    monkeypatch.undo()

    bad = [found.split(name).images[3] for name in ("train", "test")]
    for place in bad:
        Path(str(place)).write_bytes(b"no image")
    with pytest.raises(DataError) as told:
        load_records(DataSource(path=folder), reporter(io.StringIO()), config)
    with pytest.raises(DataError) as expected:
        load_records(DataSource(path=folder), reporter(io.StringIO()))
    assert str(told.value) == str(expected.value)
    assert "2 of 88 images cannot be used" in told.value.what
    frozen = recipe(
        features="cached",
        augment={"name": "flip"},
        steps=[{"kind": "main", "epochs": 1, "freeze": ["backbone"]}],
    )
    unseen = load_records(DataSource(path=folder), reporter(io.StringIO()), frozen)
    with pytest.raises(DataError) as told:
        run(frozen, unseen, tmp_path / "frozen", reporter(io.StringIO()))
    assert str(told.value) == str(expected.value)
    skipping = config.model_copy(update={"skip_bad_images": True})
    good = load_records(DataSource(path=folder), reporter(io.StringIO()), skipping)
    assert good.split_counts() == {"train": 47, "val": 16, "test": 23}


@pytest.mark.parametrize("goes_on_with", [False, True])
def test_a_run_can_resume_with_or_without_a_cache(
    records: Records, tmp_path: Path, goes_on_with: bool
) -> None:
    """The cache does not belong to the identity of a run: no pixel depends on it."""
    cached = recipe(cache=True, cache_folder=str(tmp_path / "cache"))
    first, second = (recipe(), cached) if goes_on_with else (cached, recipe())
    done = run(first, records, tmp_path / "run", reporter(io.StringIO()))
    again = run(second, records, tmp_path / "run", reporter(io.StringIO()), resume=True)
    assert again.results == done.results


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"augment": {"name": "flip"}, "cache": True}, "leave out cache"),
        ({"augment": {"name": "none", "randaugment": 5}}, "does not allow augment.randaugment"),
    ],
)
def test_settings_that_cached_maps_do_not_allow_are_refused(
    changes: dict[str, object], what: str
) -> None:
    steps = [{"kind": "main", "epochs": 1, "freeze": ["backbone"]}]
    with pytest.raises(ConfigError, match=what):
        recipe(features="cached", steps=steps, **changes)
