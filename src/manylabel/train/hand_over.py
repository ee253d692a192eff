"""Which step of a run is handed over: the best one on the validation split, or the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Result = Mapping[str, Any]
"""The figures of a step, as in `metrics.json`; `val_mAP` is None where it was not measured."""


def choose_step(results: Sequence[Result], hand_over: Literal["best", "last"]) -> int:
    """The position of the step that is handed over, from 0.

    Of steps with the same mAP, it is the later one. A step whose mAP on the validation split is not
    known cannot be compared. If the last step is such a one, it is handed over, as by `last`.

    Args:
        results: The figures of each step.
        hand_over: The recipe's setting.
    """
    last = len(results) - 1
    if hand_over == "last" or results[last].get("val_mAP") is None:
        return last
    known = [i for i, result in enumerate(results) if result.get("val_mAP") is not None]
    return max(known, key=lambda i: (results[i]["val_mAP"], i))


def describe_choice(results: Sequence[Result], chosen: int, folders: Sequence[object]) -> list[str]:
    """What is handed over and what is not, in sentences; empty if the last step is the best.

    Args:
        results: The figures of each step.
        chosen: The position of the step that is handed over.
        folders: The bundle of each step.
    """
    last, best = len(results) - 1, choose_step(results, "best")
    if best == last:
        return []
    mAPs = f"mAP {_percent(results[best])} against {_percent(results[last])}"
    better = f"step {best + 1} of the run ({results[best]['kind']})"
    worse = f"step {last + 1} ({results[last]['kind']})"
    if chosen == best:
        return [
            f"On the validation split, {better} is better than {worse}: {mAPs}. So its model is "
            f"handed over. The bundle of {worse} is {folders[last]}."
        ]
    return [
        f"The model of {worse} is handed over, as the recipe says (hand_over = 'last'). On the "
        f"validation split, {better} is better: {mAPs}. Its bundle is {folders[best]}."
    ]


def _percent(result: Result) -> str:
    return f"{100 * result['val_mAP']:.1f}"
