"""Converts columns of Arrow tables (from Parquet files and Hugging Face data sets) to NumPy.

pyarrow is an optional package. The functions that take a column are called only if it is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.room import require_room
from manylabel.data.formats.truth_cells import EMPTY, TEXT, code_of, codes_of_numbers
from manylabel.errors import DataError, MissingExtraError, reason, to_install
from manylabel.files import open_regular

_ROW_BYTES: Final = 80
"""About the memory of the key of a row."""
_WIDTHS: Final = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}
"""The memory of a value by its type; 8 bytes if it is of another one."""


def parquet_module(where: str) -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: They are not installed. `where` says what needs them.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            "Parquet files need pyarrow, which is not installed.",
            where=where,
            fix=to_install("parquet"),
        ) from None
    return pyarrow, parquet


def load_parquet(path: Path) -> Any:
    """The whole table in a Parquet file. Every value is checked.

    Raises:
        DataError: The file does not exist, cannot be read, is damaged, or has no rows.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = parquet_module(str(path))
    try:
        with open_regular(path) as stream:
            file = parquet.ParquetFile(stream, page_checksum_verification=True)
            require_room(_needed(file.metadata), "The table", str(path))
            table = file.read()
        table.validate(full=True)
        _read_names(table.schema)
    except FileNotFoundError:
        raise DataError(
            "The file does not exist.", where=str(path), fix="Check the path."
        ) from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"The Parquet file cannot be read: {reason(error)}.",
            where=str(path),
            fix="Download or write it again: it may be incomplete.",
        ) from None
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError("The table has no rows.", where=str(path), fix="Give a row for each image.")
    return table


def _needed(metadata: Any) -> int:
    """About the bytes that a table and its records take. A tiny file can have a billion rows."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    values = sum(chunk.num_values * _WIDTHS.get(chunk.physical_type, 8) for chunk in chunks)
    return _ROW_BYTES * metadata.num_rows + values


def _read_names(fields: Iterable[Any]) -> None:
    """Read the names of columns and of their parts. A name that is not UTF-8 raises an error."""
    for field in fields:
        _ = field.name
        _read_names(field.type.field(i) for i in range(field.type.num_fields))


def is_list(kind: Any) -> bool:
    """Whether a column of this type holds lists."""
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def is_number(kind: Any) -> bool:
    """Whether a column of this type holds integers or floating-point numbers."""
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind)


def is_whole(kind: Any) -> bool:
    """Whether a column of this type holds integers."""
    from pyarrow import types

    return types.is_integer(kind)


def is_text(kind: Any) -> bool:
    """Whether a column of this type holds strings, or categories that are strings."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def texts(column: Any, where: str) -> list[str | None]:
    """A column of strings or integers as strings; a null or an empty string is None.

    Raises:
        DataError: The column holds something else.
    """
    from pyarrow import types

    if types.is_null(column.type):
        return [None] * len(column)
    if not (is_text(column.type) or types.is_integer(column.type)):
        raise DataError(
            f"The column holds {column.type}, not strings.", where=where, fix="Write strings there."
        )
    return [None if cell is None else str(cell) or None for cell in column.to_pylist()]


def flat_lists(column: Any, where: str) -> tuple[Any, NDArray[np.int64]]:
    """The M values of all lists of a column, one after another, and the row [M] of each value.

    Raises:
        DataError: A row or a value is null.
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
            "A list of labels contains a null.", where=where, fix="Write only names in it."
        )
    return values, np.repeat(np.arange(len(combined), dtype=np.int64), lengths)


def names_and_codes(values: Any, where: str) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct strings of an array, and for each value its index among them, [M].

    Raises:
        DataError: The array does not hold strings.
    """
    import pyarrow

    if pyarrow.types.is_null(values.type):
        return [], np.zeros(0, dtype=np.int64)
    if not is_text(values.type):
        raise DataError(
            f"The lists of labels hold {values.type}, not strings.",
            where=where,
            fix="Write the names of the labels.",
        )
    encoded = values if pyarrow.types.is_dictionary(values.type) else values.dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    return [str(name) for name in encoded.dictionary.to_pylist()], codes


def column_codes(column: Any) -> NDArray[np.int8]:
    """What the cells of a column say about a label, int8 [N]: codes of `truth_cells`.

    Nulls and NaN are empty. Columns of other types than booleans, numbers and texts hold text.
    """
    from pyarrow import types

    if types.is_boolean(column.type) or is_number(column.type) or types.is_decimal(column.type):
        return codes_of_numbers(_numbers(column))
    if types.is_null(column.type):
        return np.full(len(column), EMPTY, dtype=np.int8)
    if not is_text(column.type):
        return np.full(len(column), TEXT, dtype=np.int8)
    combined = _combined(column)
    encoded = combined if types.is_dictionary(combined.type) else combined.dictionary_encode()
    codes = [
        EMPTY if cell is None else code_of(str(cell)) for cell in encoded.dictionary.to_pylist()
    ]
    indices = np.asarray(encoded.indices.fill_null(len(codes)), dtype=np.int64)
    return np.array([*codes, EMPTY], dtype=np.int8)[indices]


def _numbers(column: Any) -> NDArray[np.float64]:
    """The numbers of a column; nulls become NaN."""
    import pyarrow

    as_float = column.cast(pyarrow.int8()) if pyarrow.types.is_boolean(column.type) else column
    cast = as_float.cast(pyarrow.float64(), safe=False)
    return np.array(cast.to_numpy(), dtype=np.float64)


def _combined(column: Any) -> Any:
    """The chunks of a column as one array."""
    import pyarrow

    combined = column.combine_chunks()
    if isinstance(combined, pyarrow.ChunkedArray):  # more than an array can address
        combined = pyarrow.concat_arrays(combined.chunks)
    return combined
