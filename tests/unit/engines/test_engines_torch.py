"""The engine of torch, beside the classifier called without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cases import case

from manylabel.bundle.classifier import load_bundle
from manylabel.engines.torch import TorchEngine
from manylabel.errors import ConfigError, RunError
from manylabel.models.heads import SRNConfig
from manylabel.preprocess import InputSpec

SPEC = InputSpec(height=64, width=64)
SMALL_SRN = SRNConfig(attention_channels=8, relation_channels=8)


@pytest.fixture(scope="module")
def folder(make_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("srn") / "bundle", head=SMALL_SRN)


def test_logits_and_maps_have_the_bits_of_the_classifier(folder: Path) -> None:
    """The images are contiguous there: another memory layout changes the last bits."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    found = TorchEngine.load(folder, device="cpu").run(pixels, evidence=["attention"])
    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (SPEC.mean, SPEC.std))
    images = (values.float() * SPEC.value_scale - mean) / std
    with torch.no_grad():
        expected = load_bundle(folder).classifier(images)
    np.testing.assert_array_equal(found.logits, expected.logits.numpy())
    np.testing.assert_array_equal(found.evidence["attention"], expected.maps["weighted"].numpy())


def test_the_best_method_is_the_default_and_an_unknown_one_is_refused(folder: Path) -> None:
    engine = TorchEngine.load(folder, device="cpu")
    own = ["attention", "unweighted-attention", "confidence", "cam"]
    gradients = ["grad-cam", "layer-cam", "grad-cam-mid", "layer-cam-mid"]
    assert list(engine.evidence) == own + gradients
    assert [method for method, kind in engine.evidence.items() if kind.costly] == gradients
    assert (engine.method(), engine.method("cam")) == ("attention", "cam")
    with pytest.raises(ConfigError, match="no method of evidence maps 'gradcam'") as caught:
        engine.method("gradcam")
    assert caught.value.fix == f"Did you mean 'grad-cam'? It has: {', '.join(own + gradients)}."
    pixels = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match="no method of evidence maps 'queries'"):
        engine.run(pixels, evidence=["queries"])


def test_only_the_maps_of_the_asked_labels_and_always_all_logits(folder: Path) -> None:
    """The logits keep their bits, whatever is asked beside them."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    engine = TorchEngine.load(folder, device="cpu")
    logits = engine.run(pixels).logits
    whole = engine.run(pixels, list(engine.evidence))
    for labels in ([2, 0], [1], []):
        part = engine.run(pixels, list(engine.evidence), labels)
        np.testing.assert_array_equal(part.logits, logits)
        assert list(part.evidence) == list(engine.evidence)
        for method, maps in part.evidence.items():
            with case(labels=labels, method=method):
                np.testing.assert_array_equal(maps, whole.evidence[method][:, labels])
    np.testing.assert_array_equal(whole.logits, logits)
    assert engine.run(pixels).evidence == {}


def test_gradients_are_those_of_the_logits_that_scores_come_from(make_bundle, tmp_path) -> None:
    """y_att of SRN has no part in the final map, and y_cls none in the mid map."""
    pixels = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    for branch, dead in [("att", "final"), ("cls", "mid")]:
        folder = make_bundle(tmp_path / branch, head=SMALL_SRN, scores_from=branch)
        engine = TorchEngine.load(folder, device="cpu")
        found = engine.run(pixels, ["layer-cam", "layer-cam-mid"]).evidence
        empty = {"final": "layer-cam", "mid": "layer-cam-mid"}[dead]
        with case(branch=branch):
            assert {name for name, maps in found.items() if not maps.any()} == {empty}


def test_too_little_memory_is_said_in_words(folder: Path, monkeypatch) -> None:
    engine = TorchEngine.load(folder, device="cpu")

    def ask_torch(_):
        torch.empty(1 << 55)

    def ask_a_gpu(_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def ask_python(_):
        bytearray(1 << 62)

    for ask in (ask_torch, ask_a_gpu, ask_python):
        monkeypatch.setattr(engine.classifier.backbone, "forward", ask)
        for images, fix in [(2, "a smaller --batch-size"), (1, "more memory")]:
            pixels = np.zeros((images, 64, 64, 3), dtype=np.uint8)
            with (
                case(ask=ask.__name__, images=images),
                pytest.raises(RunError, match=f"not enough memory .* {images} image") as caught,
            ):
                engine.run(pixels)
            assert fix in caught.value.fix

    def other(_):
        raise RuntimeError("a fault of the model")

    monkeypatch.setattr(engine.classifier.backbone, "forward", other)
    with pytest.raises(RuntimeError, match="a fault of the model"):
        engine.run(np.zeros((1, 64, 64, 3), dtype=np.uint8))
