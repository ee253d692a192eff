"""`manylabel explain`: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.cli.explain_options import ROWS
from manylabel.cli.explain_subjects import unique_names
from manylabel.cli.main import main
from manylabel.explain import explain_image
from manylabel.explain.pictures.themes import BOX
from manylabel.images import open_image
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, SRNConfig
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

HEADS = {
    "srn": SRNConfig(attention_channels=16, relation_channels=16),
    "linear": LinearConfig(),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    spec = InputSpec(height=64, width=64)
    for name, head in HEADS.items():
        torch.manual_seed(0)
        config = ModelConfig(
            backbone=BackboneConfig(name="test_resnet", pretrained=False), head=head
        )
        model = build_classifier(config, LabelSpace.numbered(4), spec).eval()
        info = BundleInfo(
            model=architecture(config, model),
            labels=("cat", "dog", "big owl", "cow"),
            input=spec,
            thresholds=(0.9, 0.9, 0.9, 0.9),
        )
        save_bundle(folder / name, model, info)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side: upright it is 90 x 120
    image.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def run(*arguments: object) -> int:
    """Run the command, with small pictures if the arguments do not say otherwise."""
    small = () if "--scale" in arguments else ("--scale", "0.5")
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *map(str, arguments), *small])
    return int(exit_.value.code or 0)


def lines(printed: str) -> list[str]:
    """The lines of the table of the last image."""
    found = printed.splitlines()
    start = max(i for i, line in enumerate(found) if line.startswith("label "))
    return [line for line in found[start + 1 :] if not line.startswith("Picture: ")]


def test_prints_scores_and_points_and_writes_the_picture(bundles, photo, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert run(bundles / "srn", photo, "--out", out, "--scale", "1") == 0
    printed = capsys.readouterr().out
    said = printed.splitlines()
    assert said[0] == "Maps: SRN's weighted attention U (method attention)."
    assert said[1] == f"Image: {photo}"
    assert said[-1] == f"Picture: {out / 'photo-attention.png'}"
    assert (out / "photo-attention.png").read_bytes().startswith(b"\x89PNG")
    assert open_image(out / "photo-attention.png").width > 512

    predictor = Predictor.load(bundles / "srn", device="cpu")
    found = explain_image(predictor, photo)
    assert open_image(photo).size == (90, 120)
    expected = predictor.predict(photo).top(3)
    for line, (label, score) in zip(lines(printed), expected, strict=True):
        u = found.maps[predictor.labels.index(label)]
        row, column = np.unravel_index(u.argmax(), u.shape)
        x, y = (column + 0.5) / u.shape[1] * 90, (row + 0.5) / u.shape[0] * 120
        assert line.split("  ")[0].strip() == label
        assert line.endswith(f"not predicted  {x:.0f}, {y:.0f}")
        assert f" {score:.3f} " in line


def test_without_a_predicted_label_the_best_are_shown(bundles, photo, tmp_path, capsys):
    assert run(bundles / "srn", photo, "--out", tmp_path) == 0
    assert "No label is predicted; the best are shown." in capsys.readouterr().out


def test_a_linear_head_says_that_its_maps_are_cam(bundles, photo, tmp_path, capsys):
    assert run(bundles / "linear", photo, "--out", tmp_path) == 0
    assert "class activation maps" in capsys.readouterr().out
    assert (tmp_path / "photo-cam.png").exists()


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["--label", "cow", "--label", "big owl", "--label", "cow"], ["cow", "big owl"]),
        (["--top", "1"], 1),
        (["--top", "9"], 4),
        ([], 3),
        (["--method", "occlusion", "--label", "dog"], ["dog"]),  # computed for one label only
        (["--method", "cam", "--top", "2"], 2),
    ],
)
def test_labels_to_show(bundles, photo, tmp_path, capsys, options, labels):
    assert run(bundles / "srn", photo, "--out", tmp_path, *options) == 0
    shown = [line.split("  ")[0].strip() for line in lines(capsys.readouterr().out)]
    assert (len(shown) if isinstance(labels, int) else shown) == labels


def test_a_costly_method_gives_the_maps_of_the_labels_that_are_shown(bundles, photo, capsys):
    assert run(bundles / "srn", photo, "--out", photo.parent, "--method", "occlusion") == 0
    predictor = Predictor.load(bundles / "srn", device="cpu")
    found = explain_image(predictor, photo, "occlusion")
    printed = lines(capsys.readouterr().out)
    for line, (label, _) in zip(printed, predictor.predict(photo).top(3), strict=True):
        one = found.maps[predictor.labels.index(label)]
        row, column = np.unravel_index(one.argmax(), one.shape)
        x, y = (column + 0.5) / one.shape[1] * 90, (row + 0.5) / one.shape[0] * 120
        assert line.startswith(label)
        assert line.endswith(f"  {x:.0f}, {y:.0f}")


def test_the_method_is_the_one_that_is_asked_for(bundles, photo, tmp_path, capsys):
    assert run(bundles / "srn", photo, "--out", tmp_path, "--method", "cam") == 0
    assert "method cam" in capsys.readouterr().out
    assert (tmp_path / "photo-cam.png").exists()
    assert run(bundles / "linear", photo, "--out", tmp_path, "--method", "atention") == 2
    assert "It has: cam, " in capsys.readouterr().err


def test_a_bad_image_is_skipped_and_the_rest_goes_on(bundles, make_image, tmp_path, capsys):
    folder = tmp_path / "photos"
    for name in ("a", "b", "c"):
        make_image(folder / f"{name}.png", seed=ord(name))
    (folder / "b.png").write_bytes(b"no image")
    assert run(bundles / "srn", folder, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert f"Skipped {folder / 'b.png'}: " in said.err
    assert "1 of 3 images was skipped." in said.err
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a-attention.png", "c-attention.png"]


def test_images_of_the_same_name_have_pictures_of_their_own(bundles, make_image, tmp_path, capsys):
    one, other = tmp_path / "one" / "cat.png", tmp_path / "other" / "cat.png"
    make_image(one, seed=1)
    make_image(other, seed=2)
    out = tmp_path / "out"
    assert run(bundles / "srn", one, other, "--out", out) == 0
    pictures = [out / "cat-attention.png", out / "cat-2-attention.png"]
    said = capsys.readouterr().out
    assert all(f"Picture: {picture}" in said for picture in pictures)
    assert pictures[0].read_bytes() != pictures[1].read_bytes()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/cat.jpg", "b/cat.png", "dog.jpg"], ["cat", "cat-2", "dog"]),
        (["cat.jpg", "x/cat.jpg", "cat-2.jpg"], ["cat", "cat-3", "cat-2"]),
        (["cat-2.jpg", "cat.jpg", "x/cat.jpg"], ["cat-2", "cat", "cat-3"]),
        (["Cat.jpg", "cat.jpg"], ["Cat", "cat-2"]),  # one file on some systems
        (["a b/c:d.png"], ["c_d"]),
        (["..jpg", "\u202e.png"], ["image", "_"]),
        (["x" * 300 + ".jpg"], ["x" * 80]),
    ],
)
def test_names_of_files(names, expected):
    assert unique_names(names) == expected


@pytest.mark.parametrize("form", ["png", "jpg", "svg"])
def test_a_large_picture_of_each_label(bundles, photo, tmp_path, capsys, form):
    options = ("--each-label", "--top", "2", "--picture-format", form)
    assert run(bundles / "srn", photo, "--out", tmp_path / "out", *options) == 0
    best = [name for name, _ in Predictor.load(bundles / "srn").predict(photo).top(2)]
    names = [f"{i}-{name.replace(' ', '_')}.{form}" for i, name in enumerate(best, start=1)]
    folder = tmp_path / "out" / "photo-attention"
    assert sorted(path.name for path in folder.iterdir()) == names
    if form == "svg":
        root = ElementTree.fromstring((folder / names[0]).read_bytes())
        assert best[0] in "".join(root.itertext())


def test_a_contact_sheet_begins_a_new_file_when_it_is_full(bundles, make_image, tmp_path, capsys):
    for number in range(ROWS + 1):
        make_image(tmp_path / "photos" / f"{number:02}.png", seed=number)
    options = ("--contact-sheet", "--scale", "0.5", "--theme", "dark")
    assert run(bundles / "srn", tmp_path / "photos", "--out", tmp_path / "out", *options) == 0
    first, second = (tmp_path / "out" / f"contact-sheet-attention{n}.png" for n in ("", "-2"))
    one, other = open_image(first), open_image(second)
    assert sorted((tmp_path / "out").iterdir()) == [second, first]
    assert one.height > 5 * other.height
    assert one.getpixel((1, 1)) == other.getpixel((1, 1)) == (0x16, 0x16, 0x1A)


@pytest.fixture
def instances(make_image, tmp_path: Path) -> Path:
    """Three images with boxes: a cat; a dog; nothing."""
    for number in range(3):
        make_image(tmp_path / "set" / f"{number}.png", seed=number)
    names = ("cat", "dog", "big owl", "cow")
    boxes = [(0, 1, [12, 10, 24, 20]), (1, 2, [0, 0, 48, 40])]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 48, "height": 40} for i in range(3)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "annotations": [
            {"id": i, "image_id": at, "category_id": kind, "bbox": box, "area": 1, "iscrowd": 0}
            for i, (at, kind, box) in enumerate(boxes)
        ],
    }
    path = tmp_path / "set" / "instances_val.json"
    path.write_text(json.dumps(content))
    return path


def test_a_data_set_gives_images_truth_and_boxes(bundles, instances, tmp_path, capsys):
    data = ("--data", instances, "--images", instances.parent, "--boxes")
    out = tmp_path / "out"
    options = ("--top", "4", "--limit", "2", "--picture-format", "svg")
    assert run(bundles / "srn", *data, "--out", out, *options) == 0
    said = capsys.readouterr().out
    assert "Drawn: the first 2 of 3 images." in said
    assert "In the data: cat." in said
    assert "In the data: dog." in said
    rows = {line.split("  ")[0]: line for line in lines(said)}  # of the image with the dog
    assert "missed" in rows["dog"]
    assert "rightly not predicted" in rows["cat"]
    assert sorted(path.name for path in out.iterdir()) == ["0-attention.svg", "1-attention.svg"]
    root = ElementTree.fromstring((out / "0-attention.svg").read_bytes())
    assert "1 box" in "".join(root.itertext())
    assert sum(each.get("stroke") == BOX for each in root.iter()) == 3  # image, label and key


def test_images_that_are_named_get_their_truth_from_the_data_set(
    bundles, instances, photo, tmp_path, capsys
):
    paths = (instances.parent / "1.png", photo)
    data = ("--data", instances, "--images", instances.parent)
    assert run(bundles / "srn", *paths, *data, "--out", tmp_path / "out", "--top", "1") == 0
    said = capsys.readouterr().out
    assert "1 image is not in the data set: their truth is not known." in said
    assert said.count("In the data: dog.") == 1
    assert said.count("In the data") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{bundles}/none", "{photo}", "--out", "{out}"], 2, "bundle does not exist"),
        (["{bundles}/srn", "{out}/none.jpg", "--out", "{out}"], 1, "image cannot be read"),
        (["{bundles}/srn", "--out", "{out}"], 2, "Give images, or a data set with --data"),
        (["{bundles}/srn", "{photo}", "--out", "{out}", "--boxes"], 2, "give --data"),
        (["{bundles}/srn", "{photo}", "--out", "{out}", "--method", "x"], 2, "It has: attention"),
        (
            ["{bundles}/srn", "{photo}", "--out", "{out}", "--each-label", "--contact-sheet"],
            2,
            "not both",
        ),
        (["{bundles}/srn", "{photo}", "--out", "{out}", "--label", "dgo"], 2, "mean 'dog'"),
        (["{bundles}/srn", "{photo}", "--out", "{photo}"], 1, "picture cannot be written"),
        (["{bundles}/srn", "{photo}", "--out", "{out}", "--top", "0"], 2, "--top"),
        (["{bundles}/srn", "{photo}", "--out", "{out}", "--top", "1", "--label", "a"], 2, "both"),
        (["{bundles}/srn", "{photo}"], 2, "--out"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    bundles, photo, tmp_path, capsys, arguments, code, message
):
    out = tmp_path / "out"
    given = [each.format(bundles=bundles, photo=photo, out=out) for each in arguments]
    assert run(*given) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not out.exists()
