"""Whatever the files of the academic data sets hold: records, or what is wrong with them."""

import json

import pytest
from fuzzing import mutated, quick, reads_or_tells
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from manylabel.data.readers.nus_wide import read_nus_wide
from manylabel.data.readers.srn_lists import read_srn_lists
from manylabel.data.readers.visual_genome import read_visual_genome
from manylabel.data.readers.wider_attribute import read_wider_attribute
from manylabel.data.records import Records

WIDER = {
    "attribute_id_map": {"0": "Male", "1": "Hat"},
    "images": [
        {
            "file_name": "train/0--Parade/a.jpg",
            "targets": [{"attribute": [1, -1], "bbox": [1, 2, 3, 4]}],
        },
        {"file_name": "val/0--Parade/b.jpg", "targets": []},
    ],
}
GENOME = {"1.jpg": [0, 499], "2.jpg": [7], "3.jpg": []}


class Files:
    """A data set of several files, one of which is mutated at a time."""

    def __init__(self, root, contents, images):
        self.root, self.contents = root, contents
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        for name in images:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()

    def mutated(self, data, reader) -> tuple[str, Records | None]:
        name = data.draw(st.sampled_from(sorted(self.contents)))
        try:
            (self.root / name).write_bytes(data.draw(mutated(self.contents[name])))
            return name, reads_or_tells(reader, self.root)
        finally:
            (self.root / name).write_bytes(self.contents[name])


@pytest.fixture(scope="module")
def srn(tmp_path_factory):
    root = tmp_path_factory.mktemp("srn")
    contents = {
        "nus_wide_train_imglist.txt": b"a/1.jpg 2\na/2.jpg 0\n",
        "nus_wide_train_label.txt": b"1 0 1 \n0 0 0 \n",
        "nus_wide_test_imglist.txt": b"a/3.jpg 1\na/4.jpg 1\na/5.jpg 0\n",
        "nus_wide_test_label.txt": b"1 0 -1 \n0 0 1 \n0 -1 0 \n",
    }
    return Files(root, contents, [f"a/{i}.jpg" for i in range(1, 6)])


@pytest.fixture(scope="module")
def nus(tmp_path_factory):
    contents = {
        "Concepts81.txt": b"sky\nwater\n",
        "ImageList/TrainImagelist.txt": b"a\\1_1.jpg\r\na\\2_2.jpg\r\n",
        "ImageList/TestImagelist.txt": b"a\\3_1.jpg\r\n",
        "ImageList/Imagelist.txt": b"a\\1_1.jpg\r\na\\2_2.jpg\r\na\\3_1.jpg\r\n",
        "Groundtruth/TrainTestLabels/Labels_sky_Train.txt": b"1\n0\n",
        "Groundtruth/TrainTestLabels/Labels_water_Train.txt": b"1\n1\n",
        "Groundtruth/TrainTestLabels/Labels_sky_Test.txt": b"0\n",
        "Groundtruth/TrainTestLabels/Labels_water_Test.txt": b"0\n",
        "NUS_WID_Tags/AllTags81.txt": b"1 1 \n0 1 \n0 0 \n",
    }
    images = [f"Flickr/a/{name}.jpg" for name in ("1_1", "2_2", "3_1")]
    return Files(tmp_path_factory.mktemp("nus"), contents, images)


@pytest.fixture(scope="module")
def wider(tmp_path_factory):
    contents = {"wider_attribute_trainval.json": json.dumps(WIDER).encode()}
    images = ["Image/train/0--Parade/a.jpg"]
    return Files(tmp_path_factory.mktemp("wider"), contents, images)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    contents = {
        "vg_category_500_labels_index.json": json.dumps(GENOME).encode(),
        "train_list_500.txt": b"1.jpg\n2.jpg\n",
        "test_list_500.txt": b"3.jpg\n",
    }
    images = [f"VG_100K/{i}.jpg" for i in range(1, 4)]
    return Files(tmp_path_factory.mktemp("genome"), contents, images)


def read_tags(path):
    return read_nus_wide(path, truth="tags")


def test_what_is_mutated_is_valid(srn, nus, wider, genome):
    assert len(read_srn_lists(srn.root)) == 5
    assert len(read_nus_wide(nus.root)) == len(read_tags(nus.root)) == 3
    assert len(read_wider_attribute(wider.root)) == 1
    assert len(read_visual_genome(genome.root)) == 3


@quick
@given(data=st.data())
def test_srn_lists(srn, data):
    name, records = srn.mutated(data, read_srn_lists)
    if records is not None and name.endswith("list.txt"):
        assert len(records) >= 4, "lists and label files hold each other to their length"


@pytest.mark.parametrize("compressed", [True, False])
def test_a_mask_that_is_cut_short(srn, compressed):
    """Few cases: each starts a process, since damage makes scipy's reader crash."""
    file = srn.root / "nus_test_accessible.mat"
    try:
        savemat(file, {"idx_final_test": [True, False, True]}, do_compression=compressed)
        whole = file.read_bytes()
        assert len(read_srn_lists(srn.root)) == 4
        # A text of 116 bytes, the version, and from byte 128 the variable.
        for end in (0, 50, 115, *range(120, len(whole) - 8, 4), len(whole) - 8):
            file.write_bytes(whole[:end])
            assert reads_or_tells(read_srn_lists, srn.root) is None
        file.write_bytes(b"<!DOCTYPE html>" + b" " * 500)
        assert reads_or_tells(read_srn_lists, srn.root) is None
    finally:
        file.unlink()


@quick
@given(data=st.data())
def test_nus_wide(nus, data):
    _, records = nus.mutated(data, read_nus_wide)
    if records is not None:
        assert len(records.labels) == 2
        assert sum(record.split is not None for record in records) in (2, 3)


@quick
@given(data=st.data())
def test_nus_wide_tags(nus, data):
    nus.mutated(data, read_tags)


@quick
@given(data=st.data())
def test_wider_attribute(wider, data):
    wider.mutated(data, read_wider_attribute)


@quick
@given(data=st.data())
def test_visual_genome(genome, data):
    genome.mutated(data, read_visual_genome)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, "", "a.jpg", "\x00", "x" * 300, "/", "../..", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


def changed(data, original, value):
    """A copy of a JSON value with one thing in it replaced."""
    content = json.loads(json.dumps(original))
    target = content
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        inner = target[data.draw(st.sampled_from(keys))]
        if not isinstance(inner, dict | list) or not inner:
            break
        target = inner
    keys = list(target) if isinstance(target, dict) else list(range(len(target)))
    target[data.draw(st.sampled_from(keys))] = value
    return content


@pytest.mark.parametrize(
    ("files", "original", "reader"),
    [("wider", WIDER, read_wider_attribute), ("genome", GENOME, read_visual_genome)],
)
@quick
@given(data=st.data(), value=anything)
def test_json_values(request, files, original, reader, data, value):
    files = request.getfixturevalue(files)
    name = next(name for name in files.contents if name.endswith(".json"))
    try:
        (files.root / name).write_text(json.dumps(changed(data, original, value)))
        reads_or_tells(reader, files.root)
    finally:
        (files.root / name).write_bytes(files.contents[name])
