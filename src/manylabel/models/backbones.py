"""Backbones: any timm model, read as two feature maps.

SRN looks at the map at stride 16 (ResNet's conv4_x); the main net's classifier at the final one.
Models that compute tokens (transformers) are put back on the grid here, so that every head sees
[N, D, H, W].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NamedTuple, final

import timm
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.errors import ConfigError

MID_STRIDE: Final = 16
"""The stride of SRN's map: 14x14 positions at 224x224."""


class FeatureMaps(NamedTuple):
    """What a backbone yields for N images, and all that a head sees.

    `mid` is [N, D, H, W] at stride 16, `final` is [N, E, h, w], the last map before pooling.
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

    Raises:
        ConfigError: No such model or option, no map at stride 16, or weights that cannot be had.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.name = config.name
        self.model: Any = _create(config)
        reductions = [stage["reduction"] for stage in self.model.feature_info]
        shallow = [i for i, reduction in enumerate(reductions) if reduction <= MID_STRIDE]
        if not shallow or not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(
                f"The backbone '{config.name}' yields no map at stride {MID_STRIDE}.",
                where="backbone.name",
                fix="Take a ResNet, ResNetV2, DenseNet, ConvNeXt, MobileNet, EfficientNet or ViT.",
            )
        self._mid_index = shallow[-1]
        self._mid_channels = int(self.model.feature_info[self._mid_index]["num_chs"])
        self._final_channels = int(self.model.num_features)

    def forward(self, images: Tensor) -> FeatureMaps:
        """Maps of normalised images [N, 3, height, width]."""
        last, (mid,) = self.model.forward_intermediates(
            images, indices=[self._mid_index], output_fmt="NCHW"
        )
        return FeatureMaps(mid, self._on_grid(last, mid))

    def shapes(self, height: int, width: int) -> MapShapes:
        """The shapes of the maps for images of height x width pixels.

        Raises:
            ConfigError: The model does not take images of that size; many transformers take one
                size only.
        """
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, 3, height, width, device=self._device()))
        except (AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"The backbone '{self.name}' does not take images of {height}x{width} pixels: "
                f"{_reason(error)}.",
                where="input.height, input.width",
                fix="Take the size that the model was made for, or tell it yours: most "
                f"transformers take backbone.options.img_size = [{height}, {width}].",
            ) from None
        self.train(training)
        rows, columns = maps.mid.shape[-2:]
        assert maps.mid.shape[1] == self._mid_channels, maps.mid.shape
        assert maps.final.shape[1] == self._final_channels, maps.final.shape
        return MapShapes(self._mid_channels, self._final_channels, (rows, columns))

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _on_grid(self, features: Tensor, mid: Tensor) -> Tensor:
        """The final features as [N, E, h, w], however the model lays them out."""
        if features.ndim == 3:  # tokens [N, prefix + h*w, E]
            tokens = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            return tokens.transpose(1, 2).unflatten(2, mid.shape[-2:])
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features


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
            f"timm cannot build '{config.name}' with these options: {_reason(error)}.",
            where="backbone.options",
            fix="Give only arguments that this model takes.",
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        if not download:
            raise
        raise ConfigError(
            f"The pre-trained weights of '{config.name}' cannot be had: {_reason(error)}.",
            where="backbone.pretrained",
            fix="Give a local file with --backbone-weights FILE, or start from scratch with "
            "--set backbone.pretrained=false.",
        ) from None
    if config.weights is not None:
        _load_weights(model, config.weights)
    return model


def _tuples(value: Any) -> Any:
    """Lists of a recipe as the tuples that timm's builders expect."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _reason(error: Exception) -> str:
    """The first line of what an error says, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].removesuffix(".") if lines else type(error).__name__


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


def _load_weights(model: nn.Module, path: Path) -> None:
    state = _read_state(path)
    known = model.state_dict()
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    trunk = {key: value for key, value in state.items() if not _is_part(key, names)}
    counters = {key: value for key, value in known.items() if key.endswith("num_batches_tracked")}
    if (fault := misfit(known, {**counters, **trunk})) is not None:
        raise ConfigError(
            f"The weights do not fit the backbone: they {fault}.",
            where=str(path),
            fix="Give weights of this very timm model, or set backbone.options to match.",
        )
    model.load_state_dict(trunk, strict=False)


def misfit(known: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """Why tensors do not fill a module, as what follows "they"; None if they do.

    Args:
        known: The module's own, by name.
        given: Those to fill it with.
    """
    lacking = [key for key in known if key not in given]
    foreign = [key for key in given if key not in known]
    misshapen = [key for key in known if key in given and given[key].shape != known[key].shape]
    for fault, keys in (
        ("lack", lacking),
        ("have unknown", foreign),
        ("have misshapen", misshapen),
    ):
        if keys:
            return f"{fault} {len(keys)} of {len(known)} tensors ({', '.join(keys[:3])})"
    return None


def _is_part(key: str, modules: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(
            "The backbone's weights do not exist.", where=str(path), fix="Check the path."
        ) from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from None
    except UnpicklingError:  # its own words advise to switch safety off
        raise _unreadable(path, "it holds more than tensors") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise _unreadable(path, "it is no mapping from names to tensors")
    return state


def _unreadable(path: Path, reason: str) -> ConfigError:
    first = reason.splitlines()[0] if reason else "damaged"
    return ConfigError(
        f"The backbone's weights cannot be read: {first}.",
        where=str(path),
        fix="Give a safetensors file or a PyTorch file that holds a state dict only.",
    )
