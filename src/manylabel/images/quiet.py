"""Keeps what libraries say about odd images off the terminal: it would be hundreds of lines."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Final, final

import PIL

_LIBTIFF: Final = ("../pillow.libs/libtiff*.so*", ".dylibs/libtiff*.dylib")
"""Where Pillow's packages for Linux and macOS have libtiff, below Pillow's own folder."""


@final
class _Quiet:
    """Silences Pillow's warnings while any thread is in the block.

    Warning filters are global to the process. So the first thread sets them, and the last one
    restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._threads += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._caught.__exit__(None, None, None)


QUIET: Final = _Quiet()
"""Silences Pillow's warnings, which are about odd metadata of single files."""


@cache
def silence_libraries() -> None:
    """Stop Pillow's log and libtiff from printing lines about damaged images; done once.

    libtiff prints a line for each damaged row of a fax image to stderr by itself. Where it is not a
    library of its own, it goes on.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    folder = Path(PIL.__file__).parent
    for path in (each for pattern in _LIBTIFF for each in folder.glob(pattern)):
        library = ctypes.CDLL(str(path))  # Pillow has loaded it, so this is the same one
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
