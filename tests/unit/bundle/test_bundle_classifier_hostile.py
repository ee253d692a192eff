"""Bundles that ask for too much, and damaged ones: refused at once, with little memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import case
from safetensors.torch import load_file, save_file

from manylabel import plain_json
from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import sealed, write_bundle
from manylabel.errors import BundleError
from manylabel.metrics.calibration import StepCalibration

BIG = 10**9
SECONDS = 3.0
"""The longest time of a refusal, of the processor. Most take hundredths of a second."""


@contextmanager
def little_memory(more: int = 600 << 20) -> Iterator[None]:
    """The block cannot map more memory than now and `more` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def tables(tiny_bundle: Path) -> dict[str, Any]:
    return json.loads((tiny_bundle / "bundle.json").read_text())


def refused(folder: Path, name: str) -> BundleError:
    begin = time.process_time()
    with case(name=name), little_memory(), pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert time.process_time() - begin < SECONDS, name
    error = caught.value
    assert len(str(error)) < 2000, name
    assert str(folder) in error.where
    assert error.what
    assert error.fix
    return error


def model(
    name: str = "test_resnet", *, head: object = None, **options: Any
) -> dict[str, dict[str, object]]:
    backbone = {"name": name, "pretrained": False, "options": options}
    return {"model": {"backbone": backbone, "head": head or {"name": "linear"}}}


def head(**settings: Any) -> dict[str, dict[str, object]]:
    return model(head=settings)


def labelled(names: list[Any]) -> dict[str, list[Any]]:
    return {"labels": names, "thresholds": [0.5] * len(names)}


TOO_MUCH: dict[str, dict[str, Any]] = {
    "channels": model(channels=[BIG] * 4),
    "the most channels": model(channels=[16_384] * 4),
    "blocks": model(layers=[10**6] * 4),
    "more blocks than tensors": model("test_vit", depth=128),
    "groups": model("resnet50", cardinality=16_384, base_width=16_384),
    "tokens": model("test_vit", img_size=10**6),
    "the most tokens": model("test_vit", img_size=4096, patch_size=1),
    "windows": model("swin_tiny_patch4_window7_224", window_size=64, img_size=4096),
    "a long name": model("resnet" * 10**5),
    "a long option": model(**{"x" * 10**6: 1}),
    "units": head(name="srn", units_per_channel=BIG),
    "a grid": head(name="srn", grid=[10**6, 10**6]),
    "the most of all": head(
        name="srn", grid=[4096, 4096], units_per_channel=16_384, relation_channels=16_384
    ),
    "layers": head(name="query2label", decoder_layers=10**6),
    "a vector": head(name="ml-gcn", vector_size=BIG),
    "a graph of labels": {
        **head(name="ml-gcn"),
        **labelled([str(number) for number in range(50_000)]),
    },
    "temperatures": head(name="csra", temperatures=[1 + number / BIG for number in range(10**5)]),
    "a long head": head(name="x" * 10**6),
    "an image": {"input": {"height": 10**6, "width": 10**6}},
    "labels": labelled([str(number) for number in range(10**6)]),
    "a label twice": labelled(["a", "b"] * 100_000),
    "a long label": labelled(["d" * 10**6]),
    "limits": {"at_least": 10**18},
    "a long version": {"manylabel_version": "9" * 10**6},
    "long logits": {"scores_from": "x" * 10**6},
}


def test_a_bundle_that_asks_for_too_much_is_refused(bundle: Path, tables: dict[str, Any]) -> None:
    for name, changes in TOO_MUCH.items():
        (bundle / "bundle.json").write_text(json.dumps(sealed({**tables, **changes})))
        refused(bundle, name)


NO_VALUES: dict[str, dict[str, Any]] = {
    "format 0": {"format_version": 0},
    "format -1": {"format_version": -1},
    "format true": {"format_version": True},
    "format 1.0": {"format_version": 2.0},
    "no model": {"model": None},
    "no head": head(name="nope"),
    "a list of heads": model(head=[1]),
    "a blank label": labelled(["cat", " ", "owl"]),
    "labels that look the same": labelled(["caf\u00e9", "cafe\u0301", "owl"]),
    "a number as label": labelled(["cat", 1, "owl"]),
    "a text as labels": {"labels": "cat"},
    "a threshold below 0": {"thresholds": [0.5, -0.1, 0.5]},
    "a threshold that is no number": {"thresholds": ["nan", 0.5, 0.5]},
    "a deviation of 0": {"input": {"std": [0, 1, 1]}},
    "an endless mean": {"input": {"mean": ["inf", 0, 0]}},
    "a list as provenance": {"provenance": [1]},
    "an endless calibration": {
        "calibration": {
            "kind": "platt",
            "rise": ["inf"] * 3,
            "fall": [1] * 3,
            "offset": ["nan"] * 3,
            "pooled": [True] * 3,
        }
    },
    "knots that are no numbers": {
        "calibration": {
            "kind": "isotonic",
            "at": [["nan", "nan"]] * 3,
            "value": [[0.1, 0.2]] * 3,
            "pooled": [True] * 3,
        }
    },
}


def test_values_that_are_none_are_refused(bundle: Path, tables: dict[str, Any]) -> None:
    for name, changes in NO_VALUES.items():
        (bundle / "bundle.json").write_text(json.dumps(sealed({**tables, **changes})))
        fault = refused(bundle, name).what
        assert fault.startswith("The bundle cannot be used: ") or "format" in name, fault


