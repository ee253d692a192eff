"""What tables of other programs hold, by kinds: CSV and Parquet are read alike, or both refused."""

from __future__ import annotations

import csv
import unicodedata

import pytest

from manylabel.data.read import DataSource, read
from manylabel.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    """Writes a table of texts as CSV or as Parquet, and reads it."""

    def read_table(rows, **settings):
        header, *cells = rows
        for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"):
            (tmp_path / name).touch()
        path = tmp_path / f"photos.{request.param}"
        if request.param == "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
        else:
            columns = {name: [row[i] for row in cells] for i, name in enumerate(header)}
            parquet.write_table(pyarrow.table(columns), path)
        return read(DataSource(path=path, **settings))

    return read_table


def column(*cells):
    """A table with a column of labels."""
    return [("image", "labels"), *((f"{i}.jpg", cell) for i, cell in enumerate(cells, start=1))]


def columns(header, *rows):
    """A table with a column for each label."""
    return [
        ("image", *header.split()),
        *((f"{i}.jpg", *row.split("|")) for i, row in enumerate(rows, 1)),
    ]


def labels_of(records):
    return [records.labels.decode(record.targets) for record in records]


# Lists in a cell


@pytest.mark.parametrize(
    "cells",
    [
        ("['heron', 'grey reed']", "['otter']", "[]"),
        ('["heron", "grey reed"]', '["otter"]', ""),
        ("('heron', 'grey reed')", "('otter',)", "()"),
        ("{'heron', 'grey reed'}", "{'otter'}", "set()"),
        ('{heron,"grey reed"}', "{otter}", "{}"),
        ("{heron,grey reed}", "{otter}", "{}"),
        ("[heron, grey reed]", "[otter]", "[]"),
        ("['heron' 'grey reed']", "['otter']", "[]"),
        ("['heron'\n 'grey reed']", "['otter']", "[]"),
        (
            "array(['heron', 'grey reed'], dtype=object)",
            "array(['otter'], dtype='<U5')",
            "array([])",
        ),
        ("[np.str_('heron'), np.str_('grey reed')]", "[np.str_('otter')]", "[]"),
        ("[u'heron', u'grey reed']", "[u'otter']", "[]"),
        ('{"choices": ["heron", "grey reed"]}', '{"choices": ["otter"]}', "[]"),
        ("frozenset({'heron', 'grey reed'})", "frozenset({'otter'})", "frozenset()"),
        ('"[\\"heron\\", \\"grey reed\\"]"', '"[\\"otter\\"]"', "[]"),
        ("['heron', 'grey reed']", "['otter', nan]", "[None]"),
    ],
)
def test_a_list_in_a_cell_is_read(table, cells):
    found = labels_of(table(column(*cells)))
    assert [set(names) for names in found] == [{"heron", "grey reed"}, {"otter"}, set()]


def test_words_in_quotes_are_decoded(table):
    found = table(column('["\\u00e9tang", "a \\"b\\""]', "['it\\'s', \"d'or\"]"))
    assert labels_of(found) == [['a "b"', "étang"], ["d'or", "it's"]]


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (("['heron', 'reed']", "otter"), "other cells hold lists"),
        (("['heron', 'reed", "['otter']"), "other cells hold lists"),
        (("['heron', 'reed", "otter"), "quote"),
        (("[heron", "otter"), "begins with a bracket"),
        (("heron]", "otter"), "ends with a bracket"),
        (('"heron"', "otter"), "quote"),
        (("'heron', 'reed'", "'otter'"), "quote"),
        (("['heron' ... 'reed']", "['otter']"), "shortened"),
        (("{'heron': 1, 'reed': 0}", "{'heron': 0, 'reed': 1}"), "dictionary"),
        (('[{"label": "heron", "x": 3}]', "[]"), "JSON objects"),
        (("[['heron'], ['reed']]", "[['otter']]"), "lists in a list"),
        (("#REF!", "otter"), "error of a spreadsheet"),
    ],
)
def test_a_piece_of_a_list_is_no_label(table, cells, what):
    with pytest.raises(DataError, match=what) as caught:
        table(column(*cells))
    assert (
        "line 2" in caught.value.where or "row 1" in caught.value.where or "3" in caught.value.where
    )
    assert "label_cells=text" in caught.value.fix


def test_brackets_and_quotes_can_belong_to_names(table):
    cells = ("[heron", "'otter'", "none")
    found = table(column(*cells), label_cells="text", missing_words="label")
    assert found.labels.names == ("'otter'", "[heron", "none")


@pytest.mark.parametrize(
    "cells",
    [("cat (animal)|dog", "dog"), ("(other)|dog", "dog"), (":)|:(", ":("), ("12\"|boys'", "x")],
)
def test_brackets_inside_of_names_stay(table, cells):
    first = cells[0].split("|")
    assert set(labels_of(table(column(*cells)))[0]) == set(first)


