import numpy as np
import pytest

from manylabel.data.readers.nus_wide import find_nus_wide, read_nus_wide
from manylabel.errors import DataError

CONCEPTS = ("sky", "actor", "water")  # not in alphabetical order
TRAIN = {
    r"actor\0001_11.jpg": (0, 1, 0),
    r"sky\0002_12.jpg": (1, 0, 1),
    r"sky\0003_13.jpg": (0,) * 3,
}
TEST = {r"sky\0004_14.jpg": (1, 0, 0), r"water\0005_12.jpg": (0, 0, 1)}


def write_lines(file, lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\r\n" for line in lines))


def write_truth(root, images, suffix, folder):
    for column, concept in enumerate(CONCEPTS):
        file = root / "Groundtruth" / folder / f"Labels_{concept}{suffix}.txt"
        write_lines(file, [targets[column] for targets in images.values()])


@pytest.fixture
def release(tmp_path):
    """Writes the release's files; tags say the opposite of the ground truth."""

    def write(*, by_split=True, whole=True, tags=False, images="Flickr"):
        root = tmp_path / "NUS"
        write_lines(root / "Concepts81.txt", CONCEPTS)
        for split, listed in (("Train", TRAIN), ("Test", TEST)):
            write_lines(root / "ImageList" / f"{split}Imagelist.txt", listed)
            if by_split:
                write_truth(root, listed, f"_{split}", "TrainTestLabels")
            if by_split and tags:
                write_lines(root / "NUS_WID_Tags" / f"{split}_Tags81.txt", opposite(listed))
        everything = dict(reversed([*TRAIN.items(), *TEST.items()]))
        if whole:
            write_lines(root / "ImageList" / "Imagelist.txt", everything)
            write_truth(root, everything, "", "AllLabels")
            if tags:
                write_lines(root / "NUS_WID_Tags" / "AllTags81.txt", opposite(everything))
        for key in everything:
            file = root / images / key.replace("\\", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return root

    return write


def opposite(images):
    return ["".join(f"{1 - target} " for target in targets) for targets in images.values()]


def told(records):
    """What a record is, by key, whatever the order."""
    return {r.key: (r.split, *r.targets.tolist()) for r in records}


EXPECTED = {
    "actor/0001_11.jpg": ("train", 0, 1, 0),
    "sky/0002_12.jpg": ("train", 1, 0, 1),
    "sky/0003_13.jpg": ("train", 0, 0, 0),
    "sky/0004_14.jpg": ("test", 1, 0, 0),
    "water/0005_12.jpg": ("test", 0, 0, 1),
}


def test_the_release(release):
    root = release()
    assert find_nus_wide(root) == root
    records = read_nus_wide(root)
    assert records.labels.names == CONCEPTS
    assert told(records) == EXPECTED
    assert list(records.keys) == list(EXPECTED)
    assert records[0].image == root / "Flickr" / "actor" / "0001_11.jpg"
    assert records[1].group == records[4].group == "12"
    assert "Images without any of the labels, kept with all labels absent: 1" in records.notes
    assert "Photographs under several paths, each one group: 1" in records.notes


def test_with_the_files_of_all_images_only(release):
    records = read_nus_wide(release(by_split=False))
    assert told(records) == EXPECTED
    assert list(records.keys) == list(reversed(EXPECTED))


def test_without_lists_of_splits_there_are_none(release):
    root = release(by_split=False)
    (root / "ImageList" / "TrainImagelist.txt").unlink()
    (root / "ImageList" / "TestImagelist.txt").unlink()
    assert read_nus_wide(root).split_names() == []


def test_an_image_on_no_list_of_a_split_is_counted(release):
    root = release(by_split=False)
    write_lines(root / "ImageList" / "TestImagelist.txt", list(TEST)[:1])
    records = read_nus_wide(root)
    assert told(records)["water/0005_12.jpg"] == (None, 0, 0, 1)
    assert "Images in neither the train list nor the test list: 1" in records.notes


@pytest.mark.parametrize("by_split", [True, False])
def test_tags(release, by_split):
    records = read_nus_wide(release(by_split=by_split, tags=True), truth="tags")
    flipped = {k: (split, *(1 - t for t in ts)) for k, (split, *ts) in EXPECTED.items()}
    assert told(records) == flipped
    assert records.notes[0].startswith("Labels are from NUS_WID_Tags")


def test_unlabelled_images_can_be_dropped(release):
    records = read_nus_wide(release(), unlabelled="drop")
    assert told(records) == {k: v for k, v in EXPECTED.items() if k != "sky/0003_13.jpg"}
    assert "Images without any of the labels, dropped: 1" in records.notes


@pytest.mark.parametrize("images", ["images", ".", "elsewhere"])
def test_the_folder_of_the_images(release, images):
    root = release(images=images)
    if images == "elsewhere":
        with pytest.raises(DataError, match="None of the first 5 images"):
            read_nus_wide(root)
    given = root / images if images == "elsewhere" else None
    records = read_nus_wide(root, images=given)
    assert all(record.image.is_file() for record in records)


def test_names_of_other_copies_of_the_release(release):
    root = release(whole=False)
    lists = root / "ImageList"
    (lists / "TrainImagelist.txt").rename(lists / "TrainImageList.txt")
    (root / "ConceptsList").mkdir()
    (root / "Concepts81.txt").rename(root / "ConceptsList" / "Concepts81.txt")
    assert told(read_nus_wide(root)) == EXPECTED


def rewrite(name, lines):
    return lambda root: write_lines(root / name, lines)


def remove(name):
    return lambda root: (root / name).unlink()


LISTS, SPLIT = "ImageList", "Groundtruth/TrainTestLabels"


@pytest.mark.parametrize(
    ("spoil", "what", "where"),
    [
        (remove("Concepts81.txt"), "Concepts81.txt, does not exist", "NUS"),
        (rewrite("Concepts81.txt", CONCEPTS[:2]), "has files for water", "Groundtruth"),
        (remove(f"{SPLIT}/Labels_sky_Test.txt"), "has no file for sky", "Concepts81.txt"),
        (rewrite(f"{SPLIT}/Labels_sky_Test.txt", [1]), "2 and 1 images", "Labels_sky_Test.txt"),
        (rewrite(f"{SPLIT}/Labels_sky_Test.txt", [1, "", "-1"]), "contains -1", "Test.txt, line 3"),
        (rewrite(f"{SPLIT}/Labels_sky_Test.txt", [1, 2]), "'2', not", "Test.txt, line 2"),
        (rewrite(f"{SPLIT}/Labels_sky_Test.txt", ["1 0", "1 0"]), "2 numbers", "Test.txt"),
        (rewrite(f"{LISTS}/TestImagelist.txt", ["a"]), "1 and 2 images", "TestImagelist.txt"),
        (
            rewrite(f"{LISTS}/Imagelist.txt", ["a"]),
            "has 1 images, but the other lists have 3 + 2",
            "Imagelist",
        ),
        (
            rewrite(f"{LISTS}/TestImagelist.txt", ["sky/0002_12.jpg", "b"]),
            "two splits, train and test",
            "TestImagelist.txt, line 1",
        ),
        (
            rewrite(f"{LISTS}/TestImagelist.txt", ["b", "b"]),
            "'b' is listed twice, with different",
            "TestImagelist.txt, line 2",
        ),
    ],
)
def test_a_faulty_release(release, spoil, what, where):
    root = release()
    spoil(root)
    with pytest.raises(DataError) as caught:
        read_nus_wide(root)
    assert what in caught.value.what
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (rewrite("NUS_WID_Tags/Test_Tags81.txt", ["1 0", "0 1"]), "2 numbers, but there are 3"),
        (rewrite("NUS_WID_Tags/Test_Tags81.txt", ["1 0 1"]), "2 and 1 images"),
    ],
)
def test_faulty_tags(release, spoil, what):
    root = release(tags=True)
    spoil(root)
    with pytest.raises(DataError, match=what):
        read_nus_wide(root, truth="tags")


