"""JSON read so that whatever is wrong with it is said with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from manylabel.errors import DataError
from manylabel.files import read_bytes


def load_object(path: Path, wanted: str) -> Mapping[str, Any]:
    """The JSON object that a file holds.

    Args:
        path: The file.
        wanted: What the reader takes, for messages: "a file with the list images".

    Raises:
        DataError: The file cannot be read, is no JSON, or holds something else.
    """
    document = load_json(path)
    if not isinstance(document, dict):
        raise DataError(
            "The file does not hold a JSON object.", where=str(path), fix=f"Give {wanted}."
        )
    return document


def load_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: The file cannot be read or is no JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested beyond measure
        raise DataError(
            f"The file is not valid JSON: {error}.",
            where=str(path),
            fix="Fetch or export it again; it may have been cut short.",
        ) from None


def entries(document: Mapping[str, Any], name: str, file: Path) -> Iterator[Entry]:
    """The JSON objects of the list `name`.

    Raises:
        DataError: There is no such list, or something else is in it.
    """
    listed = document.get(name)
    if not isinstance(listed, list):
        raise DataError(
            f"The key {name!r} is {'not a list' if name in document else 'missing'}.",
            where=str(file),
            fix=f"Give a file with the list {name}.",
        )
    return listed_entries(listed, name, file)


def listed_entries(listed: Sequence[Any], name: str, file: Path) -> Iterator[Entry]:
    """The JSON objects of a list.

    Args:
        listed: The list.
        name: What it is called in messages.
        file: The file that it was read from.

    Raises:
        DataError: Something else is in it.
    """
    for i, values in enumerate(listed):
        if not isinstance(values, dict):
            raise DataError(
                "The entry is not a JSON object.",
                where=f"{file}, {name}[{i}]",
                fix="Correct the entry.",
            )
        yield Entry(values, file, f"{name}[{i}]")


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A JSON object of a file, with its place for messages; what is asked of it is checked."""

    values: Mapping[str, Any]
    file: Path
    place: str

    def integer(self, key: str) -> int:
        """A whole number."""
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.unfit(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = finite(self._get(key))
        if value is None:
            raise self.unfit(key, "a number")
        return value

    def length(self, key: str) -> float:
        """A number over 0."""
        value = finite(self._get(key))
        if value is None or value <= 0:
            raise self.unfit(key, "a number over 0")
        return value

    def text(self, key: str) -> str:
        """A text that is not empty, stripped."""
        value = self._get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.unfit(key, "a text that is not empty")
        return value.strip()

    def numbers(self, key: str, count: int) -> list[float]:
        """A list of `count` finite numbers."""
        value = self._get(key)
        numbers = [finite(number) for number in value] if isinstance(value, list) else []
        known = [number for number in numbers if number is not None]
        if len(known) != len(numbers) or len(known) != count:
            raise self.unfit(key, f"a list of {count} numbers")
        return known

    def inner(self, key: str) -> Entry:
        """A JSON object."""
        value = self._get(key)
        if not isinstance(value, dict):
            raise self.unfit(key, "a JSON object")
        return Entry(value, self.file, f"{self.place}.{key}")

    def unfit(self, key: str, wanted: str) -> DataError:
        """The error that says that a value is not what it has to be, `wanted`."""
        given = repr(self.values[key])
        shown = given if len(given) <= 60 else given[:57] + "..."
        return DataError(
            f"{key!r} is {shown}, not {wanted}.",
            where=f"{self.file}, {self.place}.{key}",
            fix="Correct the entry.",
        )

    def _get(self, key: str) -> Any:
        if key not in self.values:
            raise DataError(
                f"The key {key!r} is missing.",
                where=f"{self.file}, {self.place}",
                fix="Correct the entry, or say with --format what kind of data set this is.",
            )
        return self.values[key]


def finite(value: object) -> float | None:
    """The number, or None: JSON may hold NaN, and whole numbers that no float can."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
