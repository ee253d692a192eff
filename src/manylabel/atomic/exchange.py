"""Exchanges two files or folders in one step, so that each of the two paths always leads to one.

Linux can do it: `renameat2` with RENAME_EXCHANGE. Python has no function for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CANNOT: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""What systems, file systems and sandboxes answer that cannot exchange."""


def exchange(first: Path, second: Path) -> bool:
    """Exchange two files or folders in one step. Both must exist, on one disk.

    Returns:
        False, and nothing has changed, if the system or the file system cannot do it.

    Raises:
        OSError: It can, but not with these two.
    """
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    paths = _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second)
    if renameat2(*paths, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


@cache
def _renameat2() -> Any:
    """The function of the C library, or None."""
    try:
        found = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system, or an older C library
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return found
