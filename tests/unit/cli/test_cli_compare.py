"""`manylabel compare`: one file under all profiles, two against each other."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from manylabel.cli.main import cli, main
from manylabel.metrics import PROFILES
from manylabel.metrics.bootstrap import draw_weights

NAMES = ("cat", "dog", "owl")
KEYS = [f"{i}.jpg" for i in range(60)]


def write(path: Path, rows, names=NAMES, keys=KEYS) -> Path:
    lines = [",".join(["image", *names])]
    lines += [",".join([key, *map(str, row)]) for key, row in zip(keys, rows, strict=False)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def targets():
    return (np.random.default_rng(4).random((60, 3)) < 0.4).astype(int)


def scored(targets, noise: float, seed: int):
    random = np.random.default_rng(seed)
    return np.round(1 / (1 + np.exp(1 - 2 * targets - noise * random.normal(size=(60, 3)))), 4)


@pytest.fixture
def files(targets, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A, a better B, and the truth."""
    return (
        write(tmp_path / "a.csv", scored(targets, 2.0, 1)),
        write(tmp_path / "b.csv", scored(targets, 0.5, 2)),
        write(tmp_path / "t.csv", targets),
    )


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    return int(ended.value.code or 0)


def run_json(capsys, *arguments: object) -> dict:
    assert run(*arguments, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out, parse_constant=no_constant)


def no_constant(word: str):
    raise AssertionError(f"{word} is no JSON")


def score_json(capsys, path: Path, truth: Path, profile: str) -> dict:
    with pytest.raises(SystemExit):
        main(
            ["score", "--predictions", str(path), "--targets", str(truth), "--json"]
            + ["--profile", profile]
        )
    return json.loads(capsys.readouterr().out)


def test_one_file_under_all_profiles(files, capsys) -> None:
    a, _, truth = files
    found = run_json(capsys, a, "--targets", truth)
    assert set(found) == {"a", "notes"}
    profiles = found["a"]["profiles"]
    assert list(profiles) == list(PROFILES)
    for name in ("manylabel", "srn", "asl", "voc07"):
        expected = score_json(capsys, a, truth, name)
        shown = {key: profiles[name][key] for key in ("mAP", "CP", "OF1", "top3", "remarks")}
        assert shown == {key: expected[key] for key in shown}
    assert profiles["manylabel"]["reason"] == ""
    assert "AP interpolated at all points" in profiles["srn"]["reason"]
    assert found["a"]["receipt"]["images"] == 60


def test_the_table_of_profiles_and_its_reasons(files, capsys) -> None:
    a, _, truth = files
    found = run_json(capsys, a, "--targets", truth, "--profile", "srn")
    assert run(a, "--targets", truth, "--profile", "srn") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "why values differ from those of srn:" in lines
    for name, side in found["a"]["profiles"].items():
        row = next(line for line in lines if line.startswith(f"│ {name} "))
        assert row.split("│")[2].strip() == f"{100 * side['mAP']:.2f}"
        assert (f"  {name}: {side['reason']}" in lines) == (name != "srn")


def test_two_files_against_each_other(targets, files, capsys) -> None:
    """The paired interval against scikit-learn on images taken one by one."""
    a, b, truth = files
    found = run_json(capsys, a, b, "--targets", truth, "--resamples", 100, "--seed", 2)
    assert set(found) == {"a", "b", "comparison", "notes"}
    told = found["comparison"]
    differences = []
    for taken in draw_weights(60, draws=100, seed=2):
        rows = np.repeat(np.arange(60), taken)
        one, other = (
            average_precision_score(targets[rows], scored(targets, *how)[rows])
            for how in ((2.0, 1), (0.5, 2))
        )
        differences.append(other - one)
    expected = np.quantile(differences, (0.025, 0.975))
    gained = told["difference"]["mAP"]
    np.testing.assert_allclose([gained["low"], gained["high"]], expected, atol=1e-12)
    assert gained["value"] == pytest.approx(told["b"]["mAP"] - told["a"]["mAP"], abs=1e-12)
    assert told["b"]["mAP"] == found["b"]["profiles"]["manylabel"]["mAP"]
    assert (told["images"], told["resamples"], told["seed"]) == (60, 100, 2)
    assert {row["label"] for row in told["labels"]} == set(NAMES)
    assert told["conclusions"][0].startswith("mAP: B is better by ")


def test_what_two_files_print(files, capsys) -> None:
    a, b, truth = files
    told = run_json(capsys, a, b, "--targets", truth, "--resamples", 100)["comparison"]
    assert run(a, b, "--targets", truth, "--resamples", 100) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"A: {a}", f"B: {b}"]
    for sentence in told["conclusions"]:
        assert sentence in lines
    for name, gained in told["difference"].items():
        row = next(line for line in lines if line.startswith(f"│ {name} "))
        shown = [cell.strip() for cell in row.split("│")[2:-1]]
        assert shown[:2] == [f"{100 * told[side][name]:.2f}" for side in "ab"]
        assert shown[2:] == [f"{100 * gained[key]:+.2f}" for key in ("value", "low", "high")]