def test_texts_that_are_not_json_or_have_two_meanings_are_refused(
    bundle: Path, tables: dict[str, Any]
) -> None:
    text = json.dumps({**tables, "provenance": {"seed": 3}})
    for name, part, other, fault in [
        ("NaN", "[0.5", "[NaN", "NaN"),
        ("infinite", '"seed": 3', '"seed": 1e999', "too large"),
        ("digits", '"seed": 3', '"seed": ' + "3" * 5000, "digits"),
        ("deep", '"seed": 3', '"seed": ' + "[" * 10**5 + "]" * 10**5, "deep"),
        ("two seeds", '"seed": 3', '"seed": 3, "seed": 4', "'seed' is given twice"),
        ("two models", '"model":', '"model": {}, "model":', "'model' is given twice"),
        ("half a character", '"seed": 3', '"seed": "\\ud800"', "half a character"),
        ("many", '"seed": 3', '"seed": [' + "[]," * 2_000_000 + "3]", "2,000,000 values"),
        ("large", '"seed": 3', '"seed": "' + "3" * (64 << 20) + '"', "67,108,864 bytes"),
        ("changed by hand", '"seed": 3', '"seed": 4', "own SHA-256"),
    ]:
        assert part in text
        (bundle / "bundle.json").write_text(text.replace(part, other, 1))
        assert fault in refused(bundle, name).what


@pytest.mark.parametrize("file", ["bundle.json", "model.safetensors"])
def test_what_is_no_ordinary_file_is_refused_at_once(bundle: Path, file: str) -> None:
    path = bundle / file
    for name, make in {
        "a pipe": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
        "zeros": lambda: path.symlink_to("/dev/zero"),
        "randomness": lambda: path.symlink_to("/dev/urandom"),
        "itself": lambda: path.symlink_to(file),
        "100 GiB of nothing": lambda: (path.touch(), os.truncate(path, 100 << 30)),
    }.items():
        path.rmdir() if path.is_dir() else path.unlink()
        make()
        refused(bundle, name)


def test_weights_that_add_up_take_memory_only_if_the_model_needs_them(
    bundle: Path, tables: dict[str, Any]
) -> None:
    """A sparse file of 30 GiB whose header is right, but which is not this model's."""
    entries = {"more": {"dtype": "F32", "shape": [7 << 30], "data_offsets": [0, 28 << 30]}}
    header = json.dumps(entries).encode()
    path = bundle / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + (28 << 30))
    assert "unknown to the model: more" in refused(bundle, "sparse").what


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32, torch.bool])
def test_weights_of_another_type_are_refused(
    bundle: Path, tables: dict[str, Any], dtype: torch.dtype
) -> None:
    path = bundle / "model.safetensors"
    save_file({key: tensor.to(dtype) for key, tensor in load_file(path).items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps(sealed({**tables, "weights_sha256": digest}))
    (bundle / "bundle.json").write_text(text)
    assert "in the file, F32 in the model" in refused(bundle, str(dtype)).what


# Damage


def damages(whole: bytes, count: int) -> Iterator[bytes]:
    """Copies with one flipped bit, a block of zeros, a lost end or a repeated part."""
    rng = random.Random(0)
    ways: list[Callable[[int], bytes]] = [
        lambda at: whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :],
        lambda at: whole[:at] + bytes(len(whole[at : at + 64])) + whole[at + 64 :],
        lambda at: whole[:at],
        lambda at: whole[: at + 8] + whole[at:],
    ]
    for number in range(count):
        yield ways[number % len(ways)](rng.randrange(len(whole)))


@pytest.mark.parametrize("file", ["bundle.json", "model.safetensors"])
def test_a_damaged_file_is_refused_or_holds_the_same(
    bundle: Path, tiny_bundle: Path, file: str
) -> None:
    """What JSON does not tell apart, such as another kind of space, may differ; values may not."""
    whole = (bundle / file).read_bytes()
    expected = load_bundle(tiny_bundle)
    for number, damaged in enumerate(damages(whole, 80)):
        (bundle / file).write_bytes(damaged)
        try:
            found = load_bundle(bundle)
        except BundleError:
            continue
        with case(number=number):
            assert found.info == expected.info
            state = found.classifier.state_dict()
            assert state.keys() == expected.classifier.state_dict().keys()
            assert all(
                torch.equal(tensor, state[key])
                for key, tensor in expected.classifier.state_dict().items()
            )


# Saving


def test_a_description_that_could_not_be_read_again_is_not_saved(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = load_bundle(tiny_bundle).info
    knots = tuple(number / 1000 for number in range(1000))
    many = StepCalibration(at=(knots,) * 3, value=(knots,) * 3, pooled=(True,) * 3)
    monkeypatch.setattr(plain_json, "MAX_VALUES", 5000)
    with pytest.raises(BundleError, match="cannot be saved: it holds more than 5,000") as error:
        write_bundle(tmp_path / "new", b"", info.model_copy(update={"calibration": many}))
    assert "isotonic" in error.value.fix
    assert not (tmp_path / "new").exists()


def test_a_figure_that_is_no_number_is_saved_as_null(tiny_bundle: Path, tmp_path: Path) -> None:
    info = load_bundle(tiny_bundle).info.model_copy(update={"tuned": {"CF1": float("nan")}})
    weights = (tiny_bundle / "model.safetensors").read_bytes()
    assert load_bundle(write_bundle(tmp_path / "new", weights, info)).info.tuned == {"CF1": None}
