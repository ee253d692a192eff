"""Explanations of every head by every method: what they promise, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from cases import case
from PIL import Image

from manylabel.bundle.classifier import Bundle, architecture
from manylabel.bundle.info import BundleInfo, ModelInfo
from manylabel.engines.engine import Engine, EngineOutput
from manylabel.engines.torch import TorchEngine
from manylabel.errors import ConfigError, DataError, ImageError
from manylabel.explain import Explanation, Occlusion, explain, explain_image, methods, scaled
from manylabel.images import open_image
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import HEADS
from manylabel.pixels import normalise
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

LABELS = LabelSpace(["cat", "dog", "owl", "cow"])
SPEC = InputSpec(height=64, width=64)
TRANSFORMER = {"channels": 16, "feedforward_channels": 24}
SMALL = {
    "srn": {"attention_channels": 8, "relation_channels": 6},
    "srn-att": {"attention_channels": 8},
    "srn-modern": {"channels": 8, "relation_channels": 6},
    "semantic": {"relation_channels": 8},
    "ml-gcn": {"vector_size": 6, "hidden_channels": 8},
    "ml-decoder": TRANSFORMER,
    "query2label": TRANSFORMER,
}
"""Options that make a head quick."""
over_heads = pytest.mark.parametrize("name", list(HEADS))


def predictor_of(name: str) -> Predictor:
    config = ModelConfig(
        backbone=BackboneConfig(name="test_resnet", pretrained=False),
        head=HEADS[name].Config.model_validate(SMALL.get(name, {})),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_classifier(config, LABELS, SPEC).eval()
    info = BundleInfo(
        model=architecture(config, model),
        labels=LABELS.names,
        input=SPEC,
        thresholds=(0.5,) * len(LABELS),
    )
    return Predictor(TorchEngine(Bundle(info, model, "0" * 64), device="cpu"), batch_size=2)


@pytest.fixture(scope="module")
def predictors() -> dict[str, Predictor]:
    return {name: predictor_of(name) for name in HEADS}


@pytest.fixture(scope="module")
def photos(make_image, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    return [make_image(folder / f"{i}.png", seed=i) for i in range(3)]


def explained(*arguments, **named) -> list[Explanation]:
    found = list(explain(*arguments, **named))
    assert all(isinstance(each, Explanation) for each in found)
    return [each for each in found if isinstance(each, Explanation)]


# ---- over the table ---------------------------------------------------------------------------


@over_heads
def test_every_method_of_every_head(predictors, photos, name):
    """Shape, range, the asked labels alone and in their order, the same bits twice."""
    predictor = predictors[name]
    known = methods(predictor.engine)
    assert list(known)[-1] == "occlusion"
    assert {"grad-cam", "layer-cam"} < set(known)
    quick = Occlusion(patch=0.5, stride=0.25)
    for method, kind in known.items():
        with case(method=method):
            whole = explained(predictor, photos, method=method, occlusion=quick)
            asked = explained(predictor, photos, ["cow", "dog"], method, occlusion=quick)
            again = explained(predictor, photos, ["cow", "dog"], method, occlusion=quick)
            assert len(whole) == len(photos)
            for one, two, three in zip(whole, asked, again, strict=True):
                assert (one.method, one.kind) == (method, kind)
                assert one.columns == (0, 1, 2, 3)
                assert two.columns == (3, 1)
                assert one.maps.shape[0] == 4
                assert one.maps.ndim == 3
                assert np.isfinite(one.maps).all()
                assert kind.low is None or one.maps.min() >= kind.low
                assert kind.high is None or one.maps.max() <= kind.high + 1e-6
                assert one.scaled.min() >= 0
                assert one.scaled.max() <= 1
                np.testing.assert_array_equal(two.maps, one.maps[[3, 1]])
                np.testing.assert_array_equal(three.maps, two.maps)
            assert any(each.maps.any() for each in whole)


@over_heads
def test_scores_and_labels_have_the_bits_of_prediction(predictors, photos, name):
    predictor = predictors[name]
    expected = list(predictor.predict_many((path.name, path) for path in photos))
    for method in methods(predictor.engine):
        found = explained(
            predictor, photos, ["dog"], method, occlusion=Occlusion(patch=1, stride=1)
        )
        for one, other in zip(found, expected, strict=True):
            with case(method=method):
                np.testing.assert_array_equal(one.scores, other.scores)
                np.testing.assert_array_equal(one.decided, other.decided)


@over_heads
def test_the_model_is_as_it_was(predictors, photos, name):
    """No gradient, no frozen or thawed parameter, evaluation mode, and grad mode as before."""
    predictor = predictors[name]
    model = predictor.engine.classifier
    wanted = [each.requires_grad for each in model.parameters()]
    for method in predictor.engine.evidence:
        explained(predictor, photos, method=method)
    assert all(each.grad is None for each in model.parameters())
    assert [each.requires_grad for each in model.parameters()] == wanted
    assert not any(module.training for module in model.modules())
    assert torch.is_grad_enabled()


@over_heads
def test_grad_cam_of_the_whole_model_is_that_of_captum(predictors, photos, name):
    """From pixels to the map, by hooks in the backbone: the engine's way knows no layers."""
    predictor = predictors[name]
    model = predictor.engine.classifier
    last = model.backbone.model.layer4
    oracle = LayerGradCam(lambda images: model(images).logits, last)
    pixels = np.stack([predictor.prepare(path) for path in photos[:2]])
    images = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), SPEC)
    found = explained(predictor, photos[:2], ["owl", "cat"], "grad-cam")
    for position, label in enumerate([2, 0]):
        expected = oracle.attribute(images, target=label, relu_attributions=True)[:, 0].detach()
        for one, other in zip(found, expected.numpy(), strict=True):
            tolerance = 1e-5 * max(float(other.max()), 1e-6)
            np.testing.assert_allclose(one.maps[position], other, atol=tolerance)


