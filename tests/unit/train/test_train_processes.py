"""Training in two real processes: they share the scoring, and one of them writes the files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from process_group import run_in_processes
from rich.console import Console

from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import ConfigError, DataError
from manylabel.processes import processes
from manylabel.train import results
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records, run

WRITTEN = {"bundle", "steps", "metrics.json", "recipe.toml", "log.jsonl", "checkpoint.pt"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes") / "drawn"
    return draw_scenes(folder, counts={"train": 48, "val": 14, "test": 22}, workers=1)


def recipe(**changes: object) -> RunConfig:
    tables = {
        "seed": 3,
        "batch_size": 4,
        "workers": 0,
        "device": "cpu",
        "input": {"height": 64, "width": 64},
        "augment": {"name": "crop"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "srn", "attention_channels": 16, "relation_channels": 16},
        "steps": [{"kind": "main", "epochs": 2}, {"kind": "attention", "epochs": 1}],
    }
    return resolve({**tables, **changes}, where="test")


def _train(scenes: Path, folder: Path) -> dict[str, Any]:
    """Run in this process's own folder, and count the batches that this process scored."""
    console = Console(file=io.StringIO(), width=200)
    reporter = Reporter(console=console)
    records = load_records(DataSource(path=scenes), reporter)
    scored, original = [], results.batches

    def counted(*arguments: Any, **options: Any):
        for batch in original(*arguments, **options):
            scored.append(batch.records.tolist())
            yield batch

    results.batches = counted
    try:
        outcome = run(recipe(), records, folder / str(processes().rank), reporter)
    finally:
        results.batches = original
    assert outcome.bundle == folder / "0" / "bundle"
    figures = [{k: v for k, v in each.items() if k != "seconds"} for each in outcome.results]
    return {
        "figures": figures,
        "history": outcome.history,
        "scored": scored,
        "lines": console.file.getvalue().splitlines(),
    }


def test_two_processes_share_scoring_and_one_writes(scenes: Path, tmp_path: Path) -> None:
    """With batches of 4, val has 4 batches, scored 3 times, and test has 6, scored twice."""
    one = _train(scenes, tmp_path / "one")
    found = run_in_processes(2, _train, scenes, tmp_path / "two")
    assert len(one["scored"]) == 3 * 4 + 2 * 6
    for other in found:
        assert other["figures"] == one["figures"], "receipts of the bundles included"
        assert other["history"] == one["history"]
        assert len(other["scored"]) == len(one["scored"]) // 2
    batches = [tuple(batch) for other in found for batch in other["scored"]]
    assert sorted(batches) == sorted(tuple(batch) for batch in one["scored"])
    assert found[0]["lines"] == one["lines"] != []
    assert found[1]["lines"] == []
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"0"}, "the second wrote nothing"
    for folder in (tmp_path / "one" / "0", tmp_path / "two" / "0"):
        assert {path.name for path in folder.iterdir()} == WRITTEN
    weights = [tmp_path / name / "0" / "bundle" / "model.safetensors" for name in ("one", "two")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def _begin(scenes: Path, folder: Path, seeds: list[int]) -> None:
    reporter = Reporter(console=Console(file=io.StringIO()))
    records = load_records(DataSource(path=scenes), reporter)
    run(recipe(seed=seeds[processes().rank]), records, folder, reporter)


def test_processes_with_different_recipes_are_refused(scenes: Path, tmp_path: Path) -> None:
    found = run_in_processes(2, _begin, scenes, tmp_path / "run", [3, 4])
    assert [type(error) for error in found] == [DataError] * 2
    assert "the same recipe and data set" in found[0].what
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_by_all(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").touch()
    found = run_in_processes(2, _begin, scenes, tmp_path, [3, 3])
    assert [type(error) for error in found] == [ConfigError] * 2
