"""What many tests start from: a small bundle on disk and drawn photographs."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# No test touches the home folder or the network. The hub's client reads these when it is imported,
# which timm does.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="manylabel-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import pytest
import torch
from PIL import Image

from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import HeadConfig, LinearConfig
from manylabel.preprocess import InputSpec

# torch writes a record of every move of its compiler, and pytest keeps them: a fifth of the time.
logging.getLogger("torch.__trace").disabled = True

torch.set_num_threads(1)  # tiny models: threads would only wait for one another

TINY_LABELS = ("cat", "dog", "owl")

MakeBundle = Callable[..., Path]
MakeImage = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bundle() -> MakeBundle:
    """Saves a bundle of a tiny, untrained classifier whose scores differ between images."""

    def make(
        folder: Path,
        *,
        head: HeadConfig | None = None,
        labels: tuple[str, ...] = TINY_LABELS,
        thresholds: tuple[float, ...] | None = None,
        seed: int = 0,
        **info: object,
    ) -> Path:
        spec = InputSpec(height=64, width=64)
        model = ModelConfig(
            backbone=BackboneConfig(name="test_resnet", pretrained=False),
            head=head or LinearConfig(),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            classifier = build_classifier(model, LabelSpace(labels), spec)
        with torch.no_grad():
            classifier.get_parameter("head.main.fc.weight").mul_(30)
        return save_bundle(
            folder,
            classifier,
            BundleInfo(
                model=architecture(model, classifier),
                labels=labels,
                input=spec,
                thresholds=thresholds or (0.5,) * len(labels),
                **info,  # pyright: ignore[reportArgumentType]
            ),
        )

    return make


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: MakeBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the labels cat, dog, owl. Read it only; copy it to damage it."""
    return make_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """Draws blocks of random colours, by seed, and saves them."""

    def make(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Path:
        blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
        return path

    return make
