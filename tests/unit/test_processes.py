"""Real processes over gloo: the same bits whatever their number, and no process left waiting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from process_group import run_in_processes

from manylabel.bundle.classifier import load_bundle
from manylabel.cli.data.group import COMMANDS as OF_DATA
from manylabel.cli.main import COMMANDS, main
from manylabel.data.records import Record, Records
from manylabel.engines.torch import TorchEngine
from manylabel.errors import ConfigError, DataError, RunError
from manylabel.evaluate.run import Evaluation, evaluate
from manylabel.feed.loaders import Batch
from manylabel.labels import LabelSpace
from manylabel.models.heads.base import HeadOutput
from manylabel.predict import Predictor
from manylabel.processes import (
    Processes,
    agreed,
    from_leader,
    in_turns,
    joined,
    launched_count,
    processes,
    require_one_process,
    require_same,
)
from manylabel.train.scoring import SplitScores, score

pytestmark = pytest.mark.xdist_group("processes")

# Turns


def turns(items: int) -> list[int]:
    return list(in_turns(processes().share(range(items))))


@pytest.mark.parametrize("count", [2, 3])
def test_turns_are_in_the_order_of_the_whole(count: int) -> None:
    sizes = (0, 1, count, 7)
    assert (
        run_in_processes(count, _all_turns, sizes)
        == [[list(range(size)) for size in sizes]] * count
    )


def _all_turns(sizes: tuple[int, ...]) -> list[list[int]]:
    return [turns(size) for size in sizes]


def test_each_process_takes_a_gpu_of_its_own_where_it_may(monkeypatch) -> None:
    second = Processes(rank=1, count=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert second.device("auto") == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Processes(rank, 4).device("auto") for rank in range(4)] == [
        *("cuda:0", "cuda:1", "cuda:0", "cuda:1")
    ]
    assert (second.device("cuda"), second.device("cpu")) == ("cuda:1", "cpu")
    assert Processes().device("auto") == "auto"
    monkeypatch.setenv("LOCAL_RANK", "0")  # the first one on the second machine
    assert second.device("cuda") == "cuda:0"


def test_one_process_needs_no_others() -> None:
    with joined() as group:
        assert group == Processes()
    assert turns(5) == [0, 1, 2, 3, 4]
    assert agreed(lambda: 3) == 3
    assert from_leader(lambda: 4) == 4
    require_same(object(), "anything")


def test_one_process_needs_no_torch() -> None:
    code = (
        "import sys; from manylabel.processes import agreed, joined, processes\n"
        "with joined() as group: assert group == processes(); assert agreed(lambda: 1) == 1\n"
        "assert group.device('auto') == 'auto'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_positions_cut_the_images_into_the_batches_of_one_process(size: int, count: int) -> None:
    whole = [list(range(size))[start : start + 3] for start in range(0, size, 3)]
    for rank in range(count):
        own = Processes(rank, count)
        wanted = [position for batch in whole[rank::count] for position in batch]
        assert list(own.positions(size, 3)) == wanted
        assert own.count_of(size, 3) == len(wanted)


def _leader_works(folder: Path) -> str:
    return from_leader(lambda: _write(folder))


def _write(folder: Path) -> str:
    assert processes().leads
    (folder / "one.txt").write_text("written")
    return "written by the leader"


def test_only_the_leading_process_does_its_work_and_all_get_the_result(tmp_path: Path) -> None:
    assert run_in_processes(2, _leader_works, tmp_path) == ["written by the leader"] * 2
    assert (tmp_path / "one.txt").read_text() == "written"


def _leader_fails() -> None:
    from_leader(lambda: _refuse())


def _refuse() -> None:
    raise DataError("Bad.", where="here", fix="Mend it.")


def test_an_error_of_the_leading_process_is_raised_on_all() -> None:
    found = run_in_processes(2, _leader_fails)
    assert [(type(error), error.what) for error in found] == [(DataError, "Bad.")] * 2


def _bad_image_on_the_last() -> None:
    def own():
        yield 1
        if processes().rank == processes().count - 1:
            raise DataError("Bad.", where="here", fix="Mend it.")
        yield 2

    list(in_turns(own()))


def test_an_error_of_the_user_on_one_is_raised_on_all() -> None:
    found = run_in_processes(3, _bad_image_on_the_last)
    assert [(type(error), error.what, error.where, error.fix) for error in found] == [
        (DataError, "Bad.", "here", "Mend it.")
    ] * 3


def _fault_on(rank: int) -> None:
    agreed(lambda: 1 // (processes().rank - rank))


def test_a_fault_on_one_ends_all_and_is_told_by_name() -> None:
    found = run_in_processes(2, _fault_on, 1)
    assert isinstance(found[0], RunError)
    assert found[0].what.startswith("Process 1 failed: ZeroDivisionError")
    assert isinstance(found[1], ZeroDivisionError)


def _killed(rank: int) -> None:
    agreed(lambda: None)
    if processes().rank == rank:
        os._exit(9)
    agreed(lambda: None)


def test_a_killed_process_leaves_nobody_waiting() -> None:
    (found,) = run_in_processes(2, _killed, 1, lost=1)
    assert isinstance(found, RunError)
    assert "connection to the other processes was lost" in found.what


def _killed_at_the_end(rank: int) -> None:
    agreed(lambda: None)
    if processes().rank == rank:
        os._exit(9)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_no_process_ends_well_if_one_was_killed_at_the_end(rank: int) -> None:
    found = run_in_processes(3, _killed_at_the_end, rank, lost=1)
    assert [type(error) for error in found] == [RunError] * 2
    assert all("connection to the other processes was lost" in error.what for error in found)


def _failed_at_the_end(rank: int) -> None:
    agreed(lambda: None)
    if processes().rank == rank:
        raise DataError("Bad.", where="here", fix="Mend it.")


def test_no_process_ends_well_if_one_failed_at_the_end() -> None:
    """For instance the leading one, which alone writes the results."""
    found = run_in_processes(2, _failed_at_the_end, 0)
    assert [type(error) for error in found] == [DataError, RunError]


def _same(values: list[int]) -> None:
    require_same(values[processes().rank], "data set")


def test_other_data_on_one_process_is_told_on_all() -> None:
    assert run_in_processes(2, _same, [4, 4]) == [None, None]
    found = run_in_processes(2, _same, [4, 5])
    assert [error.what for error in found] == [
        "The processes do not have the same data set: process 1 differs from 0."
    ] * 2


# Evaluation


@pytest.fixture
def records(make_image, tmp_path: Path) -> Records:
    targets = np.random.default_rng(0).integers(-1, 2, (23, 3)).astype(np.int8)
    paths = [make_image(tmp_path / f"{i}.png", i) for i in range(len(targets))]
    items = [Record(path.name, path, row) for path, row in zip(paths, targets, strict=True)]
    return Records.of(LabelSpace(["cat", "dog", "owl"]), tuple(items), "photos")


class Neighbourly(torch.nn.Module):
    """A head whose logits lean on the whole batch, as a convolution's last bits do, but plainly."""

    takes = ("final",)

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps):
        output: HeadOutput = self.head(maps)
        return output._replace(logits=output.logits + output.logits.mean())

    def evidence(self):
        return {}

    def relations(self):
        return None


