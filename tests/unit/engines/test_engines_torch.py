"""The engine of torch, beside the classifier called without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manylabel.bundle.classifier import load_bundle
from manylabel.engines.torch import TorchEngine
from manylabel.errors import ConfigError
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
    assert list(engine.evidence) == ["attention", "cam"]
    assert (engine.method(), engine.method("cam")) == ("attention", "cam")
    with pytest.raises(ConfigError, match="no method of evidence maps 'queries'") as caught:
        engine.method("queries")
    assert caught.value.fix == "It has: attention, cam."
