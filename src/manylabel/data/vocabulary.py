"""What is said where the labels of a data set are not those of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches

from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.text import some_names


def other_labels(
    missing: Sequence[str], foreign: Sequence[str], labels: LabelSpace, *, where: str
) -> DataError:
    """The error about labels that differ.

    Args:
        missing: The labels of the model that the data set lacks.
        foreign: The labels of the data set that the model does not know.
        labels: The labels of the model.
        where: The data set.
    """
    return DataError(
        _difference(missing, foreign), where=where, fix=_mend(missing, foreign, labels)
    )


def named(names: Sequence[str], what: str) -> list[str]:
    """A note that counts and names labels; no note if there are none."""
    return [f"{what}: {len(names):,} ({some_names(names)})"] if names else []


def _difference(missing: Sequence[str], foreign: Sequence[str]) -> str:
    parts: list[str] = []
    if missing:
        parts.append(f"{len(missing):,} missing ({some_names(missing)})")
    if foreign:
        parts.append(f"{len(foreign):,} not known to the model ({some_names(foreign)})")
    return f"The labels of the data set are not the model's: {'; '.join(parts)}."


def _mend(missing: Sequence[str], foreign: Sequence[str], labels: LabelSpace) -> str:
    """What to do about labels that differ, in words to type."""
    if not foreign:
        return (
            "Add a column for each missing label: 0 where it is absent, empty where nobody looked. "
            "Only where images name their labels does manylabel take the others as absent."
        )
    first = foreign[0]
    close = get_close_matches(first, [name for name in labels if name in missing] or labels, n=1)
    if close:
        line = f"rename = {{ {_quoted(first)} = {_quoted(close[0])} }}"
        return f"Is {first!r} the model's {close[0]!r}? Then {_label_set(line)}"
    line = f"drop = [{', '.join(map(_quoted, foreign[:3]))}{', ...' if foreign[3:] else ''}]"
    without = f"To measure without {'it' if len(foreign) == 1 else 'them'}, {_label_set(line)}"
    return f"The model knows {some_names(labels.names, 10)}. {without}"


def _label_set(line: str) -> str:
    return f"write {line} into a file labels.toml, and add --option label_set=labels.toml."


def _quoted(name: str) -> str:
    """A name as a text of TOML."""
    return json.dumps(name, ensure_ascii=False)
