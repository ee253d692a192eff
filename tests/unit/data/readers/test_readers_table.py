from pathlib import Path

import pytest

from manylabel.data.readers.table import find_table, read_table
from manylabel.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write_table(text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write_table


def names(records):
    """Per key the labels that are present."""
    return {record.key: records.labels.decode(record.targets) for record in records}


def test_one_column_of_labels_with_every_other_column(write, tmp_path):
    path = write(
        "image,labels,split,group,mask\n"
        "a.jpg,person|car,train,walk,m/a.png\n"
        "b.jpg,car,valid,,\n"
        "sub/c.jpg,,,,\n"
    )
    records = read_table(path)
    assert records.labels.names == ("car", "person")
    assert names(records) == {"a.jpg": ["car", "person"], "b.jpg": ["car"], "sub/c.jpg": []}
    first, second, third = records
    assert first.image == tmp_path / "a.jpg"
    assert (first.split, first.group, first.mask) == ("train", "walk", tmp_path / "m" / "a.png")
    assert (second.split, second.group, second.mask) == ("val", None, None)
    assert third.split is None
    assert "separated by '|'" in records.summary()
    assert "all labels absent: 1" in records.summary()


def test_a_column_for_each_label(write):
    path = write("file,dog,cat\na.jpg,1,0\nb.jpg,-1,\nc.jpg,0.0,1.0\n")
    records = read_table(path)
    assert records.labels.names == ("dog", "cat")
    assert records.targets.tolist() == [[1, 0], [-1, -1], [0, 1]]
    assert records.targets.dtype == "int8"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a|b c", "b c"], [["a", "b c"], ["b c"]]),
        (["a; b", "c"], [["a", "b"], ["c"]]),
        (['"a, b"', "c"], [["a", "b"], ["c"]]),
        (["a b", "b c", "a c", "a b c"], [["a", "b"], ["b", "c"], ["a", "c"], ["a", "b", "c"]]),
        (["traffic light", "traffic cone", "car"], [["traffic light"], ["traffic cone"], ["car"]]),
        (["a", "b"], [["a"], ["b"]]),
    ],
)
def test_the_mark_between_labels_is_found(write, cells, expected):
    rows = "".join(f"{i}.jpg,{cell}\n" for i, cell in enumerate(cells))
    records = read_table(write("image,tags\n" + rows))
    assert list(names(records).values()) == expected


def test_a_given_mark_wins(write):
    path = write("image,labels\na.jpg,hat; cap/shoe\n")
    assert names(read_table(path, label_delimiter="/")) == {"a.jpg": ["hat; cap", "shoe"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "image;labels\na.jpg;x,y\n"),
        ("t.csv", "image\tlabels\na.jpg\tx,y\n"),
        ("t.tsv", "image\tlabels\na.jpg\tx,y\n"),
        ("t.csv", 'image,labels\r\n"a.jpg","x,y"\r\n\r\n,\r\n'),
        ("t.csv", "\ufeffimage,labels\na.jpg,x|y\n"),
    ],
)
def test_separators_line_ends_and_byte_order_marks(write, name, text):
    assert names(read_table(write(text, name))) == {"a.jpg": ["x", "y"]}


def test_columns_can_be_named_and_the_rest_is_told(write, tmp_path):
    path = write("id,photo,what,fold,labels\n7,a.jpg,x y,test,zzz\n")
    records = read_table(
        path,
        images=tmp_path / "jpg",
        image_column="photo",
        label_column="what",
        label_delimiter=" ",
        split_column="fold",
    )
    assert names(records) == {"a.jpg": ["x", "y"]}
    assert records[0].image == tmp_path / "jpg" / "a.jpg"
    assert records[0].split == "test"
    assert "Ignored columns: 'id', 'labels'" in records.summary()


def test_the_first_column_is_the_image_if_none_is_named_so(write):
    records = read_table(write("photo,car,year\na.jpg,1,1999\nb.jpg,0,2003\n"))
    assert list(records.keys) == ["a.jpg", "b.jpg"]
    assert records.labels.names == ("car",)
    assert "Ignored columns: 'year'" in records.summary()


def test_paths_of_windows_and_dots_are_the_same_image(write):
    records = read_table(write("image,labels\ns\\a.jpg,x\n./s/a.jpg,x\n"))
    assert list(records.keys) == ["s/a.jpg"]


