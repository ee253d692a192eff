"""`manylabel explain`: what it prints, what it writes, and how it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.cli.main import main
from manylabel.explain.attention import explain_image
from manylabel.images import open_image
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
        model = build_classifier(config, 4, spec).eval()
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
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *map(str, arguments)])
    return int(exit_.value.code or 0)


def test_prints_scores_and_points_and_writes_the_picture(bundles, photo, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert run(bundles / "srn", photo, "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Maps: SRN's weighted attention U."
    assert printed[-1] == f"Picture: {out / 'photo-attention.png'}"
    assert (out / "photo-attention.png").read_bytes().startswith(b"\x89PNG")
    assert open_image(out / "photo-attention.png").width > 512

    predictor = Predictor.load(bundles / "srn", device="cpu")
    image = open_image(photo)
    found = explain_image(predictor, image)
    assert image.size == (90, 120)
    for line, (label, score) in zip(printed[2:-1], predictor.predict(photo).top(3), strict=True):
        u = found.maps[predictor.labels.index(label)]
        row, column = np.unravel_index(u.argmax(), u.shape)
        x, y = (column + 0.5) / u.shape[1] * 90, (row + 0.5) / u.shape[0] * 120
        assert line.split("  ")[0].strip() == label
        assert line.endswith(f"{x:.0f}, {y:.0f}")
        assert f" {score:.3f} " in line


def test_a_linear_head_says_that_its_maps_are_cam(bundles, photo, tmp_path, capsys):
    assert run(bundles / "linear", photo, "--out", tmp_path) == 0
    assert "class activation maps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["--label", "cow", "--label", "big owl", "--label", "cow"], ["cow", "big owl"]),
        (["--top", "1"], 1),
        (["--top", "9"], 4),
        ([], 3),
    ],
)
def test_labels_to_show(bundles, photo, tmp_path, capsys, options, labels):
    assert run(bundles / "srn", photo, "--out", tmp_path, *options) == 0
    shown = [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()[2:-1]]
    assert (len(shown) if isinstance(labels, int) else shown) == labels


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{bundles}/none", "{photo}", "--out", "{out}"], 2, "bundle does not exist"),
        (["{bundles}/srn", "{out}/none.jpg", "--out", "{out}"], 2, "image cannot be read"),
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
