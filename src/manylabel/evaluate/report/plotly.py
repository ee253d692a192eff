"""Plotly's script in the form that a page contains: compressed to a third of its 4.8 MB."""

from __future__ import annotations

import base64
import gzip
from functools import cache

from manylabel.errors import MissingExtraError, to_install


@cache
def packed_plotly() -> str:
    """plotly.js of the installed Python package, gzipped, in base64: about 2 MB.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError(
            "A report's charts need plotly.",
            where="manylabel report",
            fix=to_install("report"),
        ) from None
    # Without a time stamp, so that equal pages are equal files.
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")
