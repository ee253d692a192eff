from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.config import parse
from manylabel.data.label_sets import LabelSet, apply, read_label_set
from manylabel.data.records import Box, Record, Records
from manylabel.errors import ConfigError, DataError
from manylabel.labels import LabelSpace

quick = settings(max_examples=100, deadline=None, database=None, derandomize=True)


def data(names, rows, boxes=()):
    items = tuple(
        Record(f"{i}.jpg", Path(f"{i}.jpg"), np.array(row, dtype=np.int8))
        for i, row in enumerate(rows)
    )
    if boxes:
        first, *others = items
        marked = tuple(Box(name, 0, 0, 1, 1) for name in boxes)
        items = (Record(first.key, first.image, first.targets, boxes=marked), *others)
    return Records.of(LabelSpace(names), items, "photos.csv", ("read",))


def label_set(**tables):
    return parse(LabelSet, tables, where="labels.toml")


def change(names, rows, **tables):
    result = apply(label_set(**tables), data(names, rows), where="labels.toml")
    return list(result.labels), result.targets.tolist()


def test_rename():
    assert change("ab", [[1, 0]], rename={"a": "c"}) == (["c", "b"], [[1, 0]])


def test_names_can_change_places():
    assert change("ab", [[1, 0]], rename={"a": "b", "b": "a"}) == (["b", "a"], [[1, 0]])


def test_merge_in_three_values():
    rows = [[a, 0, b] for a in (1, 0, -1) for b in (1, 0, -1)]
    names, targets = change("axb", rows, merge={"ab": ["a", "b"]})
    assert names == ["ab", "x"]
    assert [row[0] for row in targets] == [1, 1, 1, 1, 0, -1, 1, -1, -1]


def test_merge_into_one_of_the_parts():
    assert change("abc", [[0, 0, 1]], merge={"b": ["b", "c"]}) == (["a", "b"], [[0, 1]])


def test_a_parent_that_is_there():
    rows = [[child, parent] for child in (1, 0, -1) for parent in (1, 0, -1)]
    names, targets = change(["dog", "animal"], rows, parents={"dog": ["animal"]})
    assert names == ["dog", "animal"]
    assert [row[1] for row in targets] == [1, 1, 1, 1, 0, -1, 1, 0, -1]


def test_a_parent_that_is_new():
    rows = [[a, b] for a in (1, 0, -1) for b in (1, 0, -1)]
    parents = {"dog": ["animal"], "cat": ["animal"]}
    names, targets = change(["dog", "cat"], rows, parents=parents)
    assert names == ["dog", "cat", "animal"]
    assert [row[2] for row in targets] == [1, 1, 1, 1, 0, -1, 1, -1, -1]


def test_parents_have_parents():
    """In whatever order the file names them, and through a parent that is new."""
    parents = {"animal": ["thing"], "dog": ["animal"]}
    expected = (["dog", "thing", "animal"], [[1, 1, 1], [0, 1, 0], [0, 0, 0]])
    assert change(["dog", "thing"], [[1, 0], [0, 1], [0, 0]], parents=parents) == expected


def test_drop_only_and_order():
    row = [[1, 0, -1]]
    assert change("abc", row, drop=["b"]) == (["a", "c"], [[1, -1]])
    assert change("abc", row, only=["c", "a"]) == (["a", "c"], [[1, -1]])
    assert change("abc", row, order=["c"]) == (["c", "a", "b"], [[-1, 1, 0]])


def test_parts_act_one_after_the_other():
    result = change(
        ["puppy", "hound", "car", "cat"],
        [[0, 1, 0, 0], [0, 0, 1, 0]],
        rename={"puppy": "pup"},
        merge={"dog": ["pup", "hound"]},
        parents={"dog": ["animal"], "cat": ["animal"]},
        drop=["car"],
        order=["animal"],
    )
    assert result == (["animal", "dog", "cat"], [[1, 1, 0], [0, 0, 0]])


def test_what_is_done_is_told():
    tables = {
        "rename": {"a": "A"},
        "merge": {"bc": ["b", "c"]},
        "parents": {"A": ["old", "new"]},
        "drop": ["bc", "A"],
    }
    rows = [[1, 0, 0, 0, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    result = apply(label_set(**tables), data(["a", "b", "c", "x", "old"], rows))
    assert list(result.labels) == ["x", "old", "new"]
    assert result.notes == (
        "read",
        "Labels renamed: 1",
        "Labels merged: 2 into 1 (bc)",
        "New labels that others imply: new",
        "Changed from absent to present because a child is present: old 1",
        "Labels left out: 2 (A, bc)",
        "Images without a present label after this: 1",
    )


def test_boxes_follow():
    tables = {"rename": {"a": "A"}, "merge": {"bc": ["b", "c"]}, "drop": ["d"]}
    records = data("abcd", [[1, 1, 1, 1]], boxes=["a", "c", "d", "b"])
    result = apply(label_set(**tables), records)
    assert [box.label for box in result[0].boxes] == ["A", "bc", "bc"]
    assert result.notes[-1] == "Boxes that are left out with their labels: 1"


def test_nothing_to_do_changes_nothing():
    records = data("ab", [[1, -1]], boxes=["a"])
    result = apply(LabelSet(), records)
    assert result.fingerprint() == records.fingerprint()
    assert (result[0].boxes, result.notes) == (records[0].boxes, records.notes)


@quick
@given(
    rows=st.lists(st.lists(st.sampled_from([1, 0, -1]), min_size=5, max_size=5), min_size=1),
    edges=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda e: e[0] < e[1])),
)
def test_implication_against_a_slow_transcription(rows, edges):
    names = "abcde"
    parents = {}
    for child, parent in sorted(edges):
        parents.setdefault(names[child], []).append(names[parent])
    expected = [list(row) for row in rows]
    for row in expected:
        for child in range(5):  # a child stands before its parents
            for parent in range(5):
                if (child, parent) in edges and row[child] == 1:
                    row[parent] = 1
    assert change(names, rows, parents=parents)[1] == expected