def _evaluated(bundle: Path, records: Records, skip_bad: bool, size: int = 5) -> Evaluation:
    loaded = load_bundle(bundle)
    loaded.classifier.head = Neighbourly(loaded.classifier.head)
    predictor = Predictor(TorchEngine(loaded, device="cpu"), batch_size=size)
    return evaluate(predictor, records, skip_bad=skip_bad)


@pytest.mark.parametrize("count", [2, 4])
def test_evaluation_is_equal_to_the_last_bit(tiny_bundle, records: Records, count: int) -> None:
    one = _evaluated(tiny_bundle, records, False)
    assert not np.allclose(one.scores, _evaluated(tiny_bundle, records, False, 4).scores)
    for other in run_in_processes(count, _evaluated, tiny_bundle, records, False):
        assert other.keys == one.keys == tuple(records.keys)
        assert other.scores.tobytes() == one.scores.tobytes()
        assert other.targets.tobytes() == one.targets.tobytes()
        assert other.as_dict() == one.as_dict()


def test_bad_images_of_all_processes_are_counted(tiny_bundle, records: Records) -> None:
    for position in (0, 7, 8, 9, 21):  # in the batches of both
        records[position].image.write_bytes(b"no image")
    with pytest.raises(DataError, match="5 of 23 images cannot be used") as caught:
        _evaluated(tiny_bundle, records, False)
    for error in run_in_processes(2, _evaluated, tiny_bundle, records, False):
        assert str(error) == str(caught.value)
    one = _evaluated(tiny_bundle, records, True)
    for other in run_in_processes(2, _evaluated, tiny_bundle, records, True):
        assert other.scores.tobytes() == one.scores.tobytes()
        assert other.as_dict() == one.as_dict()


