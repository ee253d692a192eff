"""A folder of a Hugging Face data set cannot name files elsewhere."""

from __future__ import annotations

import json
import socket

import pytest

from manylabel.data.readers.huggingface import read_huggingface
from manylabel.errors import DataError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def connections(monkeypatch):
    """Every connection that is tried. None succeeds."""
    tried = []

    def refuse(_socket, address):
        tried.append(address)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **_: refuse(None, given))
    return tried


def made(name="a.jpg"):
    return datasets.Dataset.from_dict({"image": [name], "labels": [["cat"]]})


def test_a_readme_is_not_obeyed(tmp_path, connections):
    folder, other = tmp_path / "d", tmp_path / "other.parquet"
    (folder / "data").mkdir(parents=True)
    (folder / "a.jpg").touch()
    made().to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    made("secret.jpg").to_parquet(other)
    for path in ("http://127.0.0.1:9/evil.parquet", "hf://datasets/org/name/a.parquet", str(other)):
        (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files:\n"
            f"  - split: train\n    path: {path}\n---\n"
        )
        records = read_huggingface(folder)
        assert list(records.keys) == ["a.jpg"]
        assert records.split_names() == ["train"]
    assert connections == []


def test_splits_by_the_names_of_files(tmp_path):
    files = ["test/0.parquet", "x-train.parquet", "dev-00000-of-00001.parquet", "hidden.parquet"]
    for number, name in enumerate(files):
        path = tmp_path / "d[1]" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d[1]" / f"{number}.jpg").touch()
        made(f"{number}.jpg").to_parquet(path)
    (tmp_path / "d[1]" / ".hidden.parquet").write_bytes(b"")
    records = read_huggingface(tmp_path / "d[1]")
    assert [(record.key, record.split) for record in records] == [
        ("1.jpg", "train"),
        ("2.jpg", "val"),
        ("0.jpg", "test"),
        ("3.jpg", None),
    ]


@pytest.mark.parametrize("name", ["../other/data.arrow", "/etc/passwd", "..", "x::http:", "none"])
def test_saved_files_are_in_their_folder(tmp_path, connections, name):
    made().save_to_disk(tmp_path / "other")
    made().save_to_disk(tmp_path / "d")
    state = json.loads((tmp_path / "d" / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (tmp_path / "d" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="not an ordinary file or folder beside it"):
        read_huggingface(tmp_path / "d")
    (tmp_path / "d" / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(DataError):
        read_huggingface(tmp_path / "d")
    assert connections == []


def test_a_folder_without_parquet_files(tmp_path, connections):
    (tmp_path / "loader.py").write_text("raise SystemExit")
    (tmp_path / "data.csv").write_text("image,cat\na.jpg,1\n")
    with pytest.raises(DataError, match="no Parquet file"):
        read_huggingface(tmp_path)
    with pytest.raises(DataError, match="no Parquet file"):
        read_huggingface(tmp_path, subset="x")
    assert connections == []
