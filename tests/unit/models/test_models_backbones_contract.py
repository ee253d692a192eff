"""The contract of all backbones, over small models of each family, and how sizes are changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from manylabel.errors import ConfigError
from manylabel.models.backbones import Backbone, BackboneConfig
from manylabel.models.weights import describe_misfit


def build(name: str, size: tuple[int, int] | None = None, **settings: Any) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BackboneConfig.model_validate({"name": name, "pretrained": False, **settings})
        return Backbone(config, size).eval()


def images(height: int, width: int, number: int = 2) -> Tensor:
    return torch.randn(number, 3, height, width, generator=torch.Generator().manual_seed(1))


class Case(NamedTuple):
    """A model, made small by options, and the strides of its maps."""

    name: str
    mid: int
    final: int
    options: dict[str, Any] = {}

    def build(self, size: tuple[int, int] | None = None) -> Backbone:
        return build(self.name, size, options=self.options)


SHALLOW = {"depth": 2, "embed_dim": 48, "num_heads": 3}
THIN = {"depths": [1, 1, 1, 1], "embed_dim": 24}

CASES = [
    Case("test_resnet", 16, 32),
    Case("resnetv2_18", 16, 32, {"layers": [1, 1, 1, 1]}),
    Case("test_convnext", 16, 32),
    Case("test_efficientnet", 16, 32),
    Case("mobilenetv3_small_050", 16, 32),
    Case("regnetx_002", 16, 32),
    Case("densenet121", 16, 32, {"growth_rate": 8, "block_config": [2, 2, 2, 2]}),
    Case("tresnet_m", 16, 32, {"layers": [1, 1, 1, 1]}),
    Case("mobilevit_xxs", 16, 32),
    Case("test_mambaout", 16, 32),
    Case("test_vit", 16, 16),
    Case("test_vit2", 16, 16),
    Case("test_vit4", 16, 16),
    Case("vit_small_patch32_224", 32, 32, SHALLOW),
    Case("vit_small_patch8_224", 8, 8, SHALLOW),
    Case("vit_small_patch14_dinov2", 14, 14, SHALLOW),
    Case("vit_small_patch14_reg4_dinov2", 14, 14, SHALLOW),
    Case("vit_small_patch16_dinov3", 16, 16, SHALLOW),
    Case("eva02_tiny_patch14_224", 14, 14, SHALLOW),
    Case("swin_tiny_patch4_window7_224", 16, 32, THIN),
    Case("swinv2_tiny_window8_256", 16, 32, THIN),
    Case("swinv2_cr_tiny_224", 16, 32, THIN),
    Case("test_maxvit", 16, 32),
    Case("twins_svt_small", 16, 32, {"depths": [1, 1, 1, 1]}),
]

over_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@over_cases
@pytest.mark.parametrize("size", [(224, 224), (160, 224)], ids=str)
def test_maps_lie_on_the_grid(case, size):
    """[N, D, H, W] at the strides given, whatever size the model was made for."""
    backbone = case.build(size)
    assert backbone.strides == (case.mid, case.final)
    shapes = backbone.shapes(*size)
    with torch.no_grad():
        maps = backbone(images(*size))
    rows, columns = (side // case.mid for side in size)  # 160 pixels are 11 patches of 14
    assert shapes.grid == (rows, columns)
    assert maps.mid.shape == (2, shapes.mid_channels, rows, columns)
    last = tuple(side // case.final for side in size)
    assert maps.final.shape == (2, shapes.final_channels, *last)


@over_cases
def test_the_final_map_is_what_the_model_makes_of_the_images(case):
    """Against timm's own features: class and register tokens come before those of the grid."""
    backbone = case.build((64, 96))
    with torch.no_grad():
        final = backbone(images(64, 96)).final
        features = backbone.model.forward_features(images(64, 96))
    rows, columns = final.shape[2:]
    if features.ndim == 3:
        features = features[:, features.shape[1] - rows * columns :]
        features = features.reshape(2, rows, columns, -1)
    if features.shape[1:3] == (rows, columns):
        features = torch.stack([features[..., i] for i in range(features.shape[3])], 1)
    torch.testing.assert_close(final, features)


@over_cases
def test_a_gradient_comes_back_from_both_maps(case):
    backbone = case.build((64, 96)).train()
    for choice in (0, 1):
        pixels = images(64, 96).requires_grad_()
        backbone(pixels)[choice].square().mean().backward()
        assert pixels.grad is not None
        assert torch.isfinite(pixels.grad).all()
        assert pixels.grad.abs().sum() > 0


@over_cases
def test_evaluation_is_deterministic_and_survives_a_state_dict(case):
    backbone, other = case.build((64, 96)), case.build((64, 96))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        other.load_state_dict(backbone.state_dict())
        first, again = backbone(images(64, 96)), backbone(images(64, 96))
        loaded = other(images(64, 96))
    for maps in (again, loaded):
        assert torch.equal(first.mid, maps.mid)
        assert torch.equal(first.final, maps.final)