# Validation while training


class Wide(torch.nn.Module):
    """Logits and a branch that lean on the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))
        self.weight = torch.nn.Parameter(weight)

    def forward(self, inputs):
        logits = inputs @ self.weight
        logits = logits + logits.mean()
        return HeadOutput(logits, branches={"half": logits / 2}, maps={})


def _validated() -> SplitScores:
    inputs = torch.randn(23, 300, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, :3] > 0).to(torch.int8)
    parts = torch.arange(23).split(4)
    batches = [Batch(inputs[rows], targets[rows], rows) for rows in parts]
    return score(
        Wide(),
        processes().share(batches),
        [str(i) for i in range(23)],
        lambda batch: batch.inputs,
        lambda output, truth: ((output.logits - truth) ** 2).mean(),
    )


@pytest.mark.parametrize("count", [2, 4])
def test_validation_is_equal_to_the_last_bit(count: int) -> None:
    one = _validated()
    for other in run_in_processes(count, _validated):
        assert other.loss == one.loss
        assert other.targets.tobytes() == one.targets.tobytes()
        for name in ("final", "half"):
            assert other.scores[name].tobytes() == one.scores[name].tobytes()


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}

WRITING = {
    "train": "--data x.csv",
    "label": "photos --examples x.csv --out out",
    "tune": "bundle --data x.csv --out out",
    "demo": "--out out",
    "report": "bundle --data x.csv --out out.html",
    "predict": "bundle photo.jpg",
    "explain": "bundle photo.jpg --out out",
    "audit": "bundle --data x.csv --out out",
    "relations": "bundle --data x.csv --out out",
    "data check": "x.csv",
    "data convert": "x.csv out.csv",
    "data split": "x.csv --out out.csv",
    "data draw": "out",
}


def refusal(words: str, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize(
    ("variables", "launcher", "named"),
    [
        (TORCHRUN, "torchrun", "WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "a launcher", "WORLD_SIZE"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, "srun", "SLURM_STEP_NUM_TASKS"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun", "OMPI_COMM_WORLD_SIZE"),
    ],
    ids=["torchrun", "world size", "slurm", "mpi"],
)
def test_a_command_for_one_process_is_refused_in_several(
    command: str, variables, launcher, named, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = refusal(f"{command} {WRITING[command]}", capsys)
    assert f"`manylabel {command}` runs in one process, but {launcher} started 2." in told
    assert f"env -u {named} manylabel {command} ..." in told
    assert not list(tmp_path.iterdir())


def test_every_command_that_writes_is_refused_in_several() -> None:
    reading = {"evaluate", "score", "compare", "models", "data", "data show"}
    entries = {**COMMANDS, **{f"data {name}": each for name, each in OF_DATA.items()}}
    assert {name for name, each in entries.items() if each.alone} == set(WRITING)
    assert set(entries) - set(WRITING) == reading


def test_a_job_of_one_task_and_help_are_not_refused(monkeypatch, capsys, tmp_path: Path) -> None:
    for name in (
        "SLURM_NTASKS",
        "SLURM_NPROCS",
    ):  # Slurm sets them in batch scripts, which run once
        monkeypatch.setenv(name, "4")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    require_one_process("train")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--help"])
    assert ended.value.code == 0
    assert "Usage: manylabel tune" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
        ({"WORLD_SIZE": "9" * 5_000}, "WORLD_SIZE is '999"),
        ({"RANK": "1.5"}, "RANK is '1.5'"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "RANK is 0, but WORLD_SIZE is 0"),
    ],
)
def test_variables_that_torchrun_did_not_set_are_refused(
    changed: dict[str, str], wrong: str, tiny_bundle: Path, monkeypatch, capsys
) -> None:
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in {**launched, **changed}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="torchrun") as refused:
        launched_count()
    assert wrong in refused.value.what
    for arguments in (["train"], ["evaluate", str(tiny_bundle), "--data", "photos.csv"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert wrong in capsys.readouterr().err


def test_the_number_on_this_machine_is_a_number(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(ConfigError, match="LOCAL_RANK is 'first'"):
        Processes(rank=1, count=2).device("cuda")


def test_variables_of_another_launcher_are_ignored(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "many")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert launched_count() == 1
