"""Which arguments reach timm, and that all of them are plain and bounded."""

from __future__ import annotations

import inspect
import math
import sys
import tomllib
from typing import Any

import pytest
import timm
import tomli_w
from cases import case
from torch import nn

from manylabel.config import override, parse, to_tables
from manylabel.errors import ConfigError
from manylabel.models.backbone_options import MAX_BLOCKS, MAX_CHANNELS, BackboneOptions
from manylabel.models.backbones import Backbone, BackboneConfig


def refused(options: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(BackboneConfig, {"options": options}, where="recipe.toml")
    return caught.value


# What timm's factory and builder take for themselves: files, addresses, downloads, classes, devices
# and what a backbone must be.
OUTSIDE = [
    *inspect.signature(timm.create_model).parameters,
    *inspect.signature(timm.models.build_model_with_cfg).parameters,
    *("cfg", "state_dict", "url", "file", "hf_hub_id", "custom_load", "device", "dtype"),
    *("num_classes", "in_chans", "features_only", "out_indices", "feature_cls", "pruned"),
    *("block", "block_fn", "block_args", "embed_layer", "attn_layer", "mlp_layer", "stem_backbone"),
    *("__class__", "self", "kwargs"),
]


def test_what_reaches_files_networks_or_code_is_not_an_option():
    for name in OUTSIDE:
        with case(name=name):
            error = refused({name: "x"})
            assert f"Unknown key 'options.{name}'" in error.what
            assert error.fix


def test_every_option_is_an_argument_of_a_model_of_timm():
    """No key is listed that no model takes, for instance by a mistake of spelling."""
    timm.list_models()
    known = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("timm.models."):
            kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
            for kind in kinds:
                if issubclass(kind, nn.Module):
                    known |= set(inspect.signature(kind.__init__).parameters)
    assert set(BackboneOptions.model_fields) <= known


NUMBERS = ["layers", "depths", "channels", "num_heads", "mlp_ratio", "img_size", "patch_size"]
HOSTILE = [
    *(0, -1, 10**9, 10**5000, 1e308, math.nan, math.inf, True, None, "3", "/dev/zero"),
    *([], [0], [True], [10**9], [[1]], [1] * 17, {"a": 1}, b"x"),
]


def test_numbers_are_bounded():
    for name in NUMBERS:
        for value in HOSTILE:
            with case(name=name, value=str(type(value))):
                assert f"options.{name}" in refused({name: value}).what


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", MAX_BLOCKS + 1),
        ("depths", [MAX_BLOCKS, 1]),
        ("embed_dim", MAX_CHANNELS + 1),
        ("drop_path_rate", 1.0),
        ("drop_rate", math.nan),
        ("init_values", math.inf),
        ("output_stride", 7),
        ("qkv_bias", 1),
        ("act_layer", "torch.nn.ReLU"),
        ("act_layer", "../x"),
        ("norm_layer", "a" * 33),
        ("global_pool", "nonsense"),
        ("reg_tokens", 10**6),
    ],
)
def test_values_that_do_not_fit(name, value):
    error = refused({name: value})
    assert f"'options.{name}' does not fit" in error.what
    assert error.where == "recipe.toml"


def test_an_unknown_option_gets_the_closest_one():
    assert refused({"chanels": [1]}).fix == "Did you mean 'options.channels'?"


def test_lists_become_tuples_and_unset_options_are_left_out():
    options = parse(BackboneOptions, {"channels": [1, 2], "depth": 3, "qkv_bias": None}, where="x")
    assert options.arguments() == {"channels": (1, 2), "depth": 3}


def test_options_survive_the_way_through_a_recipe():
    given = {"options": {"channels": [16, 24], "drop_path_rate": 0.1, "act_layer": "gelu"}}
    config = parse(BackboneConfig, given, where="recipe.toml")
    assert config.model_dump(mode="json")["options"] == given["options"]
    again = tomllib.loads(tomli_w.dumps(to_tables(config)))
    assert again["options"] == given["options"]
    assert parse(BackboneConfig, again, where="recipe.toml") == config
    assert to_tables(BackboneConfig())["options"] == {}


def test_an_option_is_set_on_the_command_line():
    tables = override({"options": {}}, ["options.depths=[1, 1, 1, 1]"])
    assert parse(BackboneConfig, tables, where="--set").options.arguments() == {
        "depths": (1, 1, 1, 1)
    }


def test_faults_of_arithmetic_in_timm_are_errors_about_the_options():
    """timm divides by what it is given, and indexes lists of stages."""
    for name, options in [
        ("vit_tiny_patch16_224", {"embed_dim": 7}),
        ("vit_tiny_patch16_224", {"patch_size": 64, "img_size": 16}),
        ("convnext_atto", {"dims": [8]}),
        ("densenet121", {"block_config": 4}),
    ]:
        with case(name=name, options=options), pytest.raises(ConfigError) as caught:
            Backbone(BackboneConfig(name=name, pretrained=False, options=options), (64, 64))
        assert caught.value.where in ("backbone.options", "input.height, input.width")
