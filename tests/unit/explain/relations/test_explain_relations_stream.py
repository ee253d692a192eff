"""Running the images once: what is kept is what a run over all of them at once gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from observed import HEAD, NAMES, drawn_records

from manylabel.errors import ConfigError, DataError, ImageError
from manylabel.explain.relations import stream
from manylabel.explain.relations.stream import TOP, observe, relation_probe
from manylabel.images import open_image, rgb_pixels
from manylabel.models.heads import LinearConfig
from manylabel.predict import Predictor


@pytest.fixture(scope="module")
def predictor(make_bundle, tmp_path_factory) -> Predictor:
    folder = make_bundle(tmp_path_factory.mktemp("b") / "bundle", head=HEAD, labels=NAMES)
    return Predictor.load(folder, device="cpu", batch_size=7)


@pytest.fixture(scope="module")
def records(tmp_path_factory, make_image):
    return drawn_records(tmp_path_factory.mktemp("images"), make_image)


@pytest.fixture(scope="module")
def everything(predictor, records):
    """The maps and units of all images at once."""
    images = [open_image(place) for place in records.images]
    pixels = np.stack([predictor.engine.prepare(rgb_pixels(image)) for image in images])
    maps = predictor.engine.relations.maps(pixels).maps
    return maps, predictor.engine.relations.compute(maps)[1]


def test_maps_units_and_targets_are_kept_in_order(predictor, records, everything):
    maps, units = everything
    done: list[int] = []
    found = observe(predictor, records, on_progress=done.append)
    assert done == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    np.testing.assert_array_equal(found.sample.rows, np.arange(60))
    np.testing.assert_allclose(found.sample.maps, maps, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sample.units, units, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.sample.present, records.targets == 1)
    np.testing.assert_array_equal(found.sample.absent, records.targets == 0)


def test_the_images_that_fire_a_unit_most(predictor, records, everything):
    units = everything[1]
    found = observe(predictor, records)
    assert (units > 0).any(0).sum() >= 3
    for k, column in enumerate(units.T):
        best = np.sort(column[column > 0])[::-1][:TOP]
        np.testing.assert_allclose(found.top_values[k, : len(best)], best, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(column[found.top[k, : len(best)]], best, rtol=1e-4, atol=1e-6)
        assert (found.top[k, len(best) :] == -1).all()


def test_correlations_are_numpys_over_known_targets(predictor, records, everything):
    units = everything[1]
    targets = records.targets.copy()
    targets[::7, 1] = -1
    holed = replace(records, targets=targets)
    found = observe(predictor, holed).correlations
    for k in np.flatnonzero(units.std(0) > 1e-6):
        for c in range(3):
            known = targets[:, c] != -1
            expected = np.corrcoef(units[known, k], targets[known, c])[0, 1]
            assert found[k, c] == pytest.approx(expected, abs=1e-4)


def test_a_sample_is_drawn_by_the_seed(predictor, records, monkeypatch):
    monkeypatch.setattr(stream, "SAMPLE", 20)
    monkeypatch.setattr(stream, "SAMPLE_BYTES", 1)
    assert len(observe(predictor, records).sample.rows) == 60  # never fewer than 64
    monkeypatch.setattr(stream, "LEAST_SAMPLE", 20)
    first, again, other = (observe(predictor, records, seed=seed) for seed in (1, 1, 2))
    assert len(first.sample.rows) == 20
    np.testing.assert_array_equal(first.sample.rows, again.sample.rows)
    assert first.sample.rows.tolist() != other.sample.rows.tolist()
    np.testing.assert_array_equal(first.top, other.top)  # of all images


def test_images_that_cannot_be_opened(predictor, tmp_path, make_image):
    records = drawn_records(tmp_path, make_image, images=12)
    (tmp_path / "03.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        observe(predictor, records)
    found = observe(predictor, records, skip_bad=True)
    assert found.sample.rows.tolist() == [0, 1, 2, *range(4, 12)]
    assert [error.where for error in found.bad] == [str(tmp_path / "03.png")]
    for i in range(12):
        (tmp_path / f"{i:02}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="There is no image"):
        observe(predictor, records, skip_bad=True)


def test_a_head_without_relations_is_refused(make_bundle, tmp_path):
    linear = Predictor.load(make_bundle(tmp_path / "b", head=LinearConfig()), device="cpu")
    with pytest.raises(ConfigError, match="no relations") as caught:
        relation_probe(linear)
    assert "srn or srn-modern" in caught.value.fix
