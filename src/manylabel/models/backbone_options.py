"""The arguments of timm's models that a recipe or a bundle may give.

timm passes on whatever it is given. Some arguments name files, addresses, classes or devices
(`checkpoint_path`, `pretrained_cfg`, `cache_dir`, `block_fn`), and others change what a backbone
must be (`num_classes`, `in_chans`, `features_only`). So only the arguments that are listed here are
passed on. Their values are plain and bounded, and none of them makes timm read a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, final

from pydantic import Field, PlainValidator, StrictBool, model_serializer

from manylabel.config import Config
from manylabel.preprocess import MAX_SIDE

MAX_BLOCKS: Final = 128
"""The largest number of blocks, over all stages. timm's deepest models have about 100."""
MAX_CHANNELS: Final = 16_384
"""The largest number of channels of a layer. timm's widest models have about 11,000."""

_MAX_LISTED: Final = 16
"""The largest length of a list of numbers: one for each stage."""


@final
@dataclass(frozen=True)
class _Numbers:
    """Checks a number, or a list of numbers, between two bounds.

    Args:
        least: The smallest number.
        most: The largest number.
        whole: Whether the numbers are whole.
        total: The largest sum of a list; None: any.
    """

    least: float
    most: float
    whole: bool = True
    total: float | None = None

    def __call__(self, value: Any) -> Any:
        """The value; a list becomes a tuple, which timm expects.

        Raises:
            ValueError: It is something else, or is out of the bounds.
        """
        listed = isinstance(value, list | tuple)
        items = tuple(value) if listed else (value,)
        if not 1 <= len(items) <= _MAX_LISTED or not all(self._fits(item) for item in items):
            kind = "whole number" if self.whole else "number"
            bounds = f"from {self.least:,} to {self.most:,}"
            raise ValueError(f"it must be a {kind} {bounds}, or a list of up to {_MAX_LISTED}")
        if self.total is not None and sum(items) > self.total:
            raise ValueError(f"the numbers add up to more than {self.total:,}")
        return items if listed else value

    def _fits(self, item: Any) -> bool:
        if isinstance(item, bool) or not isinstance(item, int if self.whole else int | float):
            return False
        return self.least <= item <= self.most and math.isfinite(item)


_Whole = int | tuple[int, ...] | None
_Real = float | tuple[float, ...] | None
Blocks = Annotated[_Whole, PlainValidator(_Numbers(1, MAX_BLOCKS, total=MAX_BLOCKS))]
Channels = Annotated[_Whole, PlainValidator(_Numbers(1, MAX_CHANNELS))]
Heads = Annotated[_Whole, PlainValidator(_Numbers(1, 256))]
Side = Annotated[_Whole, PlainValidator(_Numbers(1, MAX_SIDE))]
Small = Annotated[_Whole, PlainValidator(_Numbers(1, 64))]
Ratio = Annotated[_Real, PlainValidator(_Numbers(0.01, 64, whole=False))]
Rate = Annotated[float, Field(ge=0, lt=1)] | None
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")] | None


