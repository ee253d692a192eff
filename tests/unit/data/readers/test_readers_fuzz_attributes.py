"""Whatever lists of attributes, verified labels and exports hold: records, or what is wrong."""

import io
import json
from unittest import mock

import numpy as np
import pytest
from fuzzing import mutated, quick, reads_or_tells
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from manylabel.data.readers import pa100k
from manylabel.data.readers.celeba import read_celeba
from manylabel.data.readers.label_studio import read_label_studio
from manylabel.data.readers.openimages import read_openimages
from manylabel.data.readers.pa100k import read_pa100k

CELEBA = {
    "list_attr_celeba.txt": b"3\nBald Young \n1.jpg -1  1\n2.jpg  1 -1\n3.jpg  1  1\n",
    "list_eval_partition.txt": b"1.jpg 0\n2.jpg 1\n3.jpg 2\n",
    "identity_CelebA.txt": b"1.jpg 28\n2.jpg 7\n3.jpg 28\n",
}
CELEBA_TABLES = {
    "list_attr_celeba.csv": b'image_id,Bald,Young\n1.jpg,-1,1\n2.jpg,1,-1\n"3.jpg",1,1\n',
    "list_eval_partition.csv": b"image_id,partition\n1.jpg,0\n2.jpg,1\n3.jpg,2\n",
}
OPEN_IMAGES = {
    "train-annotations-human-imagelabels.csv": b"ImageID,Source,LabelName,Confidence\n"
    b"1,verification,/m/a,1\n1,verification,/m/b,0\n2,verification,/m/b,1.0\n",
    "class-descriptions.csv": b'LabelName,DisplayName\n/m/a,"A, a"\n/m/b,B\n',
    "classes-trainable.txt": b"/m/b\n/m/a\n",
}
TABLES = {
    "train.csv": b"Image,Hat,Bag\n1.jpg,0,1\n2.jpg,1,1\n",
    "val.csv": b"Image,Hat,Bag\n3.jpg,0,1\n",
    "test.csv": b"Image,Hat,Bag\r\n4.jpg,0,1\r\n",
}
BOX = {"x": 1, "y": 2.5, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["b"]}
EXPORT = [
    {
        "id": 1,
        "data": {"image": "/data/upload/3/1a2b3c4d-1.jpg"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {"type": "choices", "from_name": "c", "value": {"choices": ["a"]}},
                    {"type": "rectanglelabels", "from_name": "r", "value": BOX},
                ],
            },
            {"was_cancelled": False, "result": []},
        ],
    },
    {"id": 2, "data": {"image": "https://e.org/2.jpg?x=1"}, "annotations": []},
]
EXPORT_MIN = [
    {"id": 1, "image": "1.jpg", "choice": "a", "r": [BOX], "annotation_id": 4, "annotator": 1},
    {"id": 2, "image": "2.jpg", "c": {"choices": ["a", "b"]}, "annotation_id": 5, "annotator": 1},
]


def matlab(*, compressed: bool) -> bytes:
    def cells(*texts):
        array = np.empty((len(texts), 1), dtype=object)
        array[:, 0] = texts
        return array

    variables = {"attributes": cells("Hat", "Bag")}
    for number, split in enumerate(("train", "val", "test"), start=1):
        variables[f"{split}_images_name"] = cells(f"{number}.jpg")
        variables[f"{split}_label"] = np.array([[0, 1]], dtype=np.uint8)
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    # savemat writes the time into the text of the header: examples have to be the same each time.
    return b" " * 116 + stream.getvalue()[116:]


class Files:
    """A data set of several files, one of which is mutated at a time."""

    def __init__(self, root, contents):
        self.root, self.contents = root, contents
        for name, content in contents.items():
            (root / name).write_bytes(content)
        for number in range(1, 5):
            (root / f"{number}.jpg").touch()
        # A folder of this name says that tables are PA-100K's; the images lie beside it.
        (root / "release_data").mkdir()

    def mutated(self, data, reader):
        """The name of a file, and what is read once that file is mutated."""
        name = data.draw(st.sampled_from(sorted(self.contents)))
        try:
            (self.root / name).write_bytes(data.draw(mutated(self.contents[name])))
            return name, reads_or_tells(reader, self.root)
        finally:
            (self.root / name).write_bytes(self.contents[name])


