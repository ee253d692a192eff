"""Evidence maps from gradients, for any head: Grad-CAM and LayerCAM of the backbone's maps.

The gradients are those of the logits with respect to the maps that the head takes. So they go
through the head alone, and the backbone runs once for all labels. A head that takes both maps
depends on the mid map in two ways: directly, and because the final map is computed from it. The
methods of the mid map show the direct way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from manylabel.evidence import MapKind
from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.base import MapName


@final
class GradientMethod(NamedTuple):
    """One method of evidence maps from gradients."""

    kind: MapKind
    """What the values of its maps mean."""
    of: MapName
    """The backbone's map whose features and gradients it takes."""
    combine: Callable[[Tensor, Tensor], Tensor]
    """Returns the evidence maps [N, H, W] of one label. Its arguments are the features and the
    gradients of the label's logit, both [N, D, H, W]."""


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM [N, H, W]: the features, weighted by their channel's mean gradient; at least 0.

    Source: R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, Eq. 1 and 2.
    """
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * features).sum(1).relu()


def layer_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM [N, H, W]: the features, weighted by their own positive gradients; at least 0.

    Source: P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei, "LayerCAM: Exploring Hierarchical
    Class Activation Maps for Localization", IEEE Transactions on Image Processing 30, 2021.
    """
    return (gradients.relu() * features).sum(1).relu()


def _kind(name: str, of: str) -> MapKind:
    return MapKind(f"{name} of the {of} map", low=0, high=None, costly=True)


_METHODS: Final = {
    "grad-cam": GradientMethod(_kind("Grad-CAM", "final"), "final", grad_cam),
    "layer-cam": GradientMethod(_kind("LayerCAM", "final"), "final", layer_cam),
    "grad-cam-mid": GradientMethod(_kind("Grad-CAM", "mid"), "mid", grad_cam),
    "layer-cam-mid": GradientMethod(_kind("LayerCAM", "mid"), "mid", layer_cam),
}


def gradient_methods(takes: Collection[MapName]) -> dict[str, GradientMethod]:
    """The methods of a head that takes these maps, by name."""
    return {name: each for name, each in _METHODS.items() if each.of in takes}


def gradient_maps(
    logits_of: Callable[[FeatureMaps], Tensor],
    maps: FeatureMaps,
    columns: Sequence[int],
    methods: Mapping[str, GradientMethod],
) -> dict[str, Tensor]:
    """Evidence maps from gradients, each [N, C', H, W], by method.

    There is one backward pass through the head for each label, for all images at once. No parameter
    gets a gradient. A map is 0 everywhere if the logits do not depend on it.

    Args:
        logits_of: Returns the logits [N, C] for feature maps. The logits of an image must depend on
            the maps of that image alone, as they do in evaluation mode.
        maps: The feature maps of N images.
        columns: The columns of the C' labels.
        methods: The methods, by name.
    """
    if not methods:
        return {}
    leaves = _leaves(maps)
    with torch.enable_grad():
        logits = logits_of(leaves)
    wanted: list[MapName] = list({each.of for each in methods.values()})
    found = {name: _empty(maps, each.of, len(columns)) for name, each in methods.items()}
    for position, column in enumerate(columns):
        gradients = _gradients(logits, column, leaves, wanted)
        for name, (_, of, combine) in methods.items():
            found[name][:, position] = combine(_map(maps, of), gradients[of])
    return found


def _leaves(maps: FeatureMaps) -> FeatureMaps:
    """The maps as the start of a computation; one tensor if both are the same one."""
    final_map = maps.final.detach().requires_grad_()
    same = maps.mid is maps.final
    return FeatureMaps(final_map if same else maps.mid.detach().requires_grad_(), final_map)


def _gradients(
    logits: Tensor, column: int, leaves: FeatureMaps, wanted: Sequence[MapName]
) -> dict[MapName, Tensor]:
    """The gradients [N, D, H, W] of each image's logit of one label with respect to its maps."""
    inputs = [_map(leaves, name) for name in wanted]
    if not logits.requires_grad:
        return {name: torch.zeros_like(each) for name, each in zip(wanted, inputs, strict=True)}
    # The gradient of the sum over the images holds that of each image: images do not mix.
    chosen = torch.zeros_like(logits)
    chosen[:, column] = 1
    found = torch.autograd.grad(
        logits, inputs, chosen, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(wanted, found, strict=True))


def _map(maps: FeatureMaps, name: MapName) -> Tensor:
    return maps.mid if name == "mid" else maps.final


def _empty(maps: FeatureMaps, name: MapName, labels: int) -> Tensor:
    features = _map(maps, name)
    images, _, height, width = features.shape
    return features.new_empty(images, labels, height, width)
