"""Columns of Arrow tables, as Parquet files and Hugging Face data sets hold them, to NumPy.

pyarrow is an optional package: what takes a column is only called where it was imported.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import DataError, MissingExtraError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

_TARGETS: Final = (PRESENT, ABSENT, UNKNOWN)


def parquet_module(where: str) -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: They are not installed; `where` says what needs them.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            "Parquet files need pyarrow, which is not installed.",
            where=where,
            fix="pip install 'manylabel[parquet]'",
        ) from None
    return pyarrow, parquet


def is_list(kind: Any) -> bool:
    """Whether a column of this type holds lists."""
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def is_text(kind: Any) -> bool:
    """Whether a column of this type holds texts, categories among them."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def texts(column: Any, where: str) -> list[str | None]:
    """A column of texts or whole numbers as texts; a null or an empty text is None.

    Raises:
        DataError: The column holds something else.
    """
    from pyarrow import types

    if types.is_null(column.type):
        return [None] * len(column)
    if not (is_text(column.type) or types.is_integer(column.type)):
        raise DataError(
            f"The column holds {column.type}, not texts.", where=where, fix="Write texts there."
        )
    return [None if cell is None else str(cell) or None for cell in column.to_pylist()]


def flat_lists(column: Any, where: str) -> tuple[Any, NDArray[np.int64]]:
    """What the lists of a column hold, one after another, and the row [M] of each value.

    Raises:
        DataError: A row is null, or a value is.
    """
    combined = _combined(column)
    if combined.null_count:
        row = int(np.argmax(~combined.is_valid().to_numpy(zero_copy_only=False)))
        raise DataError(
            "The list of labels is null.",
            where=f"{where}, row {row + 1}",
            fix="Write an empty list for an image without labels.",
        )
    values = combined.flatten()
    lengths = np.asarray(combined.value_lengths(), dtype=np.int64)
    if values.null_count:
        raise DataError(
            "A list of labels holds a null.", where=where, fix="Write names and nothing else."
        )
    return values, np.repeat(np.arange(len(combined), dtype=np.int64), lengths)


def names_and_codes(values: Any, where: str) -> tuple[list[str], NDArray[np.int64]]:
    """The different texts of an array, and the index [M] among them of each value.

    Raises:
        DataError: The array holds no texts.
    """
    import pyarrow

    if pyarrow.types.is_null(values.type):
        return [], np.zeros(0, dtype=np.int64)
    if not is_text(values.type):
        raise DataError(
            f"The lists of labels hold {values.type}, not texts.",
            where=where,
            fix="Write the labels' names.",
        )
    encoded = values if pyarrow.types.is_dictionary(values.type) else values.dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    return [str(name) for name in encoded.dictionary.to_pylist()], codes


def is_label_column(column: Any) -> bool:
    """Whether a column is meant as a label's: then a value that is no target is a mistake."""
    from pyarrow import types

    kind = column.type
    if types.is_boolean(kind):
        return True
    if not (types.is_integer(kind) or types.is_floating(kind)):
        return False
    values = _numbers(column)
    known = values[np.isfinite(values)]
    return bool(known.size) and 2 * np.isin(known, _TARGETS).sum() >= known.size


def column_targets(column: Any, where: str) -> NDArray[np.int8]:
    """Targets [N] of one label's column: booleans or 1, 0, -1; nulls and NaN are unknown.

    Raises:
        DataError: A value is no target.
    """
    values = _numbers(column)
    values[np.isnan(values)] = UNKNOWN
    wrong = np.flatnonzero(~np.isin(values, _TARGETS))
    if wrong.size:
        raise DataError(
            f"{values[wrong[0]]:g} is no target.",
            where=f"{where}, row {wrong[0] + 1}",
            fix="Write 1 for present, 0 for absent, -1 or null for unknown; remove the column if "
            "it is no label.",
        )
    return values.astype(np.int8)


def _numbers(column: Any) -> NDArray[np.float64]:
    """A column's numbers, nulls as NaN."""
    import pyarrow

    as_float = column.cast(pyarrow.int8()) if pyarrow.types.is_boolean(column.type) else column
    cast = as_float.cast(pyarrow.float64(), safe=False)
    return np.array(cast.to_numpy(), dtype=np.float64)


def _combined(column: Any) -> Any:
    """A column's chunks as one array."""
    import pyarrow

    combined = column.combine_chunks()
    if isinstance(combined, pyarrow.ChunkedArray):  # more than an array can address
        combined = pyarrow.concat_arrays(combined.chunks)
    return combined
