"""Backbones: any timm model, read as two feature maps.

SRN looks at the map at stride 16 (ResNet's conv4_x); the main net's classifier at the final one.
Models that compute tokens (transformers) are put back on the grid here, so that every head sees
[N, D, H, W]; those that are made for one input size are brought to another one here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, cast, final

import timm
import torch
from pydantic import Field
from timm.models import group_parameters
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.errors import ConfigError, reason
from manylabel.models.weights import load_weights, quiet

MID_STRIDE: Final = 16
"""The stride of SRN's map: 14x14 positions at 224x224."""

_BEYOND: Final = "?"
"""No parameter's name: timm's matcher puts it after all layers, with what it does not know, such
as a last normalisation. That belongs to the last layer here."""

_OTHERS: Final = "Take another; `manylabel models` lists some of each family."


class FeatureMaps(NamedTuple):
    """What a backbone yields for N images, and all that a head sees.

    `mid` is [N, D, H, W] at stride 16 or the nearest that the backbone has, `final` is
    [N, E, h, w], the last map before pooling. Where no stage follows the middle one, as in a plain
    transformer, both are the final map.
    """

    mid: Tensor
    final: Tensor


@final
@dataclass(frozen=True, slots=True)
class MapShapes:
    """The shapes of a backbone's maps at the input size that a model is built for."""

    mid_channels: int
    final_channels: int
    grid: tuple[int, int]
    """Height and width of the mid map."""


class BackboneConfig(Config):
    """Which backbone, and where its weights come from."""

    name: str = "resnet101"
    """A model of timm, for instance `resnet101` (the paper's) or `resnet50.a1_in1k`."""
    pretrained: bool = True
    """Start from timm's pre-trained weights (downloaded once, then cached); else from scratch."""
    weights: Path | None = None
    """Start from this file instead: safetensors, or a PyTorch state dict without code in it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the timm model, for instance `channels = [32, 64, 128, 256]`."""


