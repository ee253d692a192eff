"""Valid files of each kind, which the fuzz job then damages."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.decide import Decision
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import SRNConfig
from manylabel.preprocess import InputSpec

LABELS = ("cat", "dog", "owl")


def images() -> dict[str, bytes]:
    """Small pictures in every format and in the modes that have a path of their own, by name."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (5, 6, 4), dtype=np.uint8)
    rgba = Image.fromarray(blocks).resize((48, 40), Image.Resampling.NEAREST)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    real = Image.fromarray(np.asarray(grey, dtype=np.float32) / 7)
    turned = Image.Exif()
    turned[274] = 6
    kinds: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        ("baseline.jpg", rgb, "JPEG", {}),
        ("progressive.jpg", rgb, "JPEG", {"progressive": True}),
        ("grey.jpg", grey, "JPEG", {}),
        ("cmyk.jpg", rgb.convert("CMYK"), "JPEG", {}),
        ("turned.jpg", rgb, "JPEG", {"exif": turned}),
        ("frames.mpo", rgb, "MPO", _two(rgb)),
        ("rgb.png", rgb, "PNG", {}),
        ("alpha.png", rgba, "PNG", {}),
        ("palette.png", rgb.convert("P"), "PNG", {"transparency": 3}),
        ("one-bit.png", grey.convert("1"), "PNG", {}),
        ("deep.png", deep, "PNG", {}),
        ("lossy.webp", rgba, "WEBP", {}),
        ("lossless.webp", rgb, "WEBP", {"lossless": True}),
        ("raw.tif", rgb, "TIFF", {}),
        ("lzw.tif", rgba, "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", grey, "TIFF", {"compression": "tiff_deflate"}),
        ("jpeg.tif", rgb, "TIFF", {"compression": "jpeg"}),
        ("fax.tif", grey.convert("1"), "TIFF", {"compression": "group4"}),
        ("float.tif", real, "TIFF", {}),
        ("deep.tif", deep, "TIFF", {}),
        ("pages.tif", rgb, "TIFF", _two(rgb)),
        ("rgb.bmp", rgb, "BMP", {}),
        ("palette.bmp", rgb.convert("P"), "BMP", {}),
        ("animated.gif", rgb.convert("P"), "GIF", _two(rgb)),
        ("rgb.ppm", rgb, "PPM", {}),
        ("deep.pgm", deep, "PPM", {}),
    ]
    if features.check("avif"):
        kinds.append(("rgb.avif", rgb, "AVIF", {}))
    if features.check("jpg_2000"):
        kinds.append(("rgb.jp2", rgb, "JPEG2000", {}))
    return {name: _saved(image, form, options) for name, image, form, options in kinds}


def _two(second: Image.Image) -> dict[str, Any]:
    """The options that save a second frame."""
    return {"save_all": True, "append_images": [second.rotate(180)]}


def _saved(image: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, form, **options)  # saving leaves settings in the image
    return file.getvalue()


def bundle(folder: Path) -> Path:
    """A bundle of a tiny SRN with calibration and limits, so that every key has a value."""
    spec = InputSpec(height=64, width=64)
    model = ModelConfig(
        backbone=BackboneConfig(name="test_resnet", pretrained=False),
        head=SRNConfig(attention_channels=8, relation_channels=8),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = build_classifier(model, LabelSpace(LABELS), spec)
    info = BundleInfo(
        model=architecture(model, classifier),
        labels=LABELS,
        input=spec,
        thresholds=(0.5, 0.25, 0.75),
        at_least=1,
        at_most=2,
        provenance={"seed": 0, "recipe": {"optim": {"lr": 0.1}}},
    )
    assert isinstance(info.decision, Decision)
    return save_bundle(folder, classifier, info)


TABLE = b'image,labels,split,group\n"a.jpg",cat|owl,train,1\nb.jpg,dog,val,\nc.jpg,,test,2\n'
WIDE = b"image,cat,dog,owl\na.jpg,1,0,0\nb.jpg,-1,,1\nc.jpg,0,0,0\n"
COCO = json.dumps(
    {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 9, "height": 8} for i in (1, 2)],
        "annotations": [
            {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"image_id": 2, "category_id": 4, "bbox": [0, 0, 9, 8], "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
).encode()
SCORES = b"image,cat,dog,owl\na.jpg,0.9,0.1,0.5\nb.jpg,0.2,0.7,1\nc.jpg,1e-3,0,0.25\n"
TRUTH = b"image,cat,dog,owl\na.jpg,1,0,0\nb.jpg,0,1,1\nc.jpg,0,0,1\n"
