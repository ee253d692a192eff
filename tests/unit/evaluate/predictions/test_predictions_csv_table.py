"""The two ways to read a table of predictions give the same numbers and the same errors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from cases import case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manylabel.errors import DataError
from manylabel.evaluate.predictions import csv_table
from manylabel.evaluate.predictions.csv_table import read_table
from manylabel.evaluate.predictions.files import write_csv

pyarrow = pytest.importorskip("pyarrow")

quick = settings(
    max_examples=300,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

TABLES = (
    "image,a,b\nx.jpg,0.1,2e-3\ny.jpg,1,0.5\n",
    "image,a\nx.jpg,nan\ny.jpg,-inf\n",
    "image,a\nx.jpg,1_0\ny.jpg,+0.5\n",
    "a,image,b\n0.5,x.jpg,0.25\n",
    "image\nx.jpg\ny.jpg\n",
    "image,a\nx.jpg,0.30000000000000004441\ny.jpg,1e-400\nz.jpg,0.1000000000000000055511\n",
)
UNUSUAL = (
    "image;a;b\r\nx.jpg;0.1;1\r\n\r\n",
    "\ufeff\n\nimage,a\nx.jpg, 0.25 \n",
    'image,"a,b"\n"x,1.jpg",0.5\n',
    "image,a\rx.jpg,0.5\ny.jpg,0.25\n",
    "image,a\nx.jpg,0.5\ry.jpg,0.25\n",
)
FAULTS = {
    "image,a\nx.jpg,0.5\ny.jpg,high\n": ("'high' is not a number.", "line 3, column 'a'"),
    "image,a\nx.jpg,0.5\ny.jpg,\n": ("'' is not a number.", "line 3, column 'a'"),
    "image,a\n\nx.jpg,NA\n": ("'NA' is not a number.", "line 3, column 'a'"),
    "image,a,b\nx.jpg,0.5\n": ("The row has 2 cells, but the header has 3.", "line 2"),
    "image,a\nx.jpg,0.5,0.5\n": ("The row has 3 cells, but the header has 2.", "line 2"),
    'image,a\nx.jpg,"0.5\n': ("The row cannot be read", "line 2"),
    "image,a\n": ("The table has no rows.", ".csv"),
    "": ("The table has no rows.", ".csv"),
    "name,a\nx.jpg,0.5\n": ("There is no column 'image'.", ".csv"),
    "image,a\nx.jpg,0.\0005\n": ("is not a number.", "line 2, column 'a'"),
    "image,a\n\udcff.jpg,0.5\n": ("The file is not UTF-8 text", "line 2"),
}


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Reads a text in both ways, which must agree, and gives what they read or the error."""

    def read(text: str):
        path = tmp_path / "scores.csv"
        path.write_bytes(text.encode(errors="surrogateescape"))
        results = []
        for module in (pyarrow, None):
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, "pyarrow", module)
                try:
                    keys, labels, values, notes = read_table(path)
                    assert not notes
                    results.append((keys, labels, values.tobytes(), values.shape))
                except DataError as error:
                    results.append((error.what, error.where))
        assert results[0] == results[1]
        return results[0]

    return read


def test_both_ways_give_pythons_numbers(both) -> None:
    for text in TABLES:
        with case(text=text):
            keys, labels, values, shape = both(text)
            assert shape == (len(keys), len(labels))
            header, *rows = (line.split(",") for line in text.splitlines())
            del header[(image := header.index("image"))]
            assert labels == header
            assert keys == [row.pop(image) for row in rows]
            assert values == np.array([[float(cell) for cell in row] for row in rows]).tobytes()


def test_both_ways_read_unusual_tables(both) -> None:
    found = [both(text) for text in UNUSUAL]
    assert [keys for keys, *_ in found] == [
        *(["x.jpg"], ["x.jpg"], ["x,1.jpg"], ["x.jpg", "y.jpg"], ["x.jpg", "y.jpg"])
    ]


def test_both_ways_give_the_same_errors(both) -> None:
    for text, (what, where) in FAULTS.items():
        with case(text=text):
            found = both(text)
            assert what in found[0]
            assert found[1].endswith(where)


cell = st.floats(width=64).map(repr) | st.text("0123456789.eE+-_ nainfNA\t,\"'\n\r;é", max_size=6)


@quick
@given(st.lists(st.lists(cell, min_size=2, max_size=2), min_size=1, max_size=4), st.booleans())
def test_both_ways_agree_on_anything(both, rows: list[list[str]], windows: bool) -> None:
    end = "\r\n" if windows else "\n"
    both(end.join(["image,a,b", *(f"{i}.jpg,{','.join(row)}" for i, row in enumerate(rows))]))


def test_plain_tables_are_read_the_quick_way(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(csv_table, "_read_exactly", None)
    monkeypatch.setattr(csv_table, "_AT_ONCE", 64)  # several parts
    keys = [f"{number}.jpg" for number in range(50)]
    scores = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    for name in ("scores.csv", "scores.tsv"):
        write_csv(tmp_path / name, keys, ["a", "b", "c"], scores)
        found = read_table(tmp_path / name)
        assert found[:2] == (keys, ["a", "b", "c"])
        assert np.array_equal(found[2], scores)


def test_names_like_formulas_are_read_back(tmp_path: Path) -> None:
    names = ["=1+1", "'=1", "''@x", "-a", "+a", "@a", "'a", "\uff1d1", "a=1"]
    path = tmp_path / "scores.csv"
    write_csv(path, names, names, np.zeros((len(names), len(names))))
    assert read_table(path)[:2] == (names, names)
    cells = [line.split(",")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert cells == ["'=1+1", "''=1", "'''@x", "'-a", "'+a", "'@a", "'a", "'\uff1d1", "a=1"]
