"""The plan of a run as it lies in the run's folder, from which the run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manylabel.errors import CheckpointError
from manylabel.train.auto.plan import Plan
from manylabel.train.auto.ways import Choices
from manylabel.train.run_folder import PLAN


def saved_choices(folder: Path) -> tuple[Choices, dict[str, Any], bool] | None:
    """The choices, the table `data`, and whether to tune, of the run without recipe in `folder`.

    None if there is none.

    Raises:
        CheckpointError: The plan in the folder is damaged.
    """
    saved = read_saved(folder)
    if saved is None:
        return None
    return Choices(**saved["choices"]), saved["data"], saved["tune"]


def read_saved(folder: Path) -> dict[str, Any] | None:
    """The content of the plan in `folder`; None if there is none.

    Raises:
        CheckpointError: It is damaged.
    """
    path = folder / PLAN
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        ways = saved["plan"]["ways"]
        assert all(isinstance(ways[name]["chosen"], bool) for name in ways)
        Choices(**saved["choices"])
        return {**saved, "data": dict(saved["data"]), "tune": bool(saved["tune"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise CheckpointError(
            "The plan of the run cannot be read.",
            where=str(path),
            fix="Start a new run in another folder.",
        ) from None


def as_saved(plan: Plan, saved: Mapping[str, Any]) -> Plan:
    """The plan with the ways that were chosen when the run began."""
    ways = saved["plan"]["ways"]
    choices = [
        replace(choice, chosen=bool(ways.get(choice.way.name, {}).get("chosen")), why="as begun")
        for choice in plan.choices
    ]
    return replace(plan, choices=tuple(choices), mirrored=bool(saved["plan"]["mirrored"]))
