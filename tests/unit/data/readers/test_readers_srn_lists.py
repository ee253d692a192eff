import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from manylabel.data.formats.lists import read_integers
from manylabel.data.readers.srn_lists import find_srn_lists, read_srn_lists
from manylabel.errors import DataError, MissingExtraError

quick = settings(max_examples=100, deadline=None, database=None, derandomize=True)

TRAIN = "actor/1.jpg 2\nactor/2.jpg 0\nsky/3.jpg 1\n"
TRAIN_LABELS = "1 0 1\n0 0 0\n0 1 0\n"
TEST = "./sky/4.jpg 1\nsky\\5.jpg 3\n"
TEST_LABELS = "0 0 1 \n1 1 1 \n"


@pytest.fixture
def lists(tmp_path):
    """Writes lists below `tmp_path`; `None` leaves a file out."""

    def write(name="nus_wide", **files):
        defaults = {
            "train_imglist": TRAIN,
            "train_label": TRAIN_LABELS,
            "test_imglist": TEST,
            "test_label": TEST_LABELS,
        }
        for stem, text in {**defaults, **files}.items():
            if text is not None:
                (tmp_path / f"{name}_{stem}.txt").write_text(text)
        for image in ("actor/1", "actor/2", "sky/3", "sky/4", "sky/5"):
            file = tmp_path / "images" / f"{image}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return write


def test_lists_of_0_and_1(lists, tmp_path):
    assert find_srn_lists(lists()) == tmp_path
    records = read_srn_lists(tmp_path)
    assert records.labels.names == ("1", "2", "3")
    assert list(records.keys) == [
        "actor/1.jpg",
        "actor/2.jpg",
        "sky/3.jpg",
        "sky/4.jpg",
        "sky/5.jpg",
    ]
    assert records.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
    assert [record.split for record in records] == ["train"] * 3 + ["test"] * 2
    assert records[4].image == tmp_path / "images" / "sky" / "5.jpg"
    assert "Images without a present label, kept: 1" in records.notes


def test_one_list(lists, tmp_path):
    lists()
    path = tmp_path / "nus_wide_test_imglist.txt"
    assert find_srn_lists(path) == path
    assert list(read_srn_lists(path).keys) == ["sky/4.jpg", "sky/5.jpg"]


def test_a_val_list_stands_between_train_and_test(lists, tmp_path):
    lists(val_imglist="actor/9.jpg 1\nactor/1.png 0\n", val_label="1 0 0\n0 0 0\n")
    (tmp_path / "images" / "actor" / "9.jpg").touch()
    records = read_srn_lists(tmp_path)
    assert [record.split for record in records] == ["train"] * 3 + ["val"] * 2 + ["test"] * 2


@pytest.mark.parametrize("counts", [(1, 0), (0, -2)], ids=["positives", "sum"])
def test_minus_one_makes_zero_unknown_in_its_file_only(lists, tmp_path, counts):
    lists(
        "wider_att",
        test_imglist=f"sky/4.jpg {counts[0]}\nsky/5.jpg {counts[1]}\n",
        test_label="1 -1 0\n-1 -1 0\n",
    )
    records = read_srn_lists(tmp_path)
    assert records.targets.tolist()[:3] == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert records.targets.tolist()[3:] == [[1, 0, -1], [0, 0, -1]]
    (said,) = [note for note in records.notes if "-1" in note]
    assert said.startswith("wider_att_test_label.txt contains -1")
    assert said.endswith("2 of 6 targets")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array([[False], [True]]), "a vector of 0 and 1"),
        (np.array([[0.0, 1.0]]), "a vector of 0 and 1"),
        (np.array([[2]], dtype=np.uint8), "indices from 1"),
        (np.array([[2.0]]), "indices from 1"),
    ],
)
def test_the_mask_leaves_test_images_out(lists, tmp_path, value, kind):
    lists()
    savemat(tmp_path / "nus_test_accessible.mat", {"idx_final_test": value, "other": [1]})
    records = read_srn_lists(tmp_path)
    assert list(records.keys) == ["actor/1.jpg", "actor/2.jpg", "sky/3.jpg", "sky/5.jpg"]
    assert records[3].targets.tolist() == [1, 1, 1]
    said = f"nus_test_accessible.mat ({kind}) keeps 1 of 2 test images"
    assert said in records.notes


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"idx_final_test": [0, 0]}, "keeps no image"),
        ({"idx_final_test": [1, 0, 1]}, "3 and 2 images"),
        ({"idx_final_test": np.array([True, False, True])}, "3 and 2 images"),
        ({"idx_final_test": [3]}, "neither"),
        ({"idx_final_test": [1.5]}, "neither"),
        ({"idx_final_test": [2, 2]}, "neither"),
        ({"idx_final_test": "text"}, "does not contain numbers"),
        ({"idx_final_test": []}, "does not contain numbers"),
        ({"idx": [1]}, "is not in the file"),
    ],
)
def test_a_mask_that_does_not_fit(lists, tmp_path, variables, what):
    lists()
    savemat(tmp_path / "nus_test_accessible.mat", variables)
    with pytest.raises(DataError) as caught:
        read_srn_lists(tmp_path)
    assert what in caught.value.what
    assert "nus_test_accessible.mat" in caught.value.where


def test_a_mask_without_scipy(lists, tmp_path, monkeypatch):
    lists()
    (tmp_path / "nus_test_accessible.mat").touch()
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match="needs scipy"):
        read_srn_lists(tmp_path)


