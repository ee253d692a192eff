"""A bundle names no file and downloads nothing, whoever wrote it."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from cases import case

from manylabel.bundle.classifier import load_bundle, save_bundle
from manylabel.bundle.folder import sealed
from manylabel.errors import BundleError
from manylabel.models.heads import MLGCNConfig

FILE = "/etc/passwd"
LINEAR = {"name": "linear"}
GRAPH = {"name": "ml-gcn", "vector_size": 4, "hidden_channels": 4}


def backbone(name: str = "test_resnet", **settings: Any) -> dict[str, Any]:
    return {"backbone": {"name": name, "pretrained": False, **settings}, "head": LINEAR}


def options(**given: Any) -> dict[str, Any]:
    return backbone(options=given)


REACHING: dict[str, dict[str, Any]] = {
    "a download": backbone(pretrained=True),
    "a download by default": {"backbone": {"name": "test_resnet"}, "head": LINEAR},
    "a file of weights": backbone(weights=FILE),
    "a package": backbone(weights="package"),
    "a file and no download": backbone(weights=FILE, pretrained=True),
    "a file of vectors": {**backbone(), "head": {**GRAPH, "vector_file": FILE}},
    "timm's file": options(pretrained_cfg={"file": FILE}),
    "timm's address": options(pretrained_cfg={"url": "http://localhost:9/x"}),
    "timm's source": options(pretrained_cfg={"source": "local-dir", "file": "/etc"}),
    "an overlay": options(pretrained_cfg_overlay={"file": FILE}),
    "a checkpoint": options(checkpoint_path=FILE),
    "a cache": options(cache_dir="/tmp/elsewhere"),
    "pre-trained twice": options(pretrained=True),
    "a hub's model": backbone("hf-hub:timm/resnet18.a1_in1k"),
    "a hub's model, old": backbone("hf_hub:timm/resnet18.a1_in1k"),
    "a folder": backbone("local-dir:/etc"),
    "a path": backbone("../../etc/passwd"),
    "a path after a model": backbone("test_resnet.local-dir:/etc"),
    "a model in capitals": backbone("HF-HUB:timm/resnet18"),
    "a device": options(device="cuda:0"),
    "a class": options(block_fn="os.system"),
}


@pytest.fixture
def nothing_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every door that timm and torch have to files and to the network is an error."""

    def reached(*arguments: Any, **_: Any) -> None:
        pytest.fail(f"reached outside: {arguments!r}")

    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", reached)
    monkeypatch.setattr(torch, "load", reached)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", reached)
    monkeypatch.setattr(torch.hub, "download_url_to_file", reached)


@pytest.mark.usefixtures("nothing_reached")
def test_a_bundle_that_reaches_outside_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    tables = json.loads((tiny_bundle / "bundle.json").read_text())
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    for name, model in REACHING.items():
        (folder / "bundle.json").write_text(json.dumps(sealed({**tables, "model": model})))
        with case(name=name), pytest.raises(BundleError) as caught:
            load_bundle(folder)
        assert str(folder / "bundle.json") in caught.value.where
        assert caught.value.fix


def test_the_setting_that_reaches_outside_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    tables = json.loads((tiny_bundle / "bundle.json").read_text())
    for name, key in [
        ("a download", "backbone.pretrained"),
        ("a file of weights", "backbone.weights"),
        ("a file of vectors", "head.vector_file"),
        ("timm's file", "backbone.options.pretrained_cfg"),
    ]:
        (folder / "bundle.json").write_text(json.dumps(sealed({**tables, "model": REACHING[name]})))
        with case(name=name), pytest.raises(BundleError) as caught:
            load_bundle(folder)
        assert key in caught.value.what


def test_a_head_that_keeps_a_file_in_its_settings_cannot_be_saved(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rule at saving: what is saved can be loaded."""
    found = load_bundle(tiny_bundle)
    head = MLGCNConfig(vector_file=Path(FILE))
    monkeypatch.setattr(found.classifier.head, "settled", lambda: head)
    model = {**found.info.model, "head": head.model_dump(mode="json")}
    info = found.info.model_copy(update={"model": model})
    with pytest.raises(BundleError, match=r"head\.vector_file"):
        save_bundle(tmp_path / "new", found.classifier, info)
    assert not (tmp_path / "new").exists()