@pytest.mark.parametrize("cells", [("[0, 1, 0]", "[1, 1, 0]"), ("0 1 0", "1 1 0"), ("010", "110")])
def test_a_vector_in_a_cell_needs_names(table, tmp_path, cells):
    with pytest.raises(DataError, match="numbers, not names") as caught:
        table(column(*cells))
    assert "--option label_names=" in caught.value.fix
    (tmp_path / "names.txt").write_text("heron\nreed\notter\n", encoding="utf-8")
    found = table(column(*cells), label_names=tmp_path / "names.txt")
    assert found.labels.names == ("heron", "reed", "otter")
    assert found.targets.tolist() == [[0, 1, 0], [1, 1, 0]]


def test_a_file_of_names_orders_labels(table, tmp_path):
    (tmp_path / "names.txt").write_text("reed\nheron\nnever\n", encoding="utf-8")
    found = table(column("heron|reed", "reed"), label_names=tmp_path / "names.txt")
    assert found.targets.tolist() == [[1, 1, 0], [1, 0, 0]]


# Words for missing values


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "None", "NA", "N/A", "null", "NULL", "<NA>", "#N/A"]
)
def test_a_missing_value_is_no_label(table, word):
    found = table(column("crack|moss", word, f"crack|{word}"))
    assert labels_of(found) == [["crack", "moss"], [], ["crack"]]
    assert repr(word) in found.summary()
    assert "missing_words=label" in found.summary()
    kept = table(column("crack|moss", word, f"crack|{word}"), missing_words="label")
    assert word in kept.labels


@pytest.mark.parametrize("gap", ["", "nan", "NULL", "#N/A"])
def test_a_missing_value_in_a_column_of_a_label_is_unknown(table, gap):
    found = table(columns("crack moss rust", f"1.0|0.0|{gap}", f"0.0|1.0|{gap}", "1.0|1.0|1.0"))
    assert found.labels.names == ("crack", "moss", "rust")
    assert found.targets.tolist() == [[1, 0, -1], [0, 1, -1], [1, 1, 1]]


def test_numbers_with_nan_in_parquet_are_those_of_the_csv(tmp_path):
    (tmp_path / "1.jpg").touch()
    images, rust = ["1.jpg", "2.jpg", "3.jpg"], [float("nan"), 1.0, float("nan")]
    parquet.write_table(
        pyarrow.table({"image": images, "rust": rust, "moss": [1, 0, 1]}), tmp_path / "t.parquet"
    )
    (tmp_path / "t.csv").write_text("image,rust,moss\n1.jpg,nan,1\n2.jpg,1.0,0\n3.jpg,nan,1\n")
    one, other = (read(DataSource(path=tmp_path / name)) for name in ("t.parquet", "t.csv"))
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("cells", [("", ""), ("nan", "None")])
def test_a_column_without_a_label_is_told(table, cells):
    with pytest.raises(DataError, match="'labels' is empty in every row"):
        table(column(*cells))


# The mark between labels


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (
            ("smile, hat", "hat, lake", "smile, ;), lake", "lake", "smile, lake", "hat"),
            {"smile", "hat", "lake", ";)"},
        ),
        (
            ("smile, hat", "hat, lake", "smile, |_|, lake", "lake", "smile, lake", "hat"),
            {"smile", "hat", "lake", "|_|"},
        ),
        (
            ("smile;hat", "hat;lake", "smile;(o,o);lake", "lake;hat", "smile;lake", "hat"),
            {"smile", "hat", "lake", "(o,o)"},
        ),
        (
            ("smile hat", "hat lake", "smile ;) lake", "lake", "smile lake", "hat smile"),
            {"smile", "hat", "lake", ";)"},
        ),
        (
            ("bus stop, red car", "red car", "bus stop", "bus stop, tree", "tree", "red car, tree"),
            {"bus stop", "red car", "tree"},
        ),
        (("table, dining;chair", "chair;table, dining", "chair"), {"table, dining", "chair"}),
        (("cat;", "dog;", "cat;"), {"cat", "dog"}),
        (("cat\ndog", "dog"), {"cat", "dog"}),
        (("traffic light", "traffic cone", "bus"), {"traffic light", "traffic cone", "bus"}),
    ],
)
def test_the_mark_that_most_cells_support(table, cells, names):
    assert set(table(column(*cells)).labels) == names