@final
class Backbone(nn.Module):
    """A timm model that yields `FeatureMaps`.

    Args:
        config: Which model; its weights are loaded here.
        size: Height and width in pixels to `resize` it to; else the size it was made for.

    Raises:
        ConfigError: No such model or option, no feature maps, weights that cannot be had, or a
            size that the model does not take.
    """

    def __init__(self, config: BackboneConfig, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.name = config.name
        self.model: Any = _create(config)
        strides = [int(stage["reduction"]) for stage in self.model.feature_info]
        mid, last = _mid_stage(strides), len(strides) - 1
        self._stages = [mid] if mid == last else [mid, last]
        self.strides = (strides[mid], strides[last])
        if config.weights is not None:
            load_weights(self.model, config.weights, lambda: self.resize(*size) if size else None)
        elif size is not None:
            self.resize(*size)

    def forward(self, images: Tensor) -> FeatureMaps:
        """Maps of normalised images [N, 3, height, width]."""
        features, stages = self.model.forward_intermediates(
            images, indices=self._stages, output_fmt="NCHW"
        )
        final_map = self._on_grid(features, stages[-1])
        return FeatureMaps(stages[0] if len(stages) == 2 else final_map, final_map)

    def resize(self, height: int, width: int) -> None:
        """Make a model of one input size take images of height x width pixels.

        Position embeddings are resampled, and windows scaled with the image; models that take any
        size stay as they are.

        Raises:
            ConfigError: The model cannot be brought to that size.
        """
        if not hasattr(self.model, "set_input_size"):  # `shapes` finds out whether it takes it
            return
        try:
            with quiet():
                self.model.set_input_size(img_size=(height, width))
        except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
            raise self._refused(height, width, error) from None

    def shapes(self, height: int, width: int) -> MapShapes:
        """The shapes of the maps for images of height x width pixels.

        Raises:
            ConfigError: The model does not take images of that size, or has no final map.
        """
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, 3, height, width, device=self._device()))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise self._refused(height, width, error) from None
        finally:
            self.train(training)
        rows, columns = maps.mid.shape[-2:]
        return MapShapes(maps.mid.shape[1], maps.final.shape[1], (rows, columns))

    def layers(self) -> dict[str, int]:
        """Each parameter's layer by its name in this module: the stem is 0, then block by block.

        Raises:
            ConfigError: timm does not know the model's layers.
        """
        return self._depths(coarse=False)

    def stages(self) -> dict[str, int]:
        """Each parameter's stage by its name in this module: the stem is 0.

        ResNet's conv2_x to conv5_x are 1 to 4; of a plain transformer every block is a stage.

        Raises:
            ConfigError: timm does not know the model's stages.
        """
        return self._depths(coarse=True)

    def hold(self, stages: int) -> None:
        """Hold the stem and the first `stages` stages still.

        They get no gradient and are put into evaluation mode, so that batch statistics stay and
        nothing is dropped; `train()` undoes the latter.

        Raises:
            ConfigError: timm does not know the model's stages, or there are not so many.
        """
        stage_of = self.stages()
        require_stages(self.name, stages, max(stage_of.values()))
        for name, parameter in self.named_parameters():
            if stage_of[name] <= stages:
                parameter.requires_grad_(False)
        for module in self.model.modules():
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()

    def _depths(self, *, coarse: bool) -> dict[str, int]:
        if not hasattr(self.model, "group_matcher"):
            raise ConfigError(
                f"timm does not know the layers of '{self.name}'.",
                where="backbone.name",
                fix="Leave out freeze_stages and layer_decay, or take another backbone.",
            )
        names = [name for name, _ in self.model.named_parameters()]
        # Parameters of the model itself are tokens and positions: the stem's, known to timm or not.
        inner = [name for name in names if "." in name]
        matcher = self.model.group_matcher(coarse=coarse)
        named = _Parameters([*inner, _BEYOND])
        depths = cast("dict[str, int]", group_parameters(named, matcher, reverse=True))
        last = depths[_BEYOND] - 1
        return {f"model.{name}": min(depths.get(name, 0), last) for name in names}

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _on_grid(self, features: Any, last_stage: Tensor) -> Tensor:
        """The final features as [N, E, h, w], however the model lays them out."""
        if not isinstance(features, Tensor):
            raise self._no_final_map("it ends in several tensors")
        if features.ndim == 3:  # tokens [N, prefix + h*w, E]: class and register tokens come first
            rows, columns = last_stage.shape[-2:]
            prefix = features.shape[1] - rows * columns
            if prefix < 0:
                raise self._no_final_map("it ends in fewer tokens than its grid has positions")
            return features[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features

    def _no_final_map(self, fault: str) -> ConfigError:
        return ConfigError(
            f"The backbone '{self.name}' yields no final map: {fault}.",
            where="backbone.name",
            fix=_OTHERS,
        )

    def _refused(self, height: int, width: int, error: Exception) -> ConfigError:
        own = self.model.pretrained_cfg.get("input_size")
        made_for = f" ({own[1]}x{own[2]} pixels)" if own else ""
        return ConfigError(
            f"The backbone '{self.name}' does not take images of {height}x{width} pixels: "
            f"{reason(error)}.",
            where="input.height, input.width",
            fix=f"Take multiples of {max(self.strides)}, or the size that the model was made "
            f"for{made_for}; some models take backbone.options.img_size = [{height}, {width}].",
        )


@final
class _Parameters(nn.Module):
    """A module whose parameters have names only, which is all that timm groups them by."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._named = [(name, nn.Parameter()) for name in names]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The names, each with an empty parameter."""
        return iter(self._named)


def count_stages(config: BackboneConfig) -> int:
    """How many stages a backbone has after its stem; nothing is downloaded or computed.

    Raises:
        ConfigError: There is no such model, or timm does not know its stages.
    """
    bare = config.model_copy(update={"pretrained": False, "weights": None})
    with torch.device("meta"):
        return max(Backbone(bare).stages().values())


def require_stages(name: str, wanted: int, most: int) -> None:
    """Check that so many stages can be held.

    Raises:
        ConfigError: The backbone called `name` has `most` stages, which are fewer than `wanted`.
    """
    if wanted > most:
        raise ConfigError(
            f"The backbone '{name}' has {most} stages after its stem, not {wanted}.",
            where="steps.freeze_stages",
            fix=f"Give 0 (the stem alone) to {most}, or freeze = ['backbone'] for all of it.",
        )


def pretrained_input(name: str) -> dict[str, Any]:
    """Mean, std and interpolation that timm's weights of `name` were trained with."""
    _require_model(name)
    settings = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if settings is None:
        return {}
    resize = settings.interpolation if settings.interpolation == "bicubic" else "bilinear"
    return {"mean": list(settings.mean), "std": list(settings.std), "resize": resize}


def _create(config: BackboneConfig) -> nn.Module:
    _require_model(config.name)
    download = config.pretrained and config.weights is None
    options = {key: _tuples(value) for key, value in config.options.items()}
    try:
        model = timm.create_model(config.name, pretrained=download, num_classes=0, **options)
    except (TypeError, AssertionError, KeyError) as error:
        raise ConfigError(
            f"timm cannot build '{config.name}' with these options: {reason(error)}.",
            where="backbone.options",
            fix="Give only arguments that this model takes.",
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        if not download:
            raise
        raise ConfigError(
            f"The pre-trained weights of '{config.name}' cannot be had: {reason(error)}.",
            where="backbone.pretrained",
            fix="Give a local file with --backbone-weights FILE, or start from scratch with "
            "--set backbone.pretrained=false.",
        ) from None
    if not hasattr(model, "forward_intermediates"):
        raise ConfigError(
            f"The backbone '{config.name}' yields no feature maps.",
            where="backbone.name",
            fix=_OTHERS,
        )
    return model


def _mid_stage(strides: Sequence[int]) -> int:
    """The deepest stage of the stride nearest to `MID_STRIDE` from below; else of the finest."""
    fine = [stride for stride in strides if stride <= MID_STRIDE]
    wanted = max(fine) if fine else min(strides)
    return max(stage for stage, stride in enumerate(strides) if stride == wanted)


def _tuples(value: Any) -> Any:
    """Lists of a recipe as the tuples that timm's builders expect."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _require_model(name: str) -> None:
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        raise _unknown_model(name)
    try:
        timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # no such weights
        known = timm.list_pretrained(f"{architecture}.*")
        close = get_close_matches(name, known, n=3) or known[:3] or [architecture]
        raise ConfigError(
            f"timm has no weights '{name}'.",
            where="backbone.name",
            fix=f"Did you mean {' or '.join(close)}?",
        ) from None


def _unknown_model(name: str) -> ConfigError:
    close = get_close_matches(name.split(".")[0], timm.list_models(), n=3)
    fix = f"Did you mean {' or '.join(close)}?" if close else "Name a model that timm has."
    return ConfigError(f"timm has no model '{name}'.", where="backbone.name", fix=fix)
