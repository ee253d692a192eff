from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from manylabel import __version__
from manylabel.atomic import placing
from manylabel.bundle.classifier import architecture, load_bundle, save_bundle, self_contained
from manylabel.bundle.folder import sealed
from manylabel.bundle.info import FORMAT_VERSION, BundleInfo
from manylabel.errors import BundleError, RunError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, SRNConfig
from manylabel.preprocess import InputSpec

SMALL_SRN = SRNConfig(attention_channels=8, relation_channels=8)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


# Round trip


@pytest.mark.parametrize("head", [LinearConfig(), SMALL_SRN], ids=lambda head: head.name)
def test_a_round_trip_gives_the_same_bits(make_bundle, tmp_path: Path, head) -> None:
    first = load_bundle(make_bundle(tmp_path / "a", head=head, provenance={"seed": 3}))
    second = load_bundle(save_bundle(tmp_path / "b", first.classifier, first.info))
    assert second.info == first.info
    assert second.info.provenance == {"seed": 3}
    assert second.weights_sha256 == first.weights_sha256
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(first.classifier(images).logits, second.classifier(images).logits)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_saved_weights_are_the_classifiers(tmp_path: Path) -> None:
    spec = InputSpec(height=64, width=64)
    model = ModelConfig(
        backbone=BackboneConfig(name="test_resnet", pretrained=False), head=LinearConfig()
    )
    classifier = build_classifier(model, LabelSpace(["a", "b"]), spec).to(
        memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    info = BundleInfo(
        model=architecture(model, classifier), labels=("a", "b"), input=spec, thresholds=(0.5, 0.25)
    )
    save_bundle(tmp_path / "bundle", classifier, info)
    saved = load_file(tmp_path / "bundle" / "model.safetensors")
    state = classifier.state_dict()
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[key], state[key]) for key in state)