def test_equal_rows_are_merged_and_counted(write):
    records = read_table(write("image,labels\na.jpg,x|y\nb.jpg,x\na.jpg,y|x\n"))
    assert list(records.keys) == ["a.jpg", "b.jpg"]
    assert "merged with it: 1" in records.summary()


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("", "empty", "photos.csv"),
        ("\n \n", "empty", "photos.csv"),
        (",\n,,\n", "empty", "photos.csv"),
        ("image,labels\n", "no rows", "photos.csv"),
        ("a.jpg,car\nb.jpg,bus\n", "no header", "line 1"),
        ("image,labels,labels\na.jpg,x,y\n", "same name: labels", "line 1"),
        ("image,labels\n\na.jpg,x\nb.jpg\n", "1 cells and the header 2", "line 4"),
        ("image,labels\na.jpg,x\nb.jpg,x,y\n", "3 cells and the header 2", "line 3"),
        ('image,labels\na.jpg,x\nb.jpg,"y\nc.jpg,x\n', "cannot be read", "line 3"),
        ("image,labels\n,x\n", "has no image", "line 2, column 'image'"),
        (
            "image,labels,split\na.jpg,x,holiday\n",
            "'holiday' is not a split",
            "line 2, column 'split'",
        ),
        ("image,a,b\n1.jpg,1,0\n2.jpg,0,2\n", "'2' is not a target", "line 3, column 'b'"),
        ("image,a\n1.jpg,1\n2.jpg,maybe\n", "'maybe' is not a target", "line 3, column 'a'"),
        ("sep=;\nimage;a\n1.jpg;1\n", "hint for Excel", "line 1"),
        ("image,year\n1.jpg,1999\n", "No labels were found", "photos.csv"),
        ("image,labels\na.jpg,\n", "no labels", "column 'labels'"),
        ("labels,what\nx,a\n", "No column of image paths", "photos.csv"),
        ("image,labels\na.jpg,x|y\nb.jpg,y\na.jpg,y\n", "different labels", "lines 2 and 4"),
        ("image,labels,split\na.jpg,x,train\na.jpg,x,test\n", "different splits", "lines 2 and 3"),
    ],
)
def test_a_faulty_table_is_told(write, text, what, where):
    with pytest.raises(DataError) as caught:
        read_table(write(text))
    assert what in caught.value.what
    assert where in caught.value.where
    assert caught.value.fix


def test_a_line_is_that_of_the_file_also_below_a_cell_of_two_lines(write):
    with pytest.raises(DataError) as caught:
        read_table(write('image,labels\na.jpg,"x\ny"\nb.jpg\n'))
    assert caught.value.where.endswith("line 4")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "no.csv")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path)


def test_a_file_in_a_code_page_is_told(write):
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read_table(write("image,labels\na.jpg,cat\nb.jpg,caf\u00e9\n", encoding="cp1252"))
    assert caught.value.where.endswith("line 3")
    assert "the word is 'caf\u00e9'" in caught.value.what
    assert "iconv -f CP1252 -t UTF-8" in caught.value.fix
    assert "CSV UTF-8" in caught.value.fix


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_wide_characters_is_told(write, encoding):
    with pytest.raises(DataError, match="not in UTF-8") as caught:
        read_table(write("image,labels\na.jpg,caf\u00e9\nb.jpg,cat\n", encoding=encoding))
    assert "iconv -f UTF-" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"PK\x03\x04abc"),
        ("t.csv", b"\xd0\xcf\x11\xe0abc"),
        ("t.xlsx", b"abc"),
        ("t.csv", b"PAR1abc"),
        ("t.csv", b"\x1f\x8babc"),
    ],
)
def test_a_spreadsheet_or_an_archive_is_told(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="not a table of text") as caught:
        read_table(find_table(tmp_path / name))
    assert "UTF-8" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "image|labels\na.jpg|x,y\n",
        'image,labels\na.jpg,"x\ny"\n',
        "image;labels;weight\na.jpg;x,y;0,5\n",
        'image,labels\n"a.jpg","[""x"", ""y""]"\n',
        "\ufeffimage;labels\r\na.jpg;x|y\r\n",
    ],
)
def test_other_programs_write_csv_in_other_ways(write, text):
    assert names(read_table(write(text))) == {"a.jpg": ["x", "y"]}


def test_a_column_of_the_words_of_a_list_is_not_cut(write):
    """A list with a name that was cut off by a limit of the program that wrote it."""
    with pytest.raises(DataError, match="quote"):
        read_table(write("image,labels\na.jpg,\"['x', 'y\"\n"))


@pytest.mark.parametrize("setting", ["image_column", "label_column", "split_column"])
def test_an_unknown_column_suggests_a_near_one(write, setting):
    with pytest.raises(DataError) as caught:
        read_table(write("image,objects\na.jpg,x\n"), **{setting: "object"})
    assert "no column 'object'" in caught.value.what
    assert "Did you mean 'objects'?" in caught.value.fix