@pytest.mark.parametrize(
    "cells",
    [
        ("a,b", "c;d", "a;c", "b,d"),
        ("x|y,z",),
        ("tench, Tinca tinca", "tench, Tinca tinca", "carp, C. carpio", "carp, C. carpio"),
        ("red car", "red bus", "blue car", "blue bus", "green car", "green bus"),
    ],
)
def test_two_marks_are_a_question(table, cells):
    with pytest.raises(DataError, match="unclear what separates") as caught:
        table(column(*cells))
    assert "--label-delimiter" in caught.value.fix
    whole = table(column(*cells), label_delimiter="~")
    assert set(whole.labels) == set(cells)


# What columns are taken for


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        ("yes|no|YES|No", [1, 0, 1, 0]),
        ("TRUE|FALSE|true|False", [1, 0, 1, 0]),
        ("y|n|t|f", [1, 0, 1, 0]),
        ("WAHR|FALSCH|ja|nein", [1, 0, 1, 0]),
        ("1|0|yes|", [1, 0, 1, -1]),
        ("x||X|", [1, 0, 1, 0]),
        ("✓||✓|", [1, 0, 1, 0]),
        ("x|0||", [1, 0, -1, -1]),
        ("1,0|0,0|-1,0|+1", [1, 0, -1, 1]),
        ("1.00|0.00|1|0", [1, 0, 1, 0]),
    ],
)
def test_truth_in_words_marks_and_numbers(table, words, targets):
    found = table(columns("cat", *words.split("|")))
    assert found.targets[:, 0].tolist() == targets


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (("0", "3", "0", "2", "5"), "counts"),
        (("0", "0", "0", "1", "5"), "'5' is not a target"),
        (("0.33", "0.67", "1", "0", "0.2"), "between 0 and 1"),
        (("0,33", "0,67", "1,0", "0,2", "0,5"), "between 0 and 1"),
        (("1", "0", "?", "1", "0"), r"'\?' is not a target"),
        (("1", "0", "maybe", "perhaps", "no idea"), "'maybe' is not a target"),
        (("", "", "", "", ""), "'owl' is empty in every row"),
        (("nan", "nan", "nan", "nan", "nan"), "'owl' is empty in every row"),
    ],
)
def test_a_column_that_is_nearly_a_label_is_told(table, cells, what):
    rows = columns("cat owl", *(f"{i % 2}|{cell}" for i, cell in enumerate(cells)))
    with pytest.raises(DataError, match=what) as caught:
        table(rows)
    assert "column 'owl'" in caught.value.where
    assert "ignored_columns" in caught.value.fix
    assert table(rows, ignored_columns=("owl",)).labels.names == ("cat",)


@pytest.mark.parametrize(
    "cells",
    [
        ("1999", "2003", "2004"),
        ("51.5", "48.1", "-3.2"),
        ("Ada", "Ada", "Eva"),
        ("0.5", "2", "7.3"),
    ],
)
def test_columns_of_other_things_are_ignored_and_told(table, cells):
    found = table(columns("cat other", *(f"{i % 2}|{cell}" for i, cell in enumerate(cells))))
    assert found.labels.names == ("cat",)
    assert "Ignored columns: 'other'" in found.summary()


def test_a_column_of_numbers_of_rows_is_no_label(table):
    found = table(columns("id cat", "0|1", "1|0"))
    assert found.labels.names == ("cat",)


BOXES = [
    ("filename", "class", "xmin", "truncated", "difficult"),
    ("1.jpg", "crane", "3", "0", "0"),
    ("1.jpg", "truck", "5", "0", "0"),
    ("2.jpg", "crane", "12", "1", "0"),
    ("3.jpg", "mixer", "2", "0", "1"),
]


def test_flags_beside_a_class_are_no_labels(table):
    assert labels_of(table(BOXES)) == [["crane", "truck"], ["crane"], ["mixer"]]


def test_flags_beside_a_text_are_a_question(table):
    rows = [("species" if cell == "class" else cell for cell in row) for row in BOXES]
    with pytest.raises(DataError, match="unclear which columns") as caught:
        table([tuple(row) for row in rows])
    assert "--label-column species" in caught.value.fix


def test_labels_beside_a_class_are_a_question(table):
    rows = [("image", "class", "cat"), ("1.jpg", "indoor", "1"), ("2.jpg", "outdoor", "0")]
    with pytest.raises(DataError, match="unclear which columns") as caught:
        table(rows)
    assert "--label-column class" in caught.value.fix
    assert table(rows, ignored_columns=("class",)).labels.names == ("cat",)
    assert table(rows, label_column="class").labels.names == ("indoor", "outdoor")


def test_flags_alone_are_labels_with_a_note(table):
    found = table(columns("occluded verified", "1|0", "0|1"))
    assert found.labels.names == ("occluded", "verified")
    assert "their names tell of annotations" in found.summary()


@pytest.mark.parametrize("name", ["mask", "group"])
def test_a_label_with_the_name_of_another_column_is_told(table, name):
    with pytest.raises(DataError, match=f"'{name}' holds only 0 and 1"):
        table(columns(f"cat {name}", "1|0", "0|1"))