class BackboneOptions(Config):
    """Further arguments of the timm model. Each model takes only some of them."""

    layers: Blocks = None
    """Blocks of each stage (ResNet, RegNet, TResNet)."""
    depth: Blocks = None
    """Blocks of a plain transformer."""
    depths: Blocks = None
    """Blocks of each stage (Swin, ConvNeXt, MaxViT)."""
    block_config: Blocks = None
    """Blocks of each stage (DenseNet)."""
    channels: Channels = None
    """Channels of each stage (ResNet, ResNetV2)."""
    dims: Channels = None
    """Channels of each stage (ConvNeXt)."""
    embed_dim: Channels = None
    """Channels of the tokens (ViT), or of the first stage (Swin)."""
    embed_dims: Channels = None
    """Channels of each stage (Twins, PVT)."""
    num_features: Channels = None
    """Channels of the last map (EfficientNet, MobileNet)."""
    stem_width: Channels = None
    """Channels of the stem (ResNet)."""
    stem_size: Channels = None
    """Channels of the stem (EfficientNet, MobileNet)."""
    num_init_features: Channels = None
    """Channels of the stem (DenseNet)."""
    growth_rate: Channels = None
    """Channels that each layer adds (DenseNet)."""
    base_width: Channels = None
    """Channels of each group of a bottleneck (ResNeXt)."""
    cardinality: Channels = None
    """Groups of a bottleneck (ResNeXt)."""
    num_heads: Heads = None
    """Attention heads."""
    head_dim: Channels = None
    """Channels of each attention head."""
    mlp_ratio: Ratio = None
    """Hidden channels of the feed-forward networks, as a multiple of the tokens' channels."""
    mlp_ratios: Ratio = None
    """The same for each stage (Twins, PVT)."""
    img_size: Side = None
    """The size that the model is built for, in pixels: one number, or height and width."""
    patch_size: Small = None
    """Height and width of a patch in pixels."""
    window_size: Small = None
    """Height and width of an attention window in tokens (Swin)."""
    kernel_size: Small = None
    """Height and width of the kernels (MambaOut)."""
    kernel_sizes: Small = None
    """Height and width of the kernels of each stage (ConvNeXt)."""
    output_stride: Literal[8, 16, 32] | None = None
    """The stride of the last stage of a convolutional model."""
    reg_tokens: Annotated[int, Field(ge=0, le=64)] | None = None
    """Register tokens (ViT)."""
    class_token: StrictBool | None = None
    """Whether there is a class token (ViT)."""
    dynamic_img_size: StrictBool | None = None
    """Resample the position embeddings for each image (ViT)."""
    strict_img_size: StrictBool | None = None
    """Refuse images of another size than the model is built for."""
    qkv_bias: StrictBool | None = None
    """Whether queries, keys and values have a bias."""
    qk_norm: StrictBool | None = None
    """Whether queries and keys are normalised (ViT)."""
    pre_norm: StrictBool | None = None
    """Whether the tokens are normalised before the first block (ViT)."""
    avg_down: StrictBool | None = None
    """Average pooling in the shortcuts that reduce the size (ResNet)."""
    zero_init_last: StrictBool | None = None
    """Start the last normalisation of each block at zero (ResNet)."""
    conv_mlp: StrictBool | None = None
    """1x1 convolutions in place of linear layers (ConvNeXt)."""
    use_grn: StrictBool | None = None
    """Global response normalisation (ConvNeXt V2)."""
    init_values: Annotated[float, Field(ge=0, le=10)] | None = None
    """The first value of the layer scale (ViT)."""
    ls_init_value: Annotated[float, Field(ge=0, le=10)] | None = None
    """The first value of the layer scale (ConvNeXt)."""
    norm_eps: Annotated[float, Field(gt=0, le=1)] | None = None
    """The constant under the root of the normalisations."""
    drop_rate: Rate = None
    """Dropout."""
    drop_path_rate: Rate = None
    """Stochastic depth: the fraction of images that skip the last block; earlier blocks less."""
    proj_drop_rate: Rate = None
    """Dropout after projections (transformers)."""
    attn_drop_rate: Rate = None
    """Dropout of the attention (transformers)."""
    pos_drop_rate: Rate = None
    """Dropout of the position embeddings (ViT)."""
    act_layer: Name = None
    """timm's name of the activation, such as `relu`, `gelu` or `silu`."""
    norm_layer: Name = None
    """timm's name of the normalisation, such as `batchnorm2d` or `layernorm`."""
    stem_type: Name = None
    """timm's name of the stem, such as `deep` (ResNet)."""
    global_pool: Literal["", "avg", "avgmax", "max", "token"] | None = None
    """The pooling that the model is built for. It decides where some transformers normalise."""

    @property
    def num_blocks(self) -> int:
        """The number of blocks that the options ask for; 0 if they do not say."""
        asked = [self.layers, self.depth, self.depths, self.block_config]
        return max(sum(each) if isinstance(each, tuple) else each or 0 for each in asked)

    @model_serializer
    def arguments(self) -> dict[str, Any]:
        """The arguments that are given, by name."""
        return {key: value for key, value in self if value is not None}
