"""Work grows with the size of the data, and not with its square.

Each case takes a small part of its limit. With quadratic work, it would take many times as long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.doctor.names import near_names
from manylabel.data.label_sets import LabelSet, apply
from manylabel.data.places import Places
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records
from manylabel.errors import DataError
from manylabel.evaluate.predictions.table import read_predictions
from manylabel.labels import LabelSpace

MANY = 50_000
NAMES = [f"label {number}" for number in range(MANY)]


@contextmanager
def quick(seconds: float = 3.0) -> Iterator[None]:
    """The block needs less processor time than this."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


def test_tables_with_many_columns(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    header = ",".join(NAMES)
    path.write_text(f"image,{header}\na.jpg,{','.join('01' * (MANY // 2))}\n")
    with quick():
        assert len(read(DataSource(path=path)).labels) == MANY
    with quick():
        assert read_predictions(path).scores.shape == (1, MANY)
    path.write_text(f"image,{header},{header}\na.jpg,1\n")
    with quick(), pytest.raises(DataError, match="Columns have the same name"):
        read(DataSource(path=path))


def test_a_quote_in_the_header_that_is_never_closed(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text('image,"cat\n' + "a.jpg,1\n" * MANY)
    with quick(), pytest.raises(DataError, match="more than 131,072 characters"):
        read(DataSource(path=path))


def test_parquet_with_many_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.jpg").write_bytes(b"")
    columns = {"image": ["a.jpg"], **{name: [1] for name in NAMES[:4000]}}
    parquet.write_table(pyarrow.table(columns), tmp_path / "photos.parquet")
    with quick():
        assert len(read(DataSource(path=tmp_path / "photos.parquet")).labels) == 4000


def test_label_names() -> None:
    with quick(), pytest.raises(DataError, match="more than once"):
        LabelSpace([*NAMES, *NAMES])
    alike = ["bag" + "-" * (i % 100) + "_" * (i // 100) for i in range(4000)]
    with quick():
        same, _ = near_names(alike)
    assert len(same) == 3999
    with quick():
        _, close = near_names([f"letter{chr(0x4E00 + i)}" for i in range(4000)])
    assert 3999 <= len(close) < 10_000


def test_label_sets_with_many_labels() -> None:
    labels = LabelSpace(NAMES[:20_000])
    records = Records(
        labels=labels,
        keys=("a.jpg",),
        images=Places.below(Path("photos"), ("a.jpg",)),
        targets=np.ones((1, len(labels)), dtype=np.int8),
        source="photos",
    )
    names = labels.names
    change = LabelSet(
        rename={name: f"new {name}" for name in names},
        merge={f"m{i}": (f"new {names[i]}", f"new {names[i + 1]}") for i in range(0, 20_000, 2)},
        order=tuple(f"m{i}" for i in range(19_998, -1, -2)),
    )
    with quick():
        assert apply(change, records).labels.names == change.order
