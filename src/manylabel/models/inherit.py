"""Takes what a trained head has learned into a new head, whose labels may be others.

A head says where its tensors hold the entries of each label (`Head.label_axes`). For labels that
both heads have, matched by name, these entries are taken. Entries of other labels stay as they are,
and tensors without labels are taken whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from manylabel.models.heads import Head
from manylabel.models.heads.base import LabelAxis

Axes = Mapping[str, LabelAxis | None]

_SHOWN: Final = 5


@final
@dataclass(frozen=True)
class Inherited:
    """What a new head took from a trained one.

    Args:
        taken: The labels whose entries were taken.
        fresh: The labels that start fresh.
        fault: Why nothing was taken, as the end of a sentence; None: something was.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    fault: str | None = None

    def in_words(self, where: object) -> str:
        """What was taken from a bundle at `where`, with its backbone, in one or two sentences."""
        total = len(self.taken) + len(self.fresh)
        if self.fault is not None:
            return f"The whole backbone is taken from {where}. The head starts fresh: {self.fault}."
        said = f"{len(self.taken)} of {total} labels and the whole backbone are taken from {where}."
        if not self.fresh:
            return said
        more = len(self.fresh) - _SHOWN
        named = ", ".join(self.fresh[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{said} These start fresh: {named}."


@torch.no_grad()
def inherit(head: Head, trained: Head) -> Inherited:
    """Copy into `head` what `trained` has learned, for the labels that both have.

    Nothing is taken from a head of another kind, or of other sizes.
    """
    labels, known = list(head.labels), list(trained.labels)
    fault = _fault(head, trained)
    if fault is not None:
        return Inherited((), tuple(labels), fault)
    both = [name for name in labels if name in trained.labels]
    places = [labels.index(name) for name in both], [known.index(name) for name in both]
    axes, given = _axes(head), trained.state_dict()
    for name, tensor in head.state_dict().items():
        axis = axes.get(name)
        if name not in axes:
            tensor.copy_(given[name])
        elif axis is not None:
            _copy(tensor, given[name], axis, places, (len(labels), len(known)))
    return Inherited(tuple(both), tuple(name for name in labels if name not in trained.labels))


def _copy(
    tensor: Tensor,
    given: Tensor,
    axis: LabelAxis,
    places: tuple[list[int], list[int]],
    counts: tuple[int, int],
) -> None:
    """Copy the entries at the labels' places, and those that belong to no label."""
    into, out_of = (
        axis.entries(chosen, count) + list(_rest(each, axis, count))
        for each, chosen, count in zip((tensor, given), places, counts, strict=True)
    )
    device = tensor.device
    taken = given.to(device).index_select(axis.axis, torch.tensor(out_of, device=device))
    tensor.index_copy_(axis.axis, torch.tensor(into, device=device), taken.to(tensor.dtype))


def _rest(tensor: Tensor, axis: LabelAxis, num_labels: int) -> range:
    """The positions along the axis that belong to no label."""
    return range(num_labels * axis.each * axis.times, tensor.shape[axis.axis])


def _axes(head: Head) -> Axes:
    """The head's axes; none for a head that takes only from a head of the same labels."""
    return head.label_axes() or {}


def _fault(head: Head, trained: Head) -> str | None:
    """Why nothing can be taken; None if something can."""
    own, other = head.config.name, trained.config.name
    if own != other:
        return f"the bundle's head is '{other}', and the head of this run is '{own}'"
    if list(head.labels) != list(trained.labels) and None in (
        head.label_axes(),
        trained.label_axes(),
    ):
        return f"the weights of the head '{own}' cannot be taken label by label"
    if _axes(head) != _axes(trained) or _sizes(head) != _sizes(trained):
        return f"the bundle's head '{own}' has other settings ({_difference(head, trained)})"
    return None


def _sizes(head: Head) -> dict[str, Any]:
    """The shape of each tensor, where the entries of labels do not count."""
    axes, sizes = _axes(head), dict[str, Any]()
    for name, tensor in head.state_dict().items():
        shape, axis = list(tensor.shape), axes.get(name)
        if axis is not None:
            shape[axis.axis] = len(_rest(tensor, axis, len(head.labels)))
        if name not in axes or axis is not None:
            sizes[name] = shape
    return sizes


def _difference(head: Head, trained: Head) -> str:
    """The settings that differ, for a message."""
    own, other = head.config.model_dump(), trained.config.model_dump()
    keys = [key for key in own if own[key] != other.get(key)]
    return ", ".join(f"{key} is {other.get(key)}, not {own[key]}" for key in keys) or "other maps"