CASES = {
    "celeba": (read_celeba, CELEBA, 3),
    "celeba-tables": (read_celeba, CELEBA_TABLES, 3),
    "openimages": (read_openimages, OPEN_IMAGES, 2),
    "pa100k-tables": (read_pa100k, TABLES, 4),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return {
        name: Files(tmp_path_factory.mktemp(name), contents)
        for name, (_, contents, _) in CASES.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_what_is_mutated_is_valid(sets, case):
    reader, _, count = CASES[case]
    assert len(reads_or_tells(reader, sets[case].root)) == count


@pytest.mark.parametrize("case", CASES)
@quick
@given(data=st.data())
def test_one_file_of_several(sets, case, data):
    reader, _, count = CASES[case]
    name, records = sets[case].mutated(data, reader)
    if records is not None and "celeba" in name.lower() and name.endswith(".txt"):
        # The first line, the partition and the people each say how many images there are.
        assert len(records) == count


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("single")
    for number in range(1, 4):
        (path / f"{number}.jpg").touch()
    (path / "annotation.mat").touch()
    return path


@pytest.mark.parametrize("compressed", [False, True])
@settings(quick, max_examples=8)  # each starts a process
@given(data=st.data())
def test_the_bytes_of_the_matlab_file(folder, compressed, data):
    path = folder / "annotation.mat"
    path.write_bytes(data.draw(mutated(matlab(compressed=compressed))))
    reads_or_tells(read_pa100k, path)


@pytest.mark.parametrize("document", [EXPORT, EXPORT_MIN], ids=["json", "json-min"])
@quick
@given(data=st.data())
def test_the_bytes_of_an_export(folder, document, data):
    original = json.dumps(document).encode()
    path = folder / "export.json"
    path.write_bytes(original)
    assert len(reads_or_tells(read_label_studio, path)) == 2
    path.write_bytes(data.draw(mutated(original)))
    reads_or_tells(read_label_studio, path)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        [10**400, "", "a.jpg", "\x00", "x" * 300, "/", "../..", "\ud800", "http://["]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just("id"), inner),
    max_leaves=5,
)


@quick
@given(data=st.data(), value=anything)
def test_the_variables_of_the_matlab_file(folder, data, value):
    variables = {"attributes": [[["Hat"]], [["Bag"]]]}
    for number, split in enumerate(("train", "val", "test"), start=1):
        variables[f"{split}_images_name"] = [[[f"{number}.jpg"]]]
        variables[f"{split}_label"] = [[0, 1]]
    with mock.patch.object(pa100k, "_load", return_value=variables):
        assert len(reads_or_tells(read_pa100k, folder)) == 3
        name = data.draw(st.sampled_from(sorted(variables)))
        variables[name] = data.draw(st.sampled_from([value, [value], [[value, 1]]]))
        reads_or_tells(read_pa100k, folder)


@pytest.mark.parametrize("document", [EXPORT, EXPORT_MIN], ids=["json", "json-min"])
@settings(quick, max_examples=300)
@given(data=st.data(), value=anything)
def test_the_values_of_an_export(folder, document, data, value):
    content = json.loads(json.dumps(document))
    target = content
    for _ in range(data.draw(st.integers(0, 7))):
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        inner = target[data.draw(st.sampled_from(keys))] if keys else None
        if not isinstance(inner, dict | list) or not inner:
            break
        target = inner
    keys = list(target) if isinstance(target, dict) else list(range(len(target)))
    target[data.draw(st.sampled_from(keys))] = value
    path = folder / "export.json"
    path.write_text(json.dumps(content))
    reads_or_tells(read_label_studio, path)
