from __future__ import annotations

import inspect
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import case
from PIL import Image

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.info import ModelInfo
from manylabel.decide import Decision
from manylabel.engines.engine import Engine, EngineOutput
from manylabel.engines.memory import memory_below
from manylabel.errors import BundleError, ConfigError, ImageError, RunError
from manylabel.images import Memory, open_image
from manylabel.labels import LabelSpace
from manylabel.models.heads import SRNConfig
from manylabel.pixels import normalise, to_pixels
from manylabel.predict import Prediction, Predictor
from manylabel.preprocess import InputSpec

SMALL_SRN = SRNConfig(attention_channels=8, relation_channels=8)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor.load(tiny_bundle, device="cpu")


@pytest.fixture(scope="module")
def photos(make_image, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    return [make_image(folder / f"{i}.png", seed=i, size=(40 + i, 30 + 2 * i)) for i in range(7)]


def direct_scores(bundle_folder: Path, photo: Path) -> np.ndarray:
    """The scores without Predictor, InputSpec or normalise: Pillow, NumPy and the network."""
    squashed = Image.open(photo).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    values = (np.asarray(squashed) / 255 - mean) / std
    images = torch.from_numpy(values.transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        logits = load_bundle(bundle_folder).classifier(images).logits[0].double().numpy()
    return 1 / (1 + np.exp(-logits))


# Predictor


def test_scores_are_those_of_the_network(predictor, tiny_bundle: Path, photos) -> None:
    scores = np.stack([predictor.predict(photo).scores for photo in photos])
    expected = np.stack([direct_scores(tiny_bundle, photo) for photo in photos])
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    assert scores.dtype == np.float32
    assert np.ptp(expected, axis=0).min() > 100 * TOLERANCE, "photographs must be told apart"


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_batches_do_not_matter_and_order_is_kept(tiny_bundle, photos, batch_size: int) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu", batch_size=batch_size)
    results = list(predictor.predict_many((photo.stem, photo) for photo in photos))
    assert [result.key for result in results] == [photo.stem for photo in photos]
    for result, photo in zip(results, photos, strict=True):
        expected = direct_scores(tiny_bundle, photo)
        np.testing.assert_allclose(result.scores, expected, atol=TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_a_bad_image_stands_in_its_place(tiny_bundle, photos, tmp_path, batch_size: int) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu", batch_size=batch_size)
    missing, text = tmp_path / "missing.jpg", tmp_path / "text.jpg"
    text.write_text("no image")
    order = [missing, photos[0], text, photos[1], photos[2], missing]
    results = list(predictor.predict_many((path.name, path) for path in order))
    kinds = [isinstance(result, ImageError) for result in results]
    assert kinds == [True, False, True, False, False, True]
    assert [results[i].where for i in (0, 2, 5)] == [str(missing), str(text), str(missing)]
    for i in (1, 3, 4):
        expected = direct_scores(tiny_bundle, order[i])
        np.testing.assert_allclose(results[i].scores, expected, atol=TOLERANCE)


def test_no_image_and_no_good_image(predictor, tmp_path: Path) -> None:
    assert list(predictor.predict_many([])) == []
    (result,) = predictor.predict_many([("x", tmp_path / "x.jpg")])
    assert isinstance(result, ImageError)


def test_a_bad_image_alone_is_raised(predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        predictor.predict(tmp_path / "x.jpg")


def test_whatever_an_image_raises_stands_in_its_place(tiny_bundle, photos, monkeypatch) -> None:
    """Also what the resize raises, and whatever kind of error it is."""
    predictor = Predictor.load(tiny_bundle, batch_size=4)
    prepare = predictor.engine.prepare

    def fail(image):
        if image.shape[1] == 43:
            raise RuntimeError("too wide")
        if image.shape[1] == 44:
            raise MemoryError
        return prepare(image)

    monkeypatch.setattr(predictor.engine, "prepare", fail)
    results = list(predictor.predict_many((str(photo), photo) for photo in photos))
    bad = [i for i, result in enumerate(results) if isinstance(result, ImageError)]
    assert bad == [3, 4]
    assert "too wide" in str(results[3])
    assert "not enough memory" in str(results[4])


def test_a_limit_of_memory_is_of_the_whole_process(tiny_bundle, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.png")
    limited = Predictor.load(tiny_bundle, batch_size=2, max_memory="20TB")
    assert 19 * 10**12 < limited.memory.limit < 20 * 10**12 - 10**8
    assert limited.deciding(limited.decision).memory is limited.memory
    limited.memory = Memory(40_000_000)
    with pytest.raises(ImageError, match="needs about 42 MB of memory, and 40 MB are allowed"):
        limited.predict(tmp_path / "large.png")
    with pytest.raises(ConfigError, match="batches of 2, the process takes .*, and 1 MB are"):
        Predictor.load(tiny_bundle, batch_size=2, max_memory="1MB")
    with pytest.raises(ConfigError, match="'much' is not a size of memory"):
        Predictor.load(tiny_bundle, max_memory="much")


def test_a_batch_that_would_take_too_much_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first batches the memory of the next one is known; they are hidden at first."""
    megabytes, sizes = 10**6, list[int]()
    for batch, limit, hidden, ran, taken in [
        (32, 2000, 0, [1, 2, 4], 3300),
        (32, 4000, 0, [1, 2, 4, 32], None),
        (32, 4000, 350, [1, 2, 4, 8, 32], None),
        (32, 1200, 350, [1, 2, 4, 8], 3300),
        (3, 4000, 0, [1, 2, 3], None),
        (1, 4000, 0, [1], None),
        (32, 150, 0, [1], 200),
        (32, 90, 0, [], 100),
    ]:
        sizes.clear()
        predictor = Predictor(Brightness(), batch_size=batch)
        monkeypatch.setattr(predictor.engine, "run", lambda pixels: sizes.append(len(pixels)))
        monkeypatch.setattr(
            "manylabel.engines.memory.own_bytes",
            lambda hidden=hidden: (100 + max(hidden, 100 * max(sizes, default=0))) * megabytes,
        )
        with case(batch=batch, limit=limit, hidden=hidden):
            if taken is None:
                assert memory_below(predictor.engine, batch, limit * megabytes).limit > 0
            else:
                with pytest.raises(
                    ConfigError,
                    match=f"batches of {batch}, the process takes at least {taken:,} MB",
                ):
                    memory_below(predictor.engine, batch, limit * megabytes)
            assert sizes == ran


def test_images_are_read_when_they_are_needed(tiny_bundle, photos) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu", batch_size=2)
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield str(i), photos[i % len(photos)]

    results = predictor.predict_many(endless())
    assert [result.key for result in itertools.islice(results, 3)] == ["0", "1", "2"]
    assert len(taken) <= 3 + 2 * 2 + 2
    results.close()


def test_stopping_early_leaves_no_thread_behind(predictor, photos) -> None:
    before = threading.active_count()
    results = predictor.predict_many((photo.stem, photo) for photo in photos * 20)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_paths_bytes_and_images_are_alike(predictor, photos) -> None:
    photo = photos[0]
    sources = [photo, str(photo), photo.read_bytes(), Image.open(photo)]
    predictions = [predictor.predict(source) for source in sources]
    assert [p.key for p in predictions] == [str(photo), str(photo), "image", str(photo)]
    for prediction in predictions[1:]:
        assert np.array_equal(prediction.scores, predictions[0].scores)


def test_arrays_and_tensors_are_alike(predictor, photos) -> None:
    pixels = np.asarray(Image.open(photos[0]).convert("RGB"))
    planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    sources = [
        pixels,
        np.asfortranarray(pixels),
        planes,
        planes.float() / 255,
        (planes.double() / 255).requires_grad_(),
    ]
    expected = predictor.predict(photos[0]).scores
    for prediction in predictor.predict(sources):
        np.testing.assert_allclose(prediction.scores, expected, atol=1e-6)
    grey = np.asarray(Image.open(photos[0]).convert("L"))
    expected = predictor.predict(Image.fromarray(grey)).scores
    one = torch.from_numpy(grey.copy())[None]
    for prediction in predictor.predict((grey, one, one.half() / 255)):
        np.testing.assert_allclose(prediction.scores, expected, atol=1e-3)


def test_a_list_gives_a_list(predictor, photos, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(photos[1]).convert("RGB"))
    found = predictor.predict([photos[0], pixels, Image.fromarray(pixels), photos[2].read_bytes()])
    assert [one.key for one in found] == [str(photos[0]), "image 2", "image 3", "image 4"]
    expected = predictor.predict(photos[1]).scores
    np.testing.assert_allclose(found[1].scores, expected, atol=1e-6)
    assert predictor.predict([]) == []
    assert [one.key for one in predictor.predict([photos[0]])] == [str(photos[0])]
    with pytest.raises(ImageError, match="cannot be read"):
        predictor.predict([photos[0], tmp_path / "x.jpg"])
    named = list(predictor.predict_many([("mine", pixels), pixels, None, photos[0]]))
    assert isinstance(named[2], ImageError)
    assert named[2].where == "image 3"
    assert [named[i].key for i in (0, 1, 3)] == ["mine", "image 2", str(photos[0])]


@pytest.mark.parametrize("several", [False, True])
def test_features_are_the_mean_of_the_last_map(predictor, tiny_bundle, photos, several) -> None:
    images = photos[:5] if several else photos[0]
    small = Predictor(predictor.engine, batch_size=2)
    found = small.embed(images)
    backbone = load_bundle(tiny_bundle).classifier.eval().backbone
    for row, photo in zip(found, photos, strict=False):
        pixels = to_pixels(open_image(photo), InputSpec(height=64, width=64))
        with torch.no_grad():
            final = backbone(normalise(pixels[None], InputSpec())).final[0].numpy()
        slow = [float(np.mean([value for line in channel for value in line])) for channel in final]
        np.testing.assert_allclose(row, slow, rtol=1e-4, atol=1e-5)
    assert found.shape == (5 if several else 1, final.shape[0])
    assert found.dtype == np.float32


def test_features_that_cannot_be_had(predictor, photos, tmp_path: Path) -> None:
    assert predictor.embed([]).shape[0] == 0
    with pytest.raises(ImageError, match="cannot be read"):
        predictor.embed([photos[0], tmp_path / "x.jpg"])
    with pytest.raises(ConfigError, match="Brightness gives no features"):
        Predictor(Brightness()).embed(photos[0])


def test_a_batch_that_does_not_fit_is_told(predictor, photos, monkeypatch) -> None:
    def fail(arrays):
        raise MemoryError

    monkeypatch.setattr(np, "stack", fail)
    with pytest.raises(RunError, match="not enough memory for a batch of 2 images"):
        predictor.predict(photos[:2])


@pytest.mark.parametrize("branch", ["cls", "att", "sr"])
def test_scores_come_from_the_branch_that_the_bundle_names(
    make_bundle, tmp_path: Path, photos, branch: str
) -> None:
    folder = make_bundle(tmp_path / "srn", head=SMALL_SRN, scores_from=branch)
    found = Predictor.load(folder, device="cpu").predict(photos[0])
    pixels = to_pixels(open_image(photos[0]), InputSpec(height=64, width=64))
    with torch.no_grad():
        output = load_bundle(folder).classifier(normalise(pixels[None], InputSpec()))
    expected = torch.sigmoid(output.branches[branch])[0].numpy()
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert not torch.allclose(output.branches[branch], output.logits)


def test_an_unknown_branch_is_refused(make_bundle, tmp_path: Path, photos) -> None:
    predictor = Predictor.load(make_bundle(tmp_path / "b", scores_from="att"), device="cpu")
    with pytest.raises(BundleError, match="'att'") as caught:
        predictor.predict(photos[0])
    assert "final, cls" in caught.value.fix


def test_settings_are_checked(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="device 'tpu9'"):
        Predictor.load(tiny_bundle, device="tpu9")
    with pytest.raises(ConfigError, match="batch size is 0"):
        Predictor.load(tiny_bundle, batch_size=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_scores(tiny_bundle: Path, photos) -> None:
    predictor = Predictor.load(tiny_bundle, device="cuda")
    assert predictor.engine.device == "cuda"
    expected = direct_scores(tiny_bundle, photos[0])
    np.testing.assert_allclose(predictor.predict(photos[0]).scores, expected, atol=1e-3)


# Batches


def test_a_batch_stays_a_batch(tiny_bundle, photos, tmp_path: Path) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu", batch_size=3)
    order = [photos[0], tmp_path / "missing.jpg", photos[1], photos[2], photos[3]]
    first, second = predictor.predict_batches((path.name, path) for path in order)
    assert first.keys == ("0.png", "missing.jpg", "1.png")
    assert first.good.tolist() == [0, 2]
    assert list(first.errors) == [1]
    assert (second.keys, second.good.tolist(), second.errors) == (("2.png", "3.png"), [0, 1], {})
    scores = np.concatenate([first.scores, second.scores])
    expected = np.stack([direct_scores(tiny_bundle, photos[i]) for i in range(4)])
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    np.testing.assert_array_equal(first.decided, first.scores >= 0.5)


def test_the_pixels_of_a_batch_are_those_that_are_scored(tiny_bundle, photos, tmp_path) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu", batch_size=3)
    order = [tmp_path / "missing.jpg", *photos[:3], tmp_path / "none.jpg"]
    prepared = list(predictor.prepare_batches((path.name, path) for path in order))
    predicted = list(predictor.predict_batches((path.name, path) for path in order))
    assert [batch.pixels.shape for batch in prepared] == [(2, 64, 64, 3), (1, 64, 64, 3)]
    for one, other in zip(prepared, predicted, strict=True):
        assert (one.keys, one.good.tolist()) == (other.keys, other.good.tolist())
        assert {i: str(error) for i, error in one.errors.items()} == {
            i: str(error) for i, error in other.errors.items()
        }
        scores = predictor.decision.scores(predictor.engine.run(one.pixels).logits)
        np.testing.assert_array_equal(scores, other.scores)
    (bad,) = predictor.prepare_batches([("missing.jpg", tmp_path / "missing.jpg")])
    assert (bad.pixels.shape, bad.pixels.dtype) == ((0, 64, 64, 3), np.uint8)


def test_another_decision_over_the_same_engine(predictor, photos) -> None:
    scores = predictor.predict(photos[0]).scores
    sure = predictor.deciding(Decision(thresholds=(1.0,) * 3, at_least=1))
    found = sure.predict(photos[0])
    np.testing.assert_array_equal(found.scores, scores)
    assert sure.engine is predictor.engine
    assert found.names == [predictor.labels[int(scores.argmax())]]


class Brightness(Engine):
    """A model without any framework: how bright each colour is."""

    def __init__(self) -> None:
        info = ModelInfo(
            labels=("red", "green", "blue"),
            input=InputSpec(height=16, width=16),
            thresholds=(0.5,) * 3,
        )
        super().__init__(info, weights_sha256="0" * 64, device="cpu", evidence={})

    def prepare(self, image):
        return image[:16, :16]

    def run(self, pixels, evidence=()):
        return EngineOutput(pixels.mean((1, 2), dtype=np.float32) - 128, {})


def test_any_engine_will_do() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[..., 1] = 200
    found = Predictor(Brightness()).predict(Image.fromarray(image))
    assert found.names == ["green"]
    assert found.scores[1] == pytest.approx(1 / (1 + np.exp(-72)))


def test_prediction_imports_no_framework() -> None:
    """An engine without torch is run where torch, timm and the like cannot be imported."""
    lines = inspect.getsource(Brightness) + inspect.getsource(test_any_engine_will_do)
    preamble = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'lightning_fabric'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np\n"
        "import pytest\n"
        "from PIL import Image\n"
        "from manylabel.bundle.info import ModelInfo\n"
        "from manylabel.engines.engine import Engine, EngineOutput\n"
        "from manylabel.predict import Predictor\n"
        "from manylabel.preprocess import InputSpec\n"
    )
    subprocess.run(
        [sys.executable, "-c", f"{preamble}\n{lines}\ntest_any_engine_will_do()"], check=True
    )


# Prediction


def prediction(scores: list[float], thresholds: list[float]) -> Prediction:
    labels = LabelSpace(["a", "b", "c", "d"][: len(scores)])
    values = np.array(scores, np.float32)
    decided = Decision(thresholds=tuple(thresholds)).decide(values[None])[0]
    return Prediction("x.jpg", labels, values, decided)


@pytest.mark.parametrize(
    ("scores", "thresholds", "names"),
    [
        ([0.2, 0.9, 0.6, 0.4], [0.5, 0.5, 0.5, 0.5], ["b", "c"]),
        ([0.2, 0.9, 0.6, 0.4], [0.1, 0.95, 0.6, 0.5], ["c", "a"]),  # 0.6 reaches 0.6
        ([0.5, 0.7, 0.7, 0.5], [0.5, 0.5, 0.5, 0.5], ["b", "c", "a", "d"]),  # ties in label order
        ([0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5], []),
    ],
)
def test_names_are_the_decided_labels_best_first(scores, thresholds, names) -> None:
    assert prediction(scores, thresholds).names == names


def test_top_takes_labels_whatever_their_threshold() -> None:
    top = prediction([0.25, 0.5, 0.5, 0.125], [1, 1, 1, 1]).top(3)
    assert top == [("b", 0.5), ("c", 0.5), ("a", 0.25)]


def test_more_than_all_are_all() -> None:
    assert len(prediction([0.25, 0.5], [1, 1]).top(9)) == 2


def test_as_dict_is_ready_for_json() -> None:
    assert prediction([0.25, 0.75], [0.5, 0.5]).as_dict() == {
        "image": "x.jpg",
        "labels": ["b"],
        "scores": {"a": 0.25, "b": 0.75},
    }
