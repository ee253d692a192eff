"""Explanations: evidence maps, pictures of them, and measures of them.

`explaining` computes the maps of any model, and `occlusion` those that need nothing but its logits.
`pictures` draws them. `localisation` compares them with boxes, and `scores` measures them in all
ways.
"""

from manylabel.explain.explaining import Explanation, explain, explain_image, methods, scaled
from manylabel.explain.occlusion import Occlusion

__all__ = ["Explanation", "Occlusion", "explain", "explain_image", "methods", "scaled"]