def test_labels_that_moved_are_shown_from_best_to_worst(tmp_path: Path, capsys) -> None:
    """Five of those that gained and of those that lost, told apart first; all on demand."""
    random = np.random.default_rng(0)
    names = [f"label{i}" for i in range(14)]
    truth = (random.random((60, 14)) < 0.5).astype(int)
    noise = random.normal(size=(2, 60, 14))
    growing = np.linspace(0.5, 1.2, 14)
    files = [
        write(tmp_path / "a.csv", 1 / (1 + np.exp(-(truth + growing * noise[0]))), names),
        write(tmp_path / "b.csv", 1 / (1 + np.exp(-(truth + growing[::-1] * noise[1]))), names),
    ]
    given = (*files, "--targets", write(tmp_path / "t.csv", truth, names), "--resamples", 100)

    def shown(*more: str) -> list[str]:
        assert run(*given, *more) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line.split("│")[1].strip() for line in lines if line.startswith("│ label")]

    told = run_json(capsys, *given)["comparison"]["labels"]
    rows = sorted(told, key=lambda row: -row["value"])
    assert shown("--per-label") == [row["label"] for row in rows]
    wanted = []
    for sign in (1, -1):
        side = [row for row in rows if sign * row["value"] > 0]
        side.sort(key=lambda row: (row["low"] <= 0 <= row["high"], -abs(row["value"])))
        wanted += side[:5]
    assert len(wanted) == 10
    assert any(row["low"] <= 0 <= row["high"] for row in wanted)
    assert any(row["low"] > 0 for row in wanted)
    assert shown() == [row["label"] for row in rows if row in wanted]


def test_equal_files_are_not_told_apart(files, capsys) -> None:
    a, _, truth = files
    assert run(a, a, "--targets", truth, "--resamples", 100) == 0
    printed = capsys.readouterr().out
    assert "so these 60 images do not show which of A and B is better." in printed
    assert "No label has another AP." in printed
    assert "label, AP %" not in printed


def test_different_images_are_refused_unless_told(targets, files, tmp_path, capsys) -> None:
    a, _, truth = files
    scores = scored(targets, 0.5, 2)
    part = write(tmp_path / "part.csv", [*scores[5:], scores[0]], keys=[*KEYS[5:], "new.jpg"])
    assert run(a, part, "--targets", truth) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"5 only in {a} (0.jpg, 1.jpg, 2.jpg, ...)" in captured.err
    assert f"1 only in {part} (new.jpg)" in captured.err
    assert "55 are in both" in captured.err
    assert "--common" in captured.err
    found = run_json(capsys, a, part, "--targets", truth, "--common", "--resamples", 100)
    assert found["comparison"]["images"] == 55
    assert found["notes"][-1] == (
        f"Images that are not in all files are left out: 5 of 60 in {a}, 1 of 56 in {part}, "
        f"5 of 60 in {truth}"
    )


def test_common_holds_for_one_file(targets, files, tmp_path, capsys) -> None:
    part = write(tmp_path / "part.csv", scored(targets, 1.0, 1)[:50])
    assert run(part, "--targets", files[2]) == 2
    assert "10 have targets but no predictions" in capsys.readouterr().err
    found = run_json(capsys, part, "--targets", files[2], "--common")
    assert found["a"]["receipt"]["images"] == 50


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(",0.", ",x0.", 1), "is not a number"),
        (lambda text: text + "0.jpg,0,0,0\n", "1 image occurs more than once: 0.jpg."),
        (lambda text: text.replace("owl", "cow"), "1 without predictions (owl)"),
        (lambda text: text.rpartition(",")[0] + ",inf\n", "1 of 180 scores are NaN or infinite"),
        (lambda text: text.rpartition(",")[0] + ",7\n", "1 of 180 scores are outside 0..1"),
    ],
    ids=["word", "twice", "label", "infinite", "logit"],
)
def test_bad_input_on_either_side_is_told(files, capsys, side: str, change, said: str) -> None:
    broken = files["ab".index(side)]
    broken.write_text(change(broken.read_text()))
    assert run(*files[:2], "--targets", files[2]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert str(broken) in captured.err


def test_what_has_no_value_is_null_or_a_dash(targets, files, capsys) -> None:
    a, b, truth = files
    targets[:, 0] = 0
    write(truth, targets)
    found = run_json(capsys, a, b, "--targets", truth, "--resamples", 100)
    assert found["a"]["profiles"]["srn"]["mAP"] is None
    assert {row["label"] for row in found["comparison"]["labels"]} == {"dog", "owl"}
    write(truth, np.zeros_like(targets))
    found = run_json(capsys, a, b, "--targets", truth, "--resamples", 100)
    assert found["comparison"]["difference"]["mAP"] == {"value": None, "low": None, "high": None}
    assert run(a, b, "--targets", truth, "--resamples", 100) == 0
    assert "mAP: no value, so A and B cannot be compared." in capsys.readouterr().out


def test_the_flags_are_these() -> None:
    found = cli.get_command(click.Context(cli), "compare")
    assert found is not None
    assert [option for param in found.params for option in param.opts] == [
        *("a", "b", "--targets", "--format", "--split", "--logits", "--image-list"),
        *("--label-names", "--common", "--profile", "--threshold", "--per-label"),
        *("--resamples", "--seed", "--json"),
    ]
