"""Reads JSON files, with errors that say where in the file a problem is."""

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
    """The JSON object in a file.

    Args:
        path: The file.
        wanted: What the reader expects, for messages: "a file with the list images".

    Raises:
        DataError: The file cannot be read, is not JSON, or does not hold an object.
    """
    document = load_json(path)
    if not isinstance(document, dict):
        raise DataError(
            "The file does not hold a JSON object.", where=str(path), fix=f"Give {wanted}."
        )
    return document


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: The file cannot be read or is not JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise DataError(
            f"The file is not valid JSON: {error}.",
            where=str(path),
            fix="Download or export it again; it may be incomplete.",
        ) from None


def entries(document: Mapping[str, Any], name: str, file: Path) -> Iterator[JsonEntry]:
    """The JSON objects in the list `name` of a document.

    Raises:
        DataError: There is no such list, or it has an entry that is not an object.
    """
    listed = document.get(name)
    if not isinstance(listed, list):
        raise DataError(
            f"The key {name!r} is {'not a list' if name in document else 'missing'}.",
            where=str(file),
            fix=f"Give a file with the list {name}.",
        )
    return listed_entries(listed, name, file)


def listed_entries(listed: Sequence[Any], name: str, file: Path) -> Iterator[JsonEntry]:
    """The JSON objects in a list.

    Args:
        listed: The list.
        name: The name of the list in messages.
        file: The file that it was read from.

    Raises:
        DataError: An entry of the list is not an object.
    """
    for i, values in enumerate(listed):
        if not isinstance(values, dict):
            raise DataError(
                "The entry is not a JSON object.",
                where=f"{file}, {name}[{i}]",
                fix="Correct the entry.",
            )
        yield JsonEntry(values, file, f"{name}[{i}]")


@final
@dataclass(frozen=True, slots=True)
class JsonEntry:
    """A JSON object, with its file and place for messages. Each method checks the value it gives.

    Args:
        values: The keys and values of the object.
        file: The file that it was read from.
        place: Where it is in the file, such as "images[3]".
    """

    values: Mapping[str, Any]
    file: Path
    place: str

    def integer(self, key: str) -> int:
        """The integer under `key`."""
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.unfit(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        """The finite number under `key`."""
        value = finite(self._get(key))
        if value is None:
            raise self.unfit(key, "a number")
        return value

    def length(self, key: str) -> float:
        """The number over 0 under `key`."""
        value = finite(self._get(key))
        if value is None or value <= 0:
            raise self.unfit(key, "a number over 0")
        return value

    def text(self, key: str) -> str:
        """The text under `key`, which is not empty, without spaces at its ends."""
        value = self._get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.unfit(key, "a text that is not empty")
        return value.strip()

    def numbers(self, key: str, count: int) -> list[float]:
        """The list of `count` finite numbers under `key`."""
        value = self._get(key)
        numbers = [finite(number) for number in value] if isinstance(value, list) else []
        known = [number for number in numbers if number is not None]
        if len(known) != len(numbers) or len(known) != count:
            raise self.unfit(key, f"a list of {count} numbers")
        return known

    def inner(self, key: str) -> JsonEntry:
        """The JSON object under `key`."""
        value = self._get(key)
        if not isinstance(value, dict):
            raise self.unfit(key, "a JSON object")
        return JsonEntry(value, self.file, f"{self.place}.{key}")

    def unfit(self, key: str, wanted: str) -> DataError:
        """The error for a value that is not what is `wanted`."""
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
                fix="Correct the entry, or give the kind of data set with --format.",
            )
        return self.values[key]


def finite(value: object) -> float | None:
    """The value as a finite number; None if it is none.

    JSON may contain NaN, and integers that are too large for a float.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