@pytest.mark.parametrize(
    ("tables", "what", "where", "fix"),
    [
        ({"rename": {"cta": "x"}}, "no label 'cta'", "labels.toml, [rename]", "'cat'"),
        ({"rename": {"cat": "dog"}}, "'dog' would exist twice", "[rename]", "[merge]"),
        ({"merge": {"x": ["cat", "dgo"]}}, "no label 'dgo'", "merge.'x'", "'dog'"),
        ({"merge": {"owl": ["cat", "dog"]}}, "'owl' would exist twice", "merge.'owl'", "parts"),
        ({"parents": {"ct": ["x"]}}, "no label 'ct'", "[parents]", "'cat'"),
        ({"drop": ["zebra"]}, "no label 'zebra'", "labels.toml, drop", "There are cat, dog, owl."),
        ({"only": ["dgo"]}, "no label 'dgo'", "labels.toml, only", "'dog'"),
        ({"order": ["dgo"]}, "no label 'dgo'", "labels.toml, order", "'dog'"),
        ({"drop": ["cat", "dog", "owl"]}, "No label is left", "drop", "fewer"),
        ({"rename": {"cat": " "}}, "name is empty", "labels.toml", "Give every label"),
        # What an earlier part took away cannot be named later.
        ({"rename": {"cat": "x"}, "drop": ["cat"]}, "no label 'cat'", "drop", "There are"),
    ],
)
def test_names_that_do_not_fit(tables, what, where, fix):
    with pytest.raises(DataError, match=what) as caught:
        change(["cat", "dog", "owl"], [[1, 0, 0]], **tables)
    assert where in caught.value.where
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("drop = ['a']\nonly = ['b']", "give one of them"),
        ("drop = ['a', 'a']", "drop names 'a' more than once"),
        ("[merge]\nx = ['a', 'b']\ny = ['b', 'c']", "merge names 'b' more than once"),
        ("[merge]\nx = []", "merge.x"),
        ("[merge]\nx = ['a']\ndrop = ['b']", "above all tables"),
        ("[parents]\na = ['b']\norder = ['b']", "above all tables"),
        ("[parents]\na = ['b']\nb = ['c']\nc = ['a']", "in a circle"),
        ("[parents]\na = ['a']", "in a circle"),
        ("[renam]\na = 'b'", "Unknown key 'renam'"),
        ("[rename]\na = ['b']", "rename.a"),
        ("[rename", "not valid TOML"),
        ("drop = " + "[" * 20_000, "nested too deeply"),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, what):
    path = tmp_path / "labels.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=what) as caught:
        read_label_set(path)
    assert str(path) in caught.value.where


def test_a_file(tmp_path):
    path = tmp_path / "labels.toml"
    path.write_text('drop = ["b"]\n[rename]\n"a" = "A"\n')
    assert read_label_set(path) == label_set(drop=["b"], rename={"a": "A"})
    with pytest.raises(DataError, match="does not exist"):
        read_label_set(tmp_path / "other.toml")


def test_a_large_data_set_is_quick():
    """100,000 images of 80 labels: the work on targets is in bulk."""
    targets = np.zeros((100_000, 80), dtype=np.int8)
    targets[np.arange(100_000), np.arange(100_000) % 80] = 1
    names = [f"l{i}" for i in range(80)]
    items = tuple(Record(str(i), Path("x"), row) for i, row in enumerate(targets))
    tables = {"merge": {"m": names[:10]}, "parents": {"l20": ["p"], "l21": ["p"]}}
    result = apply(label_set(**tables), Records.of(LabelSpace(names), items, "x"))
    assert int(result.targets.sum()) == 100_000 + 2 * 100_000 // 80


def named(names, rows, **tables):
    """The result of a label set on images that name the labels that they have."""
    records = replace(data(names, rows), absent_if_unnamed=True)
    return apply(label_set(**tables), records, where="labels.toml")


@pytest.mark.parametrize(
    ("tables", "labels", "targets"),
    [
        ({"drop": ("bee",)}, ["a", "b"], [[1, 0]]),
        ({"only": ("a", "bee")}, ["a", "bee"], [[1, 0]]),
        ({"order": ("bee",)}, ["bee", "a", "b"], [[0, 1, 0]]),
        ({"rename": {"bee": "insect"}}, ["a", "b", "insect"], [[1, 0, 0]]),
        ({"merge": {"some": ["b", "bee"]}}, ["a", "some"], [[1, 0]]),
        ({"parents": {"bee": ["insect"]}}, ["a", "b", "bee", "insect"], [[1, 0, 0, 0]]),
        ({"rename": {"a": "bee"}, "drop": ("bee",)}, ["b"], [[0]]),
    ],
)
def test_a_label_that_no_image_names_is_absent(tables, labels, targets):
    found = named("ab", [[1, 0]], **tables)
    assert list(found.labels) == labels
    assert found.targets.tolist() == targets
    assert found.absent_if_unnamed


def test_such_a_label_is_told():
    note = "Labels of the label set that no image names, taken as absent: 1 (bee)"
    assert note in named("ab", [[1, 0]], drop=("bee",)).notes


def test_a_name_with_a_mistake_in_it_is_still_an_error():
    with pytest.raises(DataError, match="no label 'heronn'"):
        named(["heron", "gull"], [[1, 0]], drop=("heronn",))
