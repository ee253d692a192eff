"""The former place of `explaining.py`, for callers that are not yet moved."""

from __future__ import annotations

from manylabel.explain.explaining import Explanation, explain_image

__all__ = ["Explanation", "explain_image"]
