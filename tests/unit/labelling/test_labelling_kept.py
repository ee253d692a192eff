"""Nothing that a person wrote is lost."""

import json

import pytest

from manylabel.errors import ConfigError
from manylabel.labelling.kept import hashes, keep_changed, require_replaceable


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("labels.csv", "check.csv"):
        (out / name).write_text(f"of {name}\n")
    (out / "label.json").write_text(json.dumps({"tables": hashes(out)}))
    return out


def test_unchanged_results_may_be_replaced(folder, tmp_path):
    require_replaceable(folder, [])
    require_replaceable(tmp_path / "none", [])


@pytest.mark.parametrize("name", ["labels.csv", "run", "check.html"])
def test_files_of_others_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(ConfigError, match=f"'{name}', which this command did not write"):
        require_replaceable(tmp_path, [tmp_path / name])


def test_a_damaged_summary_is_none(folder):
    (folder / "label.json").write_text("{")
    with pytest.raises(ConfigError, match="did not write"):
        require_replaceable(folder, [])


def test_a_changed_table_has_to_be_given(folder):
    (folder / "check.csv").write_text("corrected\n")
    with pytest.raises(ConfigError, match=r"check\.csv was changed"):
        require_replaceable(folder, [folder / "labels.csv"])
    require_replaceable(folder, [folder / ".." / "out" / "check.csv"])


def test_a_changed_table_is_copied_under_a_free_name(folder, tmp_path):
    (folder / "check.csv").write_text("corrected\n")
    (folder / "check-changed-1.csv").write_text("of before\n")
    staging = tmp_path / "staging"
    staging.mkdir()
    assert keep_changed(folder, staging) == ["check-changed-2.csv"]
    assert (staging / "check-changed-2.csv").read_text() == "corrected\n"
    assert [path.name for path in staging.iterdir()] == ["check-changed-2.csv"]