def test_labels_by_name(lists, tmp_path):
    lists()
    names = tmp_path / "names.txt"
    names.write_text("sky\nwater\nperson\n")
    records = read_srn_lists(tmp_path, label_names=names)
    assert records.labels.names == ("sky", "water", "person")
    assert not any("numbers of their columns" in note for note in records.notes)
    names.write_text("sky\nwater\n")
    with pytest.raises(DataError, match="names 2 labels, but the data set has 3"):
        read_srn_lists(tmp_path, label_names=names)


def test_an_image_that_is_listed_again(lists, tmp_path):
    lists(test_imglist=TEST + "sky/4.jpg 1\n", test_label=TEST_LABELS + "0 0 1\n")
    records = read_srn_lists(tmp_path)
    assert len(records) == 5
    assert "Images that are listed again with the same labels, left out: 1" in records.notes


@pytest.mark.parametrize(
    ("files", "what", "where"),
    [
        ({"test_imglist": TEST + "sky/6.jpg 1\n"}, "3 and 2 images", "nus_wide_test_label.txt"),
        ({"test_label": "0 0 1\n"}, "2 and 1 images", "nus_wide_test_imglist.txt"),
        ({"test_label": None}, "does not exist", "nus_wide_test_label.txt"),
        ({"test_label": "0 0 1\n1 1\n"}, "2 numbers", "nus_wide_test_label.txt, line 2"),
        ({"test_label": "0 0 1\n\n1 2 1\n"}, "'2', not 0", "nus_wide_test_label.txt, line 3"),
        (
            {"test_label": "0 1\n1 1\n", "test_imglist": "a 1\nb 2\n"},
            "numbers of labels, 3 and 2",
            "test_label",
        ),
        ({"test_label": ""}, "is empty", "nus_wide_test_label.txt"),
        (
            {"test_label": "0 0 1\n\n1 1 0\n"},
            "has 3 labels in the image list, but 2 in the label file",
            "imglist.txt, line 2, and",
        ),
        ({"train_imglist": "a.jpg\n"}, "'a.jpg', not a path and", "train_imglist.txt, line 1"),
        (
            {"test_imglist": "actor/1.jpg 1\nx 3\n"},
            "two splits, train and test",
            "list.txt, line 1",
        ),
        (
            {"test_imglist": "a 1\na 3\n"},
            "'a' is listed twice, with different labels",
            "imglist.txt, line 2",
        ),
        ({"test_imglist": "a 1\nb 3\n"}, "None of the first 2 images", "test_imglist.txt"),
    ],
)
def test_faulty_lists(lists, tmp_path, files, what, where):
    lists(**files)
    if "None of" not in what:
        (tmp_path / "a").touch()
    with pytest.raises(DataError) as caught:
        read_srn_lists(tmp_path)
    assert what in caught.value.what
    assert where in caught.value.where


def test_the_second_line_that_differs_is_named_in_both_files(lists, tmp_path):
    lists(test_imglist="\nsky/4.jpg 1\nsky/5.jpg 3\n", test_label="0 0 1\n\n\n1 1 0\n")
    with pytest.raises(DataError) as caught:
        read_srn_lists(tmp_path)
    assert caught.value.where == (
        f"{tmp_path / 'nus_wide_test_imglist.txt'}, line 3, "
        f"and {tmp_path / 'nus_wide_test_label.txt'}, line 4"
    )


def test_the_folder_of_the_images_can_be_given(lists, tmp_path):
    lists()
    (tmp_path / "images").rename(tmp_path / "far")
    with pytest.raises(DataError, match="None of the first 3 images"):
        read_srn_lists(tmp_path)
    records = read_srn_lists(tmp_path, images=tmp_path / "far")
    assert records[0].image == tmp_path / "far" / "actor" / "1.jpg"


def test_lists_of_two_data_sets(lists, tmp_path):
    lists()
    lists("coco")
    with pytest.raises(DataError, match="several data sets: coco, nus_wide"):
        read_srn_lists(tmp_path)


def test_what_is_no_list(tmp_path):
    (tmp_path / "a.txt").touch()
    assert find_srn_lists(tmp_path) is None
    assert find_srn_lists(tmp_path / "a.txt") is None
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(DataError, match=r"_train_imglist.txt"):
            read_srn_lists(path)


@quick
@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0, 1, -1]), min_size=width, max_size=width), min_size=1
        )
    ),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from(["\n", "\r\n", " \n", "\n\n"]),
    st.booleans(),
)
def test_integers_come_back_as_written(tmp_path_factory, rows, blank, newline, last):
    file = tmp_path_factory.getbasetemp() / "integers.txt"
    text = newline.join(blank.join(map(str, row)) for row in rows) + newline * last
    file.write_bytes(text.encode())
    assert read_integers(file).tolist() == rows


@quick
@given(st.text(alphabet="01- \n\r2x", max_size=20))
def test_integers_agree_with_a_slow_reading(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(text.encode())
    rows = [line.split() for line in text.split("\n") if line.split()]
    good = rows and len({len(row) for row in rows}) == 1
    good = good and all(word in ("0", "1", "-1") for row in rows for word in row)
    if good:
        assert read_integers(file).tolist() == [[int(word) for word in row] for row in rows]
    else:
        with pytest.raises(DataError):
            read_integers(file)
