"""Examples: matched with photographs, merged, and enough of them."""

import numpy as np
import pytest

from manylabel.data.read import DataSource
from manylabel.data.records import Record, Records
from manylabel.errors import ConfigError, DataError
from manylabel.labelling.examples import key_of, read_examples, require_enough, with_measured
from manylabel.labels import LabelSpace


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg"):
        (folder / name).write_bytes(b"not opened here")
    return folder


def examples(photos, *tables, **named):
    paths = []
    for number, text in enumerate(tables):
        path = photos.parent / f"t{number}.csv"
        path.write_text(text)
        paths.append(path)
    return read_examples([DataSource(path=path, **named) for path in paths], photos)


def labels(found):
    records = found.records
    return {
        key: sorted(records.labels.decode(targets))
        for key, targets in zip(records.keys, records.targets, strict=True)
    }


def test_paths_may_be_relative_to_the_photographs_or_to_the_table(photos):
    inside = examples(photos, "image,labels\na.jpg,x|y\nsub/d.jpg,y\n")
    beside = examples(photos, "image,labels\nphotos/a.jpg,x|y\nphotos/sub/d.jpg,y\n")
    whole = examples(photos, f"image,labels\n{photos}/a.jpg,x|y\n{photos}/sub/d.jpg,y\n")
    wanted = {"a.jpg": ["x", "y"], "sub/d.jpg": ["y"]}
    assert labels(inside) == labels(beside) == labels(whole) == wanted
    assert "relative to the folder of photographs" in " ".join(inside.notes)
    assert "relative to the folder of the table" in " ".join(beside.notes)


def test_a_few_missing_files_are_named_and_left_out(photos):
    found = examples(photos, "image,labels\na.jpg,x\nb.jpg,y\nc.jpg,x|y\ngone.jpg,x\n")
    assert sorted(labels(found)) == ["a.jpg", "b.jpg", "c.jpg"]
    assert any("1 without a file, left out: gone.jpg" in note for note in found.notes)


def test_a_table_of_other_photographs_is_refused(photos):
    with pytest.raises(DataError, match=r"Of 3 images in the table, only 1 were found.*p\.jpg"):
        examples(photos, "image,labels\na.jpg,x\np.jpg,y\nq.jpg,x|y\n")


def test_the_later_table_counts(photos):
    found = examples(
        photos,
        "image,labels\na.jpg,x\nb.jpg,x|y\nc.jpg,y\n",
        "image,labels,source\na.jpg,y,to check\nb.jpg,x|y,to check\nsub/d.jpg,,to check\n",
    )
    assert labels(found) == {"a.jpg": ["y"], "b.jpg": ["x", "y"], "c.jpg": ["y"], "sub/d.jpg": []}
    assert any("2 examples of earlier tables given again, 1 with other" in n for n in found.notes)


def test_our_table_may_say_that_no_photograph_has_a_label(photos):
    found = examples(photos, "image,labels\na.jpg,x|y\n", "image,labels,source\na.jpg,,to check\n")
    assert labels(found) == {"a.jpg": []}


def test_predictions_are_no_examples(photos):
    found = examples(
        photos,
        "image,labels,source,score: x\na.jpg,x,given,\nb.jpg,y,given,\nc.jpg,x,predicted,0.9\n",
    )
    assert labels(found) == {"a.jpg": ["x"], "b.jpg": ["y"]}
    assert any("'predicted', which are no examples: 1." in note for note in found.notes)


def test_a_new_label_is_told_with_the_nearest(photos):
    found = examples(
        photos,
        "image,labels\na.jpg,heron\nb.jpg,heron|water\n",
        "image,labels,source\nc.jpg,hreon,to check\n",
    )
    assert any("'hreon' (is it 'heron'?)" in note for note in found.notes)
    assert labels(found)["a.jpg"] == ["heron"]


def test_a_label_without_its_column_is_unknown_in_that_table(photos):
    found = examples(photos, "image,x,y\na.jpg,1,0\nb.jpg,0,1\n", "image,x\nc.jpg,1\n")
    targets = dict(zip(found.records.keys, found.records.targets.tolist(), strict=True))
    assert targets == {"a.jpg": [1, 0], "b.jpg": [0, 1], "c.jpg": [1, -1]}


def test_other_data_sets_are_refused_with_the_command_that_makes_a_table(photos):
    (photos.parent / "x.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ConfigError, match="not a table") as caught:
        read_examples([DataSource(path=photos.parent / "x.json")], photos)
    assert "data convert" in caught.value.fix


def test_a_link_to_a_photograph_is_that_photograph(photos):
    (photos.parent / "link").symlink_to(photos)
    assert key_of(photos.parent / "link" / "a.jpg", photos) == "a.jpg"
    assert key_of(photos.parent / "other.jpg", photos) == (photos.parent / "other.jpg").as_posix()


def many(targets, tmp_path, groups=None):
    targets = np.array(targets, dtype=np.int8)
    items = [
        Record(f"{i}.jpg", tmp_path / f"{i}.jpg", row, group=groups[i] if groups else None)
        for i, row in enumerate(targets)
    ]
    space = LabelSpace([f"l{i}" for i in range(targets.shape[1])])
    return Records.of(space, items, "t.csv")


def found_in(records):
    from manylabel.labelling.examples import Examples

    return Examples(records, (), ())


def test_too_few_examples_say_how_many_more(tmp_path):
    with pytest.raises(DataError, match="13 examples are too few") as caught:
        require_enough(found_in(many([[1, 1]] * 13, tmp_path)))
    assert "7 more photographs" in caught.value.fix


def test_a_label_of_one_example_is_left_out_and_said(tmp_path):
    targets = np.zeros((30, 4), dtype=np.int8)
    targets[:, 0] = 1
    targets[:10, 1] = 1
    targets[0, 2] = 1
    targets[:3, 3] = 1
    records, notes = require_enough(found_in(many(targets, tmp_path)))
    assert records.labels.names == ("l0", "l1", "l3")
    assert records.targets.tolist() == targets[:, [0, 1, 3]].tolist()
    assert "l2 (1)" in notes[0]
    assert "l3 (3)" in notes[1]


def test_one_label_is_not_enough(tmp_path):
    with pytest.raises(DataError, match="Two labels or more"):
        require_enough(found_in(many([[1, 0]] * 30, tmp_path)))


@pytest.mark.parametrize(("images", "measured"), [(20, 7), (60, 20), (400, 100)])
def test_enough_examples_are_measured_on(tmp_path, images, measured):
    targets = np.zeros((images, 3), dtype=np.int8)
    targets[::2, 0] = targets[::3, 1] = targets[:2, 2] = 1
    counts = with_measured(many(targets, tmp_path), seed=0).split_counts()
    assert abs(counts["val"] - measured) <= 1
    assert sum(counts.values()) == images


@pytest.mark.parametrize("seed", range(6))
def test_every_label_can_be_trained_on(tmp_path, seed):
    random = np.random.default_rng(seed)
    targets = np.zeros((40, 8), dtype=np.int8)
    for column in range(8):
        targets[random.choice(40, 2, replace=False), column] = 1
    groups = [f"g{i // 2}" for i in range(40)]
    found = with_measured(many(targets, tmp_path, groups), seed)
    train = found.split("train")
    assert (train.targets == 1).any(axis=0).all()
    assert not set(train.groups) & set(found.split("val").groups)
