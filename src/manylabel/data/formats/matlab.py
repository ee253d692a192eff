"""Reads variables of MATLAB files in a separate process, so that a damaged file does no harm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from manylabel.errors import DataError, MissingExtraError, to_install
from manylabel.files import read_bytes

_CHILD: Final = """
import io, json, sys, warnings
from scipy.io import loadmat
warnings.simplefilter("error")  # scipy warns about a variable that it cannot read
values = loadmat(io.BytesIO(sys.stdin.buffer.read()), variable_names=sys.argv[1:])
values = {name: values[name].tolist() for name in sys.argv[1:] if name in values}
json.dump(values, sys.stdout, default=lambda inner: inner.tolist())
"""
"""A program that converts the MATLAB file on its input to JSON on its output; arrays become
lists."""
_TIMEOUT: Final = 300
"""Seconds after which the conversion is stopped. The file of PA-100K takes one or two seconds."""


def load_mat(file: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """Those of the variables `names` that are in the file, as nested lists.

    The compiled reader of scipy crashes on some damaged files and would end the whole process. So
    it runs in a process of its own.

    Raises:
        DataError: The file cannot be read or is not a MATLAB file of version 5 to 7.
        MissingExtraError: scipy is not installed.
    """
    content = read_bytes(file)
    if find_spec("scipy") is None:
        raise MissingExtraError(
            "Reading a MATLAB file needs scipy, which is not installed.",
            where=str(file),
            fix=to_install("mat"),
        )
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, *names],
            input=content,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise _damaged(file, "reading did not end") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        crashed = error.returncode < 0 or not lines
        raise _damaged(file, "it makes scipy crash" if crashed else lines[-1]) from None
    return json.loads(child.stdout)


def _damaged(file: Path, why: str) -> DataError:
    return DataError(
        f"The file is not a MATLAB file that can be read: {why.rstrip('.')}.",
        where=str(file),
        fix="Download it again; it may be incomplete. A file of format 7.3 must be saved as 7.",
    )
