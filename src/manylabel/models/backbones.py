"""Backbones: any timm model, as a module that computes two feature maps.

SRN uses the map at stride 16 (ResNet's conv4_x), and the classifier of the main net uses the final
map. Transformers compute tokens; this module puts them back on their grid, so that every head gets
[N, D, H, W]. It also adapts models that are made for one input size to another size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, cast, final

import timm
import torch
from pydantic import Field, PlainValidator
from timm.models import group_parameters
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.errors import ConfigError, reason
from manylabel.models.backbone_options import BackboneOptions
from manylabel.models.hub import with_downloads
from manylabel.models.packaged import names_package, packaged
from manylabel.models.weights import ignore_warnings, load_weights, read_weights

MID_STRIDE: Final = 16
"""The stride of SRN's map: 14x14 positions at 224x224."""

MAX_NAME: Final = 100
"""The largest length of a model's name. timm's longest names have about 60 characters."""

_UNMATCHED: Final = "?"
"""A name that no parameter has. timm's matcher puts it after all layers, together with parameters
that it does not recognise, such as a last normalisation. Here, those belong to the last layer."""

_MISFITS: Final = (
    ArithmeticError,
    AssertionError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What timm raises where a size or an option does not fit."""

_OTHERS: Final = "Use another one; `manylabel models` lists some of each family."


class FeatureMaps(NamedTuple):
    """The feature maps of N images, which are the only input of a head.

    `mid` is [N, D, H, W] at stride 16, or at the nearest stride that the backbone has. `final` is
    [N, E, h, w], the last map before pooling. If no stage follows the middle one, as in a plain
    transformer, both are the final map.
    """

    mid: Tensor
    final: Tensor


@final
@dataclass(frozen=True, slots=True)
class MapShapes:
    """The shapes of a backbone's maps at the input size of a model."""

    mid_channels: int
    final_channels: int
    grid: tuple[int, int]
    """Height and width of the mid map."""


def _weights(value: Any) -> Path | str | None:
    """A path, or a text that names a package."""
    if not isinstance(value, str | Path | None):
        raise ValueError("it must be the path of a file or of a bundle's folder, or 'package'")
    if isinstance(value, str) and names_package(value):
        return value
    # The text of a relative path must not name a package, if a file happens to be called so.
    path = None if value is None else Path(value)
    return path.absolute() if path is not None and names_package(str(path)) else path


class BackboneConfig(Config):
    """The backbone, and the source of its weights."""

    name: str = Field(default="resnet101", max_length=MAX_NAME)
    """A model of timm, for instance `resnet101` (as in the paper) or `resnet50.a1_in1k`."""
    pretrained: bool = True
    """Start from timm's pre-trained weights, which are downloaded once and then cached. False:
    start from scratch."""
    weights: Annotated[Path | str | None, PlainValidator(_weights)] = None
    """Start from these instead: a file (safetensors, or a PyTorch state dict that contains no
    code), the folder of a bundle, or `package`: the package of the Python index that holds the
    backbone's weights."""
    options: BackboneOptions = BackboneOptions()
    """Further arguments of the timm model, for instance `channels = [32, 64, 128, 256]`."""


@final
class Backbone(nn.Module):
    """A timm model that computes `FeatureMaps`.

    Args:
        config: The model; its weights are loaded here.
        size: Height and width in pixels, for which the model is adapted with `resize`; None keeps
            the size that the model was made for.

    Raises:
        ConfigError: There is no such model or option, the model has no feature maps, its weights
            cannot be loaded, or it does not accept the size.
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
            given = read_weights(config.name, config.weights)
            load_weights(self.model, given, lambda: self.resize(*size) if size else None)
        elif size is not None:
            self.resize(*size)

    def forward(self, images: Tensor) -> FeatureMaps:
        """The maps of normalised images [N, 3, height, width]."""
        features, stages = self.model.forward_intermediates(
            images, indices=self._stages, output_fmt="NCHW"
        )
        final_map = self._on_grid(features, stages[-1])
        return FeatureMaps(stages[0] if len(stages) == 2 else final_map, final_map)

    def resize(self, height: int, width: int) -> None:
        """Adapt a model with one input size to images of height x width pixels.

        Position embeddings are resampled, and windows are scaled with the image. Models that accept
        any size are not changed.

        Raises:
            ConfigError: The model cannot be adapted to that size.
        """
        if not hasattr(self.model, "set_input_size"):  # `shapes` checks whether it accepts the size
            return
        try:
            with ignore_warnings():
                self.model.set_input_size(img_size=(height, width))
        except _MISFITS as error:
            raise self._refused(height, width, error) from None

    def shapes(self, height: int, width: int) -> MapShapes:
        """The shapes of the maps for images of height x width pixels.

        Raises:
            ConfigError: The model does not accept images of that size, or has no final map.
        """
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, 3, height, width, device=self._device()))
        except _MISFITS as error:
            raise self._refused(height, width, error) from None
        finally:
            self.train(training)
        rows, columns = maps.mid.shape[-2:]
        return MapShapes(maps.mid.shape[1], maps.final.shape[1], (rows, columns))

    def layers(self) -> dict[str, int]:
        """The layer of each parameter, by its name in this module: the stem is 0, then each block.

        Raises:
            ConfigError: timm does not know the model's layers.
        """
        return self._depths(coarse=False)

    def stages(self) -> dict[str, int]:
        """The stage of each parameter, by its name in this module: the stem is 0.

        ResNet's conv2_x to conv5_x are 1 to 4. In a plain transformer, every block is a stage.

        Raises:
            ConfigError: timm does not know the model's stages.
        """
        return self._depths(coarse=True)

    def freeze(self, stages: int) -> None:
        """Freeze the stem and the first `stages` stages.

        They get no gradient. They are also put into evaluation mode, so that batch statistics do
        not change and dropout is off; `train()` undoes this second part.

        Raises:
            ConfigError: timm does not know the model's stages, or there are fewer stages.
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
                fix="Leave out freeze_stages and layer_decay, or use another backbone.",
            )
        names = [name for name, _ in self.model.named_parameters()]
        # Parameters directly in the model are tokens and position embeddings: they are of the stem.
        inner = [name for name in names if "." in name]
        matcher = self.model.group_matcher(coarse=coarse)
        named = _Parameters([*inner, _UNMATCHED])
        depths = cast("dict[str, int]", group_parameters(named, matcher, reverse=True))
        last = depths[_UNMATCHED] - 1
        return {f"model.{name}": min(depths.get(name, 0), last) for name in names}

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _on_grid(self, features: Any, last_stage: Tensor) -> Tensor:
        """The final features as [N, E, h, w], whatever layout the model uses."""
        if not isinstance(features, Tensor):
            raise self._no_final_map("its output is several tensors")
        if features.ndim == 3:  # tokens [N, prefix + h*w, E]: class and register tokens come first
            rows, columns = last_stage.shape[-2:]
            prefix = features.shape[1] - rows * columns
            if prefix < 0:
                raise self._no_final_map("its output has fewer tokens than its grid has positions")
            return features[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features

    def _no_final_map(self, fault: str) -> ConfigError:
        return ConfigError(
            f"The backbone '{self.name}' has no final map: {fault}.",
            where="backbone.name",
            fix=_OTHERS,
        )

    def _refused(self, height: int, width: int, error: Exception) -> ConfigError:
        own = self.model.pretrained_cfg.get("input_size")
        made_for = f" ({own[1]}x{own[2]} pixels)" if own else ""
        return ConfigError(
            f"The backbone '{self.name}' does not accept images of {height}x{width} pixels: "
            f"{reason(error)}.",
            where="input.height, input.width",
            fix=f"Use multiples of {max(self.strides)}, or the size that the model was made "
            f"for{made_for}; some models accept backbone.options.img_size = [{height}, {width}].",
        )


@final
class _Parameters(nn.Module):
    """A module whose parameters have only names, because timm groups them by name."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._named = [(name, nn.Parameter()) for name in names]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The names, each with an empty parameter."""
        return iter(self._named)


def count_stages(config: BackboneConfig) -> int:
    """The number of stages of a backbone after its stem; nothing is downloaded or computed.

    Raises:
        ConfigError: There is no such model, or timm does not know its stages.
    """
    bare = config.model_copy(update={"pretrained": False, "weights": None})
    with torch.device("meta"):
        return max(Backbone(bare).stages().values())


def require_stages(name: str, wanted: int, most: int) -> None:
    """Check that `wanted` stages can be frozen.

    Raises:
        ConfigError: The backbone `name` has only `most` stages.
    """
    if wanted > most:
        raise ConfigError(
            f"The backbone '{name}' has {most} stages after its stem, not {wanted}.",
            where="steps.freeze_stages",
            fix=f"Give 0 (only the stem) to {most}, or freeze = ['backbone'] for the whole "
            "backbone.",
        )


def pretrained_input(name: str, weights: object = None) -> dict[str, Any]:
    """The mean, std and interpolation with which timm's weights of `name` were trained.

    Args:
        name: A model of timm.
        weights: The value of `backbone.weights`. If it names a package, the result also has the
            height and width that its weights were trained with.
    """
    _require_model(name)
    settings = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if settings is None:
        return {}
    resize = settings.interpolation if settings.interpolation == "bicubic" else "bilinear"
    own = packaged(name) if isinstance(weights, str) and names_package(weights) else None
    size = {} if own is None else {"height": own.size, "width": own.size}
    return {**size, "mean": list(settings.mean), "std": list(settings.std), "resize": resize}


def _create(config: BackboneConfig) -> nn.Module:
    _require_model(config.name)
    options = config.options.arguments()

    def build(pretrained: bool) -> nn.Module:
        return timm.create_model(config.name, pretrained=pretrained, num_classes=0, **options)

    if not config.pretrained or config.weights is not None:
        return _built(config.name, options, build)
    with torch.device("meta"):  # what is wrong with the options is said before a download
        _built(config.name, options, build)
    return with_downloads(config.name, lambda: build(True))


def _built(name: str, options: object, build: Callable[[bool], nn.Module]) -> nn.Module:
    """The model without pre-trained weights."""
    try:
        model = build(False)
    except Exception as error:  # timm computes with options before it checks them, if it does
        if options or isinstance(error, TypeError | AssertionError | KeyError):
            raise _not_built(name, error) from None
        raise
    if not hasattr(model, "forward_intermediates"):
        raise ConfigError(
            f"The backbone '{name}' has no feature maps.",
            where="backbone.name",
            fix=_OTHERS,
        )
    return model


def _not_built(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"timm cannot build '{name}' with these options: {reason(error)}.",
        where="backbone.options",
        fix="Give only arguments that this model accepts.",
    )


def _mid_stage(strides: Sequence[int]) -> int:
    """The deepest stage with the largest stride up to `MID_STRIDE`, or else the smallest stride."""
    fine = [stride for stride in strides if stride <= MID_STRIDE]
    wanted = max(fine) if fine else min(strides)
    return max(stage for stage, stride in enumerate(strides) if stride == wanted)


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
    fix = f"Did you mean {' or '.join(close)}?" if close else "Give the name of a timm model."
    return ConfigError(f"timm has no model '{name}'.", where="backbone.name", fix=fix)
