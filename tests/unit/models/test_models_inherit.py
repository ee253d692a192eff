"""What a new head takes from a trained one, over the table of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from heads.catalogue import SETTINGS, SHAPES, SMALL, TARGETS, assert_same_bits, draw, tensors
from torch import Tensor

from manylabel.labels import LabelSpace
from manylabel.models.heads import HEADS, Head
from manylabel.models.heads.base import LabelAxis
from manylabel.models.inherit import inherit

NAMES = ("a", "b", "c", "d", "e")
SHARES_QUERIES = ("ml-decoder", {"num_groups": 2})
"""Labels of a group have one query, so this head takes from one of the same labels alone."""
over_settings = pytest.mark.parametrize(
    ("name", "options"),
    [each for each in SETTINGS if each != SHARES_QUERIES],
    ids=lambda value: value if isinstance(value, str) else str(value),
)


def build(name: str, options: dict[str, Any], labels: tuple[str, ...], seed: int) -> Head:
    kind = HEADS[name]
    config = kind.Config.model_validate({**SMALL.get(name, {}), **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = kind(config, SHAPES, LabelSpace(labels))
        for buffer in head.buffers():  # batch statistics of a new head are all alike
            if buffer.is_floating_point() and buffer.ndim == 1:
                buffer.add_(torch.rand_like(buffer))
    return head.eval()


def trained(name: str, options: dict[str, Any], labels: tuple[str, ...] = NAMES) -> Head:
    head = build(name, options, labels, seed=1)
    head.prepare(targets_of(labels))
    return head


def targets_of(labels: tuple[str, ...]) -> np.ndarray:
    """The targets of the catalogue; its five columns belong to the names a to e."""
    return TARGETS[:, [NAMES.index(label) % 5 if label in NAMES else 0 for label in labels]]


def by_label(head: Head, labels: tuple[str, ...]) -> dict[str, Tensor]:
    """All that a head gives, [N, labels, ...] in the order of `labels`."""
    rows = [head.labels.index(label) for label in labels]
    with torch.no_grad():
        found = tensors(head(draw()))
    return {key: value if key == "units" else value[:, rows] for key, value in found.items()}


@over_settings
def test_the_same_labels_in_another_order_give_the_same(name, options):
    """The order of labels is not learned: logits, branches and maps move with their labels."""
    order = ("d", "a", "e", "c", "b")
    old, new = trained(name, options), build(name, options, order, seed=2)
    new.prepare(targets_of(order))
    found = inherit(new, old)
    assert (found.taken, found.fresh, found.fault) == (order, (), None)
    expected, given = by_label(old, order), by_label(new, order)
    assert expected.keys() == given.keys()
    for key, value in expected.items():
        torch.testing.assert_close(given[key], value, msg=key)


@over_settings
def test_other_labels_keep_what_they_were_and_known_ones_are_taken(name, options):
    """Copied once more into heads of the common or the new labels alone, it is what it was."""
    old, labels = trained(name, options), ("x", "d", "y", "b", "z", "a")
    new, before = (build(name, options, labels, seed=2) for _ in range(2))
    found = inherit(new, old)
    assert (found.taken, found.fresh) == (("d", "b", "a"), ("x", "y", "z"))

    def cut(source: Head, names: tuple[str, ...]) -> Head:
        head = build(name, options, names, seed=3)
        inherit(head, source)
        return head

    assert_same_bits(cut(new, ("a", "b", "d"))(draw()), cut(old, ("a", "b", "d"))(draw()))
    fresh, untouched = (cut(each, ("x", "y", "z")).state_dict() for each in (new, before))
    for key, axis in (new.label_axes() or {}).items():
        if axis is not None:
            own = axis.entries(range(3), 3)
            index = torch.tensor(own)
            taken = fresh[key].index_select(axis.axis, index)
            assert torch.equal(taken, untouched[key].index_select(axis.axis, index)), key


@over_settings
def test_every_tensor_that_grows_with_the_labels_is_named(name, options):
    few, many = (build(name, options, NAMES[:count], seed=0) for count in (2, 5))
    grown = {
        key
        for key, value in many.state_dict().items()
        if value.shape != few.state_dict()[key].shape
    }
    assert many.label_axes() is not None
    assert grown == set(many.label_axes() or {})


def test_labels_that_share_queries_are_taken_together_or_not_at_all():
    name, options = SHARES_QUERIES
    old = trained(name, options)
    same = build(name, options, NAMES, seed=2)
    assert inherit(same, old).fault is None
    assert_same_bits(same(draw()), old(draw()))
    other = build(name, options, ("b", "a", "c", "d", "e"), seed=2)
    kept = {key: value.clone() for key, value in other.state_dict().items()}
    fault = inherit(other, old).fault
    assert fault is not None
    assert "label by label" in fault
    assert all(torch.equal(value, kept[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (("linear", {}), ("csra", {}), "the bundle's head is 'linear', and the head of this run"),
        (("srn", {}), ("srn", {"attention_channels": 4}), "attention_channels is 8, not 4"),
        (("csra", {"temperatures": (1, 2)}), ("csra", {"temperatures": (1,)}), "temperatures"),
        (("srn", {}), ("srn", {"topology": "released"}), "topology is paper, not released"),
        (("linear", {}), ("linear", {"maps": "both"}), "maps is final, not both"),
    ],
)
def test_a_head_of_another_kind_or_size_takes_nothing(old, new, fault):
    head = build(new[0], new[1], NAMES, seed=2)
    kept = {key: value.clone() for key, value in head.state_dict().items()}
    found = inherit(head, trained(old[0], old[1]))
    assert fault in (found.fault or "")
    assert found.in_words("b").startswith("The whole backbone is taken from b. The head starts")
    assert all(torch.equal(value, kept[key]) for key, value in head.state_dict().items())


def test_what_is_said():
    old = trained("linear", {})
    said = inherit(build("linear", {}, NAMES, seed=2), old).in_words("runs/x/bundle")
    assert said == "5 of 5 labels and the whole backbone are taken from runs/x/bundle."
    labels = ("a", *(f"new {i}" for i in range(7)))
    said = inherit(build("linear", {}, labels, seed=2), old).in_words("b")
    assert said.startswith("1 of 8 labels and the whole backbone are taken from b. These start")
    assert said.endswith("new 3, new 4 and 2 more.")


def test_the_entries_of_labels():
    """Two repeats of three labels with two entries each: 0 1 | 2 3 | 4 5 || 6 7 | 8 9 | 10 11."""
    assert LabelAxis(each=2, times=2).entries([2, 0], 3) == [4, 5, 0, 1, 10, 11, 6, 7]