@over_cases
def test_each_image_has_its_own_maps(case):
    backbone = case.build((64, 96))
    with torch.no_grad():
        both, second = backbone(images(64, 96)), backbone(images(64, 96)[1:])
    torch.testing.assert_close(both.mid[1:], second.mid, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(both.final[1:], second.final, rtol=1e-3, atol=1e-4)


@over_cases
def test_layers_and_stages_begin_at_the_stem_and_leave_nothing_out(case):
    backbone = case.build()
    for numbers in (backbone.layers(), backbone.stages()):
        assert list(numbers) == [name for name, _ in backbone.named_parameters()]
        assert set(numbers.values()) == set(range(max(numbers.values()) + 1))
    assert max(backbone.layers().values()) >= max(backbone.stages().values()) >= 2


@pytest.mark.parametrize("name", ["coat_tiny", "pit_ti_224"])
def test_a_model_without_a_final_map_is_refused(name):
    with pytest.raises(ConfigError, match=f"'{name}' has no final map: its output") as caught:
        build(name).shapes(224, 224)
    assert caught.value.where == "backbone.name"


def test_one_map_where_no_stage_follows():
    """A plain transformer's middle map is its last, normalised one."""
    with torch.no_grad():
        maps = build("test_vit")(images(160, 160))
    assert maps.mid is maps.final
    torch.testing.assert_close(maps.final.mean(1), torch.zeros(2, 10, 10), rtol=0, atol=1e-5)


# ---- sizes ------------------------------------------------------------------------------------


def resampled(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positions [1, prefix + old, E] with those of the grid interpolated, by torch itself."""
    prefix = positions.shape[1] - math.prod(old)
    grid = positions[:, prefix:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, new, mode="bicubic", antialias=True)
    return torch.cat([positions[:, :prefix], grid.flatten(2).transpose(1, 2)], 1)


def at_random(backbone: Backbone) -> dict[str, Tensor]:
    """A state dict of the model with positions that a resampling changes."""
    state = dict(backbone.model.state_dict())
    generator = torch.Generator().manual_seed(2)
    state["pos_embed"] = torch.randn(state["pos_embed"].shape, generator=generator)
    return state


def saved(folder: Path, state: dict[str, Tensor]) -> Path:
    path = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize("made", [160, 96], ids=["as the model's own", "another"])
@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
def test_weights_of_one_size_at_another(tmp_path, name, made):
    """Position embeddings of the file are resampled, but once; all else is as it was."""
    state = at_random(build(name, (made, made)))
    path = saved(tmp_path, state)
    loaded = build(name, (64, 128), weights=path).model.state_dict()
    side = made // 16
    expected = resampled(state["pos_embed"], (side, side), (4, 8))
    torch.testing.assert_close(loaded["pos_embed"], expected)
    assert all(torch.equal(loaded[key], state[key]) for key in state if key != "pos_embed")


def test_weights_of_the_size_that_is_wanted(tmp_path):
    state = at_random(build("test_vit", (64, 128)))
    loaded = build("test_vit", (64, 128), weights=saved(tmp_path, state)).model.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_windows_of_weights_of_one_size_at_another(tmp_path):
    """Swin's windows scale with the image, and its tables of relative positions with them."""
    name = "swin_tiny_patch4_window7_224"
    state = dict(build(name, options=THIN).model.state_dict())
    ramp = torch.arange(13.0)[:, None, None].expand(13, 13, 1)  # the bias grows with the row
    for key in [key for key in state if key.endswith("relative_position_bias_table")]:
        state[key] = ramp.expand(-1, -1, state[key].shape[1]).reshape(169, -1)
    path = saved(tmp_path, state)
    backbone = build(name, (448, 448), weights=path, options=THIN)
    attention = backbone.model.layers[0].blocks[0].attn
    assert attention.window_size == (14, 14)
    table = attention.relative_position_bias_table.reshape(27, 27, -1)
    for head in range(table.shape[2]):  # the same window, seen at twice the resolution
        assert torch.all(table[:, 13, head].diff() > 0)
        torch.testing.assert_close(table[13, 13, head], torch.tensor(6.0))
        torch.testing.assert_close(table[13], table[13, :1].expand(27, -1))


def test_resize_is_what_building_for_a_size_does():
    backbone = build("test_vit")
    backbone.resize(64, 128)
    built = build("test_vit", (64, 128)).model.state_dict()
    assert describe_misfit(backbone.model.state_dict(), built) is None
    assert all(torch.equal(v, built[key]) for key, v in backbone.model.state_dict().items())


def test_names_that_the_authors_gave(tmp_path):
    """DINOv2's own files call registers otherwise and hold a token for masks."""
    name, options = "vit_small_patch14_reg4_dinov2", {"depth": 1, "img_size": 28}
    state = build(name, options=options).model.state_dict()
    theirs = {**state, "mask_token": torch.zeros(1, 384)}
    theirs["register_tokens"] = theirs.pop("reg_token")
    # The class token has a position, too, which timm adds to it.
    theirs["pos_embed"] = torch.cat([torch.full((1, 1, 384), 0.5), theirs["pos_embed"]], 1)
    loaded = build(name, options=options, weights=saved(tmp_path, theirs)).model.state_dict()
    state["cls_token"] = state["cls_token"] + 0.5
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_patches_of_another_size_are_another_model(tmp_path):
    """timm would resample the patch embedding as well, without a word."""
    state = build("test_vit", options={"patch_size": 8, "img_size": 80}).model.state_dict()
    with pytest.raises(
        ConfigError, match=r"patch_embed\.proj\.weight is \[64, 3, 8, 8\] in the file"
    ):
        build("test_vit", weights=saved(tmp_path, state))


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_vit", (100, 75)), ("test_maxvit", (100, 75)), ("cait_xxs24_224", (64, 64))],
    ids=str,
)
def test_a_size_that_cannot_be(name, size):
    with pytest.raises(ConfigError, match=rf"does not accept images of {size[0]}x{size[1]}") as e:
        build(name, size).shapes(*size)
    assert e.value.where == "input.height, input.width"
    assert "the size that the model was made for (" in e.value.fix


# ---- compiling --------------------------------------------------------------------------------


def test_compiles_without_a_graph_break():
    backbone, pixels = build("test_resnet"), images(64, 64)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(pixels), backbone(pixels))
