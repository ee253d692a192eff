"""`manylabel score`: what it prints, and how it tells input that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    hamming_loss,
    label_ranking_average_precision_score,
    label_ranking_loss,
)

from manylabel.cli.figures import ADDITIONAL
from manylabel.cli.main import cli, main
from manylabel.metrics.additional import measure_additional
from manylabel.metrics.bootstrap import draw_weights

NAMES = ("cat", "dog", "owl")


def write(path: Path, rows, names=NAMES, keys=None) -> Path:
    keys = keys or [f"{i}.jpg" for i in range(len(rows))]
    lines = [",".join(["image", *names])]
    lines += [",".join([key, *map(str, row)]) for key, row in zip(keys, rows, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def made():
    random = np.random.default_rng(5)
    targets = (random.random((40, 3)) < 0.4).astype(int)
    scores = np.round(1 / (1 + np.exp(-(2 * targets - 1 + random.normal(size=(40, 3))))), 4)
    return scores, targets


@pytest.fixture
def files(made, tmp_path: Path) -> tuple[Path, Path]:
    scores, targets = made
    return write(tmp_path / "scores.csv", scores), write(tmp_path / "truth.csv", targets)


def run(scores: Path, truth: Path, *arguments: object) -> int:
    given = ["score", "--predictions", scores, "--targets", truth, *arguments]
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in given])
    return int(ended.value.code or 0)


def run_json(capsys, *arguments: object) -> dict:
    assert run(*arguments, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out, parse_constant=no_constant)


def no_constant(word: str):
    raise AssertionError(f"{word} is no JSON")


def test_json_has_the_figures_of_profiles_and_beyond(made, files, capsys) -> None:
    scores, targets = made
    found = run_json(capsys, *files)
    assert {"mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top3", "receipt", "notes"} <= set(found)
    assert "intervals" not in found
    more = found["more"]
    assert more == {**measure_additional(scores, targets), "threshold": 0.5}
    expected = {
        "mAP_macro": average_precision_score(targets, scores, average="macro"),
        "AP_micro": average_precision_score(targets, scores, average="micro"),
        "mAP_weighted": average_precision_score(targets, scores, average="weighted"),
        "LRAP": label_ranking_average_precision_score(targets, scores),
        "ranking_loss": label_ranking_loss(targets, scores),
        "coverage_error": coverage_error(targets, scores),
        "hamming_loss": hamming_loss(targets, scores >= 0.5),
    }
    assert {name: more[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_more_is_decided_by_the_threshold_given(made, files, capsys) -> None:
    scores, targets = made
    more = run_json(capsys, *files, "--threshold", 0.7)["more"]
    assert more["threshold"] == 0.7
    assert more["hamming_loss"] == pytest.approx(hamming_loss(targets, scores >= 0.7), abs=1e-12)


def test_intervals_are_those_of_drawn_images(made, files, capsys) -> None:
    """Against scikit-learn on images that are taken one by one, as often as the draw says."""
    scores, targets = made
    found = run_json(capsys, *files, "--intervals", "--resamples", 100, "--seed", 3)["intervals"]
    each = []
    for taken in draw_weights(40, draws=100, seed=3):
        rows = np.repeat(np.arange(40), taken)
        each.append(average_precision_score(targets[rows], scores[rows], average=None))
    low, high = np.quantile(each, (0.025, 0.975), axis=0)
    told = found["labels"]
    assert [row["label"] for row in told] == list(NAMES)
    np.testing.assert_allclose([row["low"] for row in told], low, atol=1e-12)
    np.testing.assert_allclose([row["high"] for row in told], high, atol=1e-12)
    mean = np.quantile(np.mean(each, axis=1), (0.025, 0.975))
    np.testing.assert_allclose([found["mAP"]["low"], found["mAP"]["high"]], mean, atol=1e-12)
    assert found["mAP"]["low"] < found["mAP"]["value"] < found["mAP"]["high"]
    settings = {name: found[name] for name in ("profile", "threshold", "resamples", "seed")}
    assert settings == {"profile": "manylabel", "threshold": 0.5, "resamples": 100, "seed": 3}


@pytest.mark.parametrize("profile", ["srn", "q2l", "asl", "manylabel"])
def test_what_has_no_value_is_null(made, tmp_path: Path, capsys, profile: str) -> None:
    scores, targets = made[0].copy(), made[1].copy()
    targets[:, 1] = 0
    files = write(tmp_path / "s.csv", scores), write(tmp_path / "t.csv", targets)
    found = run_json(capsys, *files, "--profile", profile, "--intervals", "--resamples", 100)
    empty = found["intervals"]["labels"][1]
    assert empty == {"label": "dog", "value": None, "low": None, "high": None}
    assert (found["mAP"] is None) == (profile in {"srn", "q2l"})


def test_nothing_known_has_no_value(tmp_path: Path, capsys) -> None:
    files = write(tmp_path / "s.csv", [[0.5] * 3]), write(tmp_path / "t.csv", [[-1] * 3])
    found = run_json(capsys, *files, "--intervals", "--resamples", 100)
    assert found["mAP"] is None
    assert found["more"]["LRAP"] is None
    assert found["intervals"]["mAP"] == {"value": None, "low": None, "high": None}


def test_tables_come_on_demand(made, files, capsys) -> None:
    assert run(*files) == 0
    plain = capsys.readouterr().out
    assert "beyond profiles" not in plain
    assert "95 % interval" not in plain
    assert run(*files, "--more", "--intervals", "--resamples", 100, "--per-label") == 0
    out = capsys.readouterr().out
    figures = measure_additional(*made)
    for name in ADDITIONAL:
        line = next(line for line in out.splitlines() if line.startswith(f"│ {name} "))
        value = figures[name] * (1 if name == "coverage_error" else 100)
        assert line.split("│")[2].strip() == f"{value:.2f}"
    for name in NAMES:
        assert any(line.startswith(f"│ AP {name} ") for line in out.splitlines())
    assert "the middle 95 % of 100 resamples of the images, seed 0" in out


def test_every_figure_is_said_in_words() -> None:
    assert list(ADDITIONAL) == list(measure_additional([[0.9, 0.1]], [[1, 0]]))


def test_labels_and_images_in_another_order_are_matched_by_name(made, tmp_path, capsys) -> None:
    scores, targets = made
    truth = write(tmp_path / "t.csv", targets)
    keys = [f"{i}.jpg" for i in range(40)]
    plain = run_json(capsys, write(tmp_path / "s.csv", scores), truth)
    turned = write(tmp_path / "u.csv", scores[::-1, ::-1], NAMES[::-1], keys[::-1])
    found = run_json(capsys, turned, truth)
    del plain["receipt"]["predictions"], found["receipt"]["predictions"]
    assert found == plain


TRUTH = "image,cat,dog\na.jpg,1,0\nb.jpg,0,1\nc.jpg,1,1\n"
BAD = {
    "nan": ("image,cat,dog\na.jpg,nan,0\nb.jpg,0,nan\nc.jpg,0,0\n",
            "2 of 6 scores are NaN or infinite: a.jpg, cat: nan; b.jpg, dog: nan."),
    "infinite": ("image,cat,dog\na.jpg,0,0\nb.jpg,-inf,0\nc.jpg,0,inf\n",
                 "2 of 6 scores are NaN or infinite: b.jpg, cat: -inf; c.jpg, dog: inf."),
    "out of range": ("image,cat,dog\na.jpg,1.5,0\nb.jpg,0,-2\nc.jpg,0,0\n",
                     "2 of 6 scores are outside 0..1; the range is -2 to 1.5."),
    "rows differ": ("image,cat,dog\na.jpg,0,0\nb.jpg,0\nc.jpg,0,0\n",
                    "The row has 2 cells, but the header has 3."),
    "a label less": ("image,cat\na.jpg,0\nb.jpg,0\nc.jpg,0\n",
                     "1 without predictions (dog)"),
    "a label more": ("image,cat,dog,owl\na.jpg,0,0,0\nb.jpg,0,0,0\nc.jpg,0,0,0\n",
                     "1 without targets (owl)"),
    "label twice": ("image,cat,dog,cat\na.jpg,0,0,0\nb.jpg,0,0,0\nc.jpg,0,0,0\n", "cat"),
    "image twice": ("image,cat,dog\na.jpg,0,0\nb.jpg,0,0\n./a.jpg,0,0\nc.jpg,0,0\n",
                    "1 image occurs more than once: a.jpg."),
    "images less": ("image,cat,dog\nb.jpg,0,0\n",
                    "2 have targets but no predictions (a.jpg, c.jpg)"),
    "images more": ("image,cat,dog\na.jpg,0,0\nb.jpg,0,0\nc.jpg,0,0\nd.jpg,0,0\n",
                    "1 have predictions but no targets (d.jpg)"),
    "empty": ("", "s.csv"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_told(tmp_path: Path, capsys, content: str, said: str) -> None:
    (tmp_path / "s.csv").write_text(content)
    (tmp_path / "t.csv").write_text(TRUTH)
    assert run(tmp_path / "s.csv", tmp_path / "t.csv") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert str(tmp_path / "s.csv") in captured.err
    assert "fix:" in captured.err


def test_arrays_whose_shapes_differ_are_told(tmp_path: Path, capsys) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, images=["a.jpg"], labels=["cat", "dog"], scores=np.zeros((2, 2)))
    (tmp_path / "t.csv").write_text(TRUTH)
    assert run(path, tmp_path / "t.csv") == 2
    said = capsys.readouterr().err
    assert "The scores are float64 [2, 2], but the file names 1 image and 2 labels." in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threshold", "nan"],
        ["--threshold", "1.5"],
        ["--resamples", "0"],
        ["--seed", "-1"],
        ["--profile", "sr"],
        ["--split", "val"],
    ],
    ids=" ".join,
)
def test_settings_that_do_not_fit_are_told(files, capsys, arguments: list[str]) -> None:
    assert run(*files, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error" in captured.err


def test_files_that_are_not_there_are_told(files, tmp_path: Path, capsys) -> None:
    for given in ((tmp_path / "no.csv", files[1]), (files[0], tmp_path / "no.csv")):
        assert run(*given) == 2
        assert str(tmp_path / "no.csv") in capsys.readouterr().err


def test_the_flags_are_these() -> None:
    found = cli.get_command(click.Context(cli), "score")
    assert found is not None
    assert [option for param in found.params for option in param.opts] == [
        *("--predictions", "--targets", "--format", "--split", "--logits"),
        *("--image-list", "--label-names", "--common", "--profile", "--threshold"),
        "--thresholds",
        *("--per-label", "--more", "--intervals", "--resamples", "--seed", "--json"),
    ]


def test_thresholds_by_label_decide_by_name(made, files, tmp_path: Path, capsys):
    """Against a direct count; the file names the labels in another order."""
    scores, targets = made
    each = {"owl": 0.7, "cat": 0.2, "dog": 0.55}
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps(each))
    found = run_json(capsys, *files, "--thresholds", path, "--intervals", "--resamples", 100)
    decided = scores >= [each[name] for name in NAMES]
    assert found["OP"] == pytest.approx(targets[decided].sum() / decided.sum())
    assert found["more"]["subset_accuracy"] == pytest.approx((decided == targets).all(1).mean())
    assert found["more"]["threshold"] == found["intervals"]["threshold"] == [0.2, 0.55, 0.7]
    assert found["intervals"]["OF1"]["value"] == pytest.approx(found["OF1"])
    assert found["receipt"]["thresholds"] == f"per label, from {path}"
    assert run(*files, "--thresholds", path, "--more", "--intervals", "--resamples", 100) == 0
    assert capsys.readouterr().out.count("score >= the label's threshold") == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"cat": 0.2, "dog": 0.5}', "1 of 3 labels have no threshold: owl"),
        ('{"thresholds": {"cat": 0.2, "dog": 0.5, "owl": 1.5}}', "threshold of 'owl' is 1.5"),
        ('{"cat": 0.2, "dog": "half", "owl": 0.5}', "threshold of 'dog' is 'half'"),
        ("[0.2, 0.5, 0.5]", "does not hold a threshold for each label"),
        ('{"thresholds": ["cat", "dog", "owl"]}', "does not hold a threshold for each label"),
        ('{"cat": 0.2, "dog": 0.5, "owl": NaN}', "NaN is not a number"),
        ('{"cat": 0.2, "dog": 0.5, "owl": 0.5, "cat": 0.9}', "'cat' is given twice"),
        ('{"cat": 0.2', "it is not JSON"),
    ],
)
def test_thresholds_that_cannot_be_used(files, tmp_path: Path, capsys, given: str, said: str):
    path = tmp_path / "thresholds.json"
    path.write_text(given)
    assert run(*files, "--thresholds", path) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_one_threshold_and_many_do_not_go_together(files, tmp_path: Path, capsys):
    path = tmp_path / "thresholds.json"
    path.write_text('{"cat": 0.2, "dog": 0.5, "owl": 0.5}')
    assert run(*files, "--thresholds", path, "--threshold", 0.5) == 2
    assert "cannot be used together" in capsys.readouterr().err
