import pytest

from manylabel.data.readers.roboflow import find_roboflow, read_roboflow
from manylabel.errors import DataError


@pytest.fixture
def export(tmp_path):
    def write(**splits):
        for split, text in splits.items():
            (tmp_path / split).mkdir()
            (tmp_path / split / "_classes.csv").write_text(text)
            for line in text.splitlines()[1:]:
                (tmp_path / split / line.partition(",")[0]).touch()
        return tmp_path

    return write


def test_the_table_of_each_split(export):
    path = export(
        valid="filename, gull, kelp\n1.jpg, 0, 1\n",
        train="filename, gull, kelp\n1.jpg, 1, 1\n2.jpg, 0, 0\n",
    )
    assert find_roboflow(path) == path
    records = read_roboflow(path)
    assert records.labels.names == ("gull", "kelp")
    assert records.keys == ("train/1.jpg", "train/2.jpg", "valid/1.jpg")
    assert records.targets.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert records.split_counts() == {"train": 2, "val": 1}
    assert all(record.image.is_file() for record in records)
    assert records.notes[0] == "Splits: train from train/, val from valid/"


def test_tables_with_other_labels(export):
    path = export(train="filename,gull\n1.jpg,1\n", test="filename,owl\n2.jpg,1\n")
    with pytest.raises(DataError, match="different labels"):
        read_roboflow(path)


def test_a_folder_without_tables(tmp_path):
    assert find_roboflow(tmp_path) is None
    with pytest.raises(DataError, match="no _classes.csv"):
        read_roboflow(tmp_path)