@pytest.mark.parametrize("name", ["label", "tag"])
def test_a_column_of_names_with_0_and_1_is_told(table, name):
    with pytest.raises(DataError, match=f"'{name}' is taken for names of labels"):
        table(columns(f"{name}", "1", "0"))


def test_a_row_of_an_absent_label_is_told(table):
    rows = [("image", "label", "confidence"), ("1.jpg", "cat", "1"), ("1.jpg", "dog", "0")]
    with pytest.raises(DataError, match="absent"):
        table(rows)


# Rows


def test_a_row_for_each_label_is_joined(table):
    rows = [("image", "label"), ("1.jpg", "crane"), ("1.jpg", "truck"), ("2.jpg", "truck")]
    found = table([*rows, ("1.jpg", "truck")])
    assert labels_of(found) == [["crane", "truck"], ["truck"]]
    assert "joined with it: 1" in found.summary()
    assert "merged with it: 1" in found.summary()


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([("1.jpg", "crane", "train"), ("1.jpg", "truck", "test")], "different splits"),
        ([("1.jpg", "crane|truck", ""), ("1.jpg", "truck", "")], "different labels"),
        ([("1.jpg", "crane", ""), ("1.jpg", "", "")], "different labels"),
    ],
)
def test_rows_that_contradict_each_other_are_told(table, rows, what):
    with pytest.raises(DataError, match=what) as caught:
        table([("image", "label", "split"), *rows, ("2.jpg", "truck", "train")])
    assert "2 and 3" in caught.value.where or "1 and 2" in caught.value.where


def test_missing_words_are_no_split_and_no_group(table):
    rows = [("image", "labels", "split", "group"), ("1.jpg", "cat", "nan", "NaN")]
    (record,) = table(rows)
    assert (record.split, record.group) == (None, None)


# Names of images


@pytest.mark.parametrize("address", ["https://x.org/1.jpg", "s3://b/1.jpg", "www.x.org/1.jpg"])
def test_an_address_is_told(table, address):
    with pytest.raises(DataError, match="address of the web") as caught:
        table([("image", "labels"), (address, "cat")])
    assert "Download" in caught.value.fix


def test_names_without_an_ending_find_the_only_file(table, tmp_path):
    found = table([("image", "labels"), ("1", "cat"), ("2", "dog")])
    assert [record.image.name for record in found] == ["1.jpg", "2.jpg"]
    assert list(found.keys) == ["1", "2"]
    assert "without an ending" in found.summary()


def test_names_in_other_letters_find_the_only_file(table, tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "étang.jpg")).touch()
    rows = [("image", "labels"), ("1.JPG", "cat"), ("étang.jpg", "dog"), ("2.jpg", "dog")]
    found = table(rows)
    assert all(record.image.is_file() for record in found)
    assert "spelled otherwise" in found.summary()


def test_names_that_fit_two_files_stay(table, tmp_path):
    (tmp_path / "1.png").touch()
    found = table([("image", "labels"), ("1", "cat"), ("2.jpg", "dog")])
    assert found[0].image.name == "1"
    assert "fit several files" in found.summary()


@pytest.mark.parametrize("pair", [("a.jpg", "A.jpg"), ("\u00e9.jpg", "e\u0301.jpg")])
def test_names_that_look_alike_are_told(table, pair):
    rows = [("image", "labels"), *((name, "cat") for name in pair), ("1.jpg", "dog")]
    assert "differ only in case" in table(rows).summary()


def test_the_column_of_images_is_found_by_its_cells(table):
    found = table([("id", "picture", "cat"), ("7", "1.jpg", "1"), ("8", "2.jpg", "0")])
    assert list(found.keys) == ["1.jpg", "2.jpg"]
    assert found.labels.names == ("cat",)


def test_two_columns_of_images_are_a_question(table):
    rows = [("image", "picture", "cat"), ("7", "1.jpg", "1"), ("8", "2.jpg", "0")]
    with pytest.raises(DataError, match="unclear which column holds the images") as caught:
        table(rows)
    assert "--image-column picture" in caught.value.fix


@pytest.mark.parametrize("name", ["\x01", "\u200b", "\u00a0\u200b"])
def test_a_label_that_nobody_sees_is_refused(table, name):
    with pytest.raises(DataError, match="A label name is"):
        table([("image", "labels"), ("1.jpg", f"cat|{name}|dog")])


@pytest.mark.parametrize("pair", ["caf\u00e9|cafe\u0301", "cat|cat\u200b"])
def test_labels_that_look_alike_are_refused(table, pair):
    with pytest.raises(DataError, match="look the same"):
        table([("image", "labels"), ("1.jpg", pair)])
