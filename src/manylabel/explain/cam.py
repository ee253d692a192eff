"""Class activation maps: what each position of the final map adds to a label's logit."""

from __future__ import annotations

import torch
from torch import Tensor


def class_activation_maps(weights: Tensor, final: Tensor) -> Tensor:
    """Maps [N, C, h, w] of the final map [N, E, h, w], in logits, signed.

    Args:
        weights: What each label takes from each channel, [C, E]; a head's `label_weights`.
        final: The map.

    With average pooling the mean of a label's map plus its bias is its logit, exactly. With max
    pooling there is no such sum: a position then holds the logit, less the bias, that the label
    would get if that position's features were every channel's maximum.

    Source: B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for
    Discriminative Localization", CVPR 2016, Eq. 2. The bias is left out: it has no place.
    """
    return torch.einsum("nehw,ce->nchw", final, weights)
