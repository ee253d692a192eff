"""Focusing: the higher the score of the right answer, the less an entry counts."""

from __future__ import annotations

import torch
from torch import Tensor


def focusing(wrong: Tensor, gamma: float) -> Tensor:
    """The weights max(wrong, 0) ** gamma of entries; `wrong` is the score of the wrong answer.

    The gradient of a power below 1 is infinite at 0. So values are raised to at least the smallest
    positive number of their type. Gradients stay finite, and the weights do not change visibly.
    """
    if gamma == 0:
        return torch.ones_like(wrong)
    wrong = wrong.clamp(min=torch.finfo(wrong.dtype).tiny)
    # In two steps, because torch has fast powers 0.5, 1, 2 and 3, and usual gammas are 1, 2 and 4.
    return wrong.pow(gamma / 2).square()