def test_lists_of_splits_that_name_other_images(release):
    root = release(by_split=False)
    write_lines(root / "ImageList" / "TestImagelist.txt", ["sky/0099_1.jpg"])
    with pytest.raises(DataError) as caught:
        read_nus_wide(root)
    assert "1 images are in the list of a split" in caught.value.what
    assert "TestImagelist.txt, line 1" in caught.value.where
    write_lines(root / "ImageList" / "TestImagelist.txt", ["sky/0002_12.jpg"])
    with pytest.raises(DataError, match="two splits, train and test"):
        read_nus_wide(root)


def test_an_incomplete_release_says_what_is_wanted(release):
    root = release(whole=False)
    (root / "ImageList" / "TestImagelist.txt").unlink()
    with pytest.raises(DataError) as caught:
        read_nus_wide(root)
    assert "Imagelist.txt with the folder AllLabels" in caught.value.fix
    with pytest.raises(DataError) as caught:
        read_nus_wide(root, truth="tags")
    assert "AllTags81.txt" in caught.value.fix


def test_nothing_is_left(release):
    root = release(whole=False)
    for split, count in (("Train", 3), ("Test", 2)):
        for concept in CONCEPTS:
            write_lines(root / SPLIT / f"Labels_{concept}_{split}.txt", np.zeros(count, dtype=int))
    with pytest.raises(DataError, match="No image has a label"):
        read_nus_wide(root, unlabelled="drop")


def test_other_folders_are_not_claimed(tmp_path):
    assert find_nus_wide(tmp_path) is None
    (tmp_path / "ImageList").mkdir()
    assert find_nus_wide(tmp_path) is None