def test_the_files_are_safetensors_and_json(tiny_bundle: Path) -> None:
    assert set(contents(tiny_bundle)) == {"model.safetensors", "bundle.json"}
    tables = json.loads((tiny_bundle / "bundle.json").read_text())
    weights = (tiny_bundle / "model.safetensors").read_bytes()
    assert tables["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert tables["format_version"] == FORMAT_VERSION
    assert tables["manylabel_version"] == __version__
    assert tables["labels"] == ["cat", "dog", "owl"]
    with safe_open(tiny_bundle / "model.safetensors", framework="pt") as file:
        assert "head.main.fc.weight" in file.keys()  # noqa: SIM118 (no mapping)


def test_a_loaded_classifier_is_ready_for_use(tiny_bundle: Path) -> None:
    bundle = load_bundle(str(tiny_bundle))
    assert not any(module.training for module in bundle.classifier.modules())
    assert list(bundle.labels) == ["cat", "dog", "owl"]


def test_loading_does_not_change_the_random_state(tiny_bundle: Path) -> None:
    before = torch.random.get_rng_state()
    load_bundle(tiny_bundle)
    assert torch.equal(before, torch.random.get_rng_state())


def test_self_contained_names_no_file_and_fixes_the_grid() -> None:
    spec = InputSpec(height=64, width=96)
    tiny = BackboneConfig(name="test_resnet", pretrained=False)
    classifier = build_classifier(
        ModelConfig(backbone=tiny, head=SMALL_SRN), LabelSpace(["a", "b"]), spec
    )
    asked = ModelConfig(
        backbone=BackboneConfig(name="test_resnet", weights=Path("some.pth")), head=SMALL_SRN
    )
    model = self_contained(asked, classifier)
    assert (model.backbone.pretrained, model.backbone.weights) == (False, None)
    assert isinstance(model.head, SRNConfig)
    assert model.head.grid == (4, 6)
    assert model.head.attention_channels == SMALL_SRN.attention_channels


# Faults


def edit(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "bundle.json"
        tables = json.loads(path.read_text())
        path.write_text(json.dumps(sealed({**tables, **changes})))

    return apply


def drop(key: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "bundle.json"
        tables = json.loads(path.read_text())
        del tables[key]
        path.write_text(json.dumps(sealed(tables)))

    return apply


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def change_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        state = load_file(path)
        change(state)
        save_file(state, path)
        edit(weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())(folder)

    return apply


def model_named(name: str) -> dict[str, Any]:
    return {"backbone": {"name": name, "pretrained": False}, "head": {"name": "linear"}}


FAULTS = {
    "folder missing": (shutil.rmtree, r"does not exist", ""),
    "no weights": (remove("model.safetensors"), r"model\.safetensors is missing", ""),
    "no info": (remove("bundle.json"), r"bundle\.json is missing", ""),
    "not JSON": (write("bundle.json", b'{"labels": ['), r"not JSON", "bundle.json"),
    "not text": (write("bundle.json", b"\xff\xfe\x00"), r"not JSON", "bundle.json"),
    "a list": (write("bundle.json", b"[]"), r"format version", "bundle.json"),
    "no version": (drop("format_version"), r"format version", "bundle.json"),
    "text version": (edit(format_version="1"), r"format version", "bundle.json"),
    "unknown key": (edit(colour="red"), r"'colour'", "bundle.json"),
    "missing key": (drop("thresholds"), r"'thresholds' is missing", "bundle.json"),
    "label twice": (edit(labels=["cat", "cat", "owl"]), r"more than once", "bundle.json"),
    "few thresholds": (edit(thresholds=[0.5]), r"1 thresholds for 3 labels", "bundle.json"),
    "threshold 2": (edit(thresholds=[0.5, 2, 0.5]), r"thresholds\.1", "bundle.json"),
    "truncated": (truncate, r"incomplete", "model.safetensors"),
    "empty weights": (write("model.safetensors", b""), r"incomplete", "model.safetensors"),
    "a pickle": (
        write("model.safetensors", b"\x80\x02}q\x00."),
        r"incomplete",
        "model.safetensors",
    ),
    "bit flipped": (flip_a_bit, r"SHA-256", "model.safetensors"),
    "wrong hash": (edit(weights_sha256="0" * 64), r"SHA-256", "model.safetensors"),
    "no hash": (drop("weights_sha256"), r"SHA-256", "model.safetensors"),
    "tensor missing": (
        change_tensors(lambda state: state.pop("head.main.fc.bias")),
        r"1 of \d+ tensors is missing in the file: head\.main\.fc\.bias",
        "model.safetensors",
    ),
    "tensor unknown": (
        change_tensors(lambda state: state.update(more=torch.zeros(1))),
        r"1 of \d+ tensors is unknown to the model: more",
        "model.safetensors",
    ),
    "tensor misshapen": (
        change_tensors(lambda state: state.update({"head.main.fc.bias": torch.zeros(4)})),
        r"1 of .*: head\.main\.fc\.bias is \[4\] in the file, \[3\] in the model",
        "model.safetensors",
    ),
    "other labels": (
        edit(labels=["cat", "dog"], thresholds=[0.5, 0.5]),
        r"2 of \d+ tensors are of another shape: .*weight is \[3, \d+\] in the file, \[2, \d+\] in",
        "model.safetensors",
    ),
    "unknown backbone": (edit(model=model_named("resnet_x")), r"cannot be built", "backbone.name"),
}


@pytest.mark.parametrize(("damage", "what", "where"), FAULTS.values(), ids=FAULTS)
def test_a_damaged_bundle_is_refused(bundle: Path, damage, what: str, where: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=what) as caught:
        load_bundle(bundle)
    assert str(bundle) in caught.value.where
    assert where in caught.value.where
    assert caught.value.fix


def test_a_newer_format_is_refused_with_both_versions(bundle: Path) -> None:
    # A newer format may have keys that are unknown today: the version is what must be said.
    edit(format_version=FORMAT_VERSION + 6, manylabel_version="9.1", a_new_key=1)(bundle)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert f"format {FORMAT_VERSION + 6}" in caught.value.what
    assert f"reads format {FORMAT_VERSION}" in caught.value.what
    assert "9.1" in caught.value.fix


def test_a_folder_above_the_bundle_gets_a_hint(bundle: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle.parent)
    assert caught.value.fix == f"Did you mean {bundle}?"


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="no bundle"):
        load_bundle(tmp_path / "photo.jpg")


# Saving


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_on_call(number: int) -> Callable[..., None]:
    """An fsync that fails the `number`-th time: once for each of the two files."""
    calls = iter(range(1, 100))

    def fsync(_: int) -> None:
        if next(calls) == number:
            disk_full()

    return fsync


@pytest.mark.parametrize("call", [1, 2])
def test_a_full_disk_loses_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    before = contents(bundle)
    loaded = load_bundle(bundle)
    monkeypatch.setattr(os, "fsync", fail_on_call(call))
    with pytest.raises(RunError, match="No space left on device") as caught:
        save_bundle(bundle, loaded.classifier, loaded.info)
    assert caught.value.where == str(bundle)
    assert contents(bundle) == before
    assert list(bundle.parent.iterdir()) == [bundle]


def test_a_failed_replacement_restores_the_old_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(bundle)
    loaded = load_bundle(bundle)
    rename, calls = os.rename, iter(range(1, 100))

    def second_fails(origin: Path, target: Path) -> None:
        if next(calls) == 2:
            disk_full()
        rename(origin, target)

    monkeypatch.setattr(placing, "exchange", lambda first, second: False)
    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(RunError):
        save_bundle(bundle, loaded.classifier, loaded.info)
    assert contents(bundle) == before
    assert list(bundle.parent.iterdir()) == [bundle]


def test_an_interrupt_loses_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(bundle)
    loaded = load_bundle(bundle)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(bundle, loaded.classifier, loaded.info)
    assert contents(bundle) == before
    assert list(bundle.parent.iterdir()) == [bundle]


def test_a_bundle_replaces_a_bundle(make_bundle, bundle: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", seed=1)
    assert contents(other) != contents(bundle)
    loaded = load_bundle(other)
    save_bundle(bundle, loaded.classifier, loaded.info)
    assert contents(bundle) == contents(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "other"]


def test_a_link_stays_a_link(make_bundle, bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(bundle, target_is_directory=True)
    make_bundle(link, seed=1)
    assert link.is_symlink()
    assert load_bundle(link).weights_sha256 == load_bundle(bundle).weights_sha256


def test_missing_parents_are_made(make_bundle, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "runs" / "first" / "bundle")
    assert load_bundle(folder).info.labels == ("cat", "dog", "owl")


def test_a_folder_with_other_files_is_not_replaced(make_bundle, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"holiday\.jpg"):
        make_bundle(tmp_path / "photos")
    assert contents(tmp_path / "photos") == {"holiday.jpg": b"x"}


def test_a_file_in_the_way_is_not_replaced(make_bundle, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(BundleError, match="a file"):
        make_bundle(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"
