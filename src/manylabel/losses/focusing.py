"""Focusing: an entry counts less the surer the model is of the right answer."""

from __future__ import annotations

import torch
from torch import Tensor


def focusing(wrong: Tensor, gamma: float) -> Tensor:
    """max(wrong, 0) ** gamma, the weight of entries whose wrong answer has the score `wrong`.

    The slope of a power below 1 is infinite at 0. What is lower than the smallest number of its
    type counts as that one: no weight changes visibly, and gradients stay finite.
    """
    if gamma == 0:
        return torch.ones_like(wrong)
    wrong = wrong.clamp(min=torch.finfo(wrong.dtype).tiny)
    # In two steps: torch has fast powers 0.5, 1, 2 and 3, and the usual gammas are 1, 2 and 4.
    return wrong.pow(gamma / 2).square()
