"""Class activation maps: what each position of the final map adds to a label's logit."""

from __future__ import annotations

import torch
from torch import Tensor

from manylabel.models.heads.base import MainNet


def class_activation_maps(main: MainNet, final: Tensor) -> Tensor:
    """Maps [N, C, h, w] of the final map [N, E, h, w], in logits, signed.

    With average pooling the mean of a label's map plus its bias is its logit, exactly. With max
    pooling there is no such sum: a position then holds the logit, less the bias, that the label
    would get if that position's features were every channel's maximum.

    Source: B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for
    Discriminative Localization", CVPR 2016, Eq. 2. The bias is left out: it has no place.
    """
    return torch.einsum("nehw,ce->nchw", final, main.fc.weight)