# ---- the scale --------------------------------------------------------------------------------


def test_a_scaled_map_is_divided_by_its_own_maximum():
    maps = np.array([[[1.0, 4.0]], [[-2.0, 0.5]], [[-3.0, -1.0]], [[0.0, 0.0]]])
    assert scaled(maps).tolist() == [[[0.25, 1]], [[0, 1]], [[0, 0]], [[0, 0]]]
    assert scaled(maps.astype(np.float32)).dtype == np.float32
    assert maps[1, 0, 0] == -2  # what was given stays
    assert scaled(np.full((1, 1, 2), 1e-45, dtype=np.float32)).tolist() == [[[1, 1]]]


# ---- streams ----------------------------------------------------------------------------------


def test_a_bad_image_has_its_error_in_its_place(predictors, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    order = [
        tmp_path / "bad.jpg",
        photos[0],
        tmp_path / "none.jpg",
        tmp_path / "bad.jpg",
        photos[2],
    ]
    found = list(explain(predictors["srn"], order, ["dog"]))
    assert [type(each) for each in found] == [
        *(ImageError, Explanation, ImageError, ImageError, Explanation)
    ]
    assert "none.jpg" in str(found[2])
    alone = explained(predictors["srn"], [photos[2]], ["dog"])[0]
    assert isinstance(found[4], Explanation)
    np.testing.assert_allclose(found[4].maps, alone.maps, atol=1e-7)


def test_images_are_read_when_they_are_needed(predictors, photos):
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield photos[taken % 3]

    stream = explain(predictors["linear"], endless(), ["dog"])
    for _ in range(3):
        next(stream)
    stream.close()
    assert taken <= 8  # four batches of two: two explained, and two ahead


def test_memory_does_not_grow_with_the_images(predictors, photos):
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in explain(predictors["srn"], (photos[i % 3] for i in range(count))):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(4)
    # The threads that decode ahead meet by chance, so the peak of few images varies.
    few = max(peak(16) for _ in range(4))
    assert peak(64) < 1.5 * few


def test_no_images(predictors):
    assert list(explain(predictors["linear"], [])) == []


# ---- one image --------------------------------------------------------------------------------


def test_one_image_is_the_case_of_one(predictors, photos):
    one = explain_image(predictors["srn"], photos[0], "cam", ["owl"])
    (other,) = explained(predictors["srn"], [photos[0]], ["owl"], "cam")
    np.testing.assert_array_equal(one.maps, other.maps)
    np.testing.assert_array_equal(one.scores, predictors["srn"].predict(photos[0]).scores)
    assert (one.method, one.kind, one.columns) == (other.method, other.kind, (2,))
    assert explain_image(predictors["srn"], open_image(photos[0])).method == "attention"


def test_a_large_jpeg_comes_reduced_as_for_prediction(predictors, tmp_path, monkeypatch):
    monkeypatch.setattr("manylabel.images.jpeg.REDUCED_ABOVE", 1)
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.jpg")
    predictor = predictors["linear"]
    expected = predictor.predict(tmp_path / "large.jpg").scores
    one = explain_image(predictor, tmp_path / "large.jpg")
    (other,) = explained(predictor, [tmp_path / "large.jpg"])
    np.testing.assert_array_equal(one.scores, expected)
    np.testing.assert_array_equal(other.scores, expected)
    opened = explain_image(predictor, open_image(tmp_path / "large.jpg"))
    assert (opened.scores != expected).any()  # all pixels give other scores


# ---- any engine -------------------------------------------------------------------------------


class Corner(Engine):
    """A model without a framework or evidence: how bright each colour is in the first quarter."""

    def __init__(self) -> None:
        info = ModelInfo(
            labels=("red", "green", "blue"),
            input=InputSpec(height=16, width=16),
            thresholds=(0.5,) * 3,
        )
        super().__init__(info, weights_sha256="0" * 64, device="cpu", evidence={})

    def prepare(self, image):
        return image[:16, :16]

    def run(self, pixels, evidence=(), labels=None):
        return EngineOutput(pixels[:, :8, :8].mean((1, 2), dtype=np.float32) - 128, {})


def test_an_engine_without_evidence_is_explained_by_occlusion():
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:8, :8, 1] = 200
    found = explain_image(Predictor(Corner()), Image.fromarray(image), labels=["green", "blue"])
    assert found.method == "occlusion"
    assert found.decided.tolist() == [False, True, False]
    assert found.scaled[0, :5, :5].min() > 0.2
    assert not found.scaled[0, 6:].any()
    assert not found.scaled[1].any()
    with pytest.raises(ConfigError, match="no method of evidence maps 'attention'") as caught:
        explain_image(Predictor(Corner()), Image.fromarray(image), "attention")
    assert caught.value.fix == "It has: occlusion."


# ---- mistakes ---------------------------------------------------------------------------------


def test_what_is_not_there_is_refused_before_any_image_is_read(predictors):
    linear = predictors["linear"]
    has = "It has: cam, grad-cam, layer-cam, occlusion."
    for labels, method, error, what, fix in [
        (None, "attention", ConfigError, "no method of evidence maps 'attention'", has),
        (None, "gradcam", ConfigError, "'gradcam'", f"Did you mean 'grad-cam'? {has}"),
        (None, "grad-cam-mid", ConfigError, "-mid'", f"Did you mean 'grad-cam'? {has}"),
        (None, "", ConfigError, "no method of evidence maps ''", has),
        (["dgo"], None, DataError, "Unknown label 'dgo'", "Did you mean 'dog'?"),
        ("dog", None, ConfigError, "are the text 'dog'", "Give a list of names"),
        ([], None, ConfigError, "are an empty list", "Give a list of names"),
    ]:
        with case(labels=labels, method=method), pytest.raises(error, match=what) as caught:
            explain(linear, iter(lambda: pytest.fail("an image was read"), 0), labels, method)
        assert caught.value.fix.startswith(fix)
