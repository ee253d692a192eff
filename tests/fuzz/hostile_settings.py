"""Settings of hostile bundles: keys of bundle.json, and hostile values for each.

A key has dots between the keys of inner tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

FILE: Final = "/etc/passwd"
URL: Final = "http://127.0.0.1:9/x"
BIG: Final = 10**9
BACKBONE: Final = "model.backbone"
OPTIONS: Final = f"{BACKBONE}.options"

REACHING: Final[Mapping[str, Sequence[Any]]] = {
    f"{BACKBONE}.pretrained": [True, 1, "yes"],
    f"{BACKBONE}.weights": [FILE, "/dev/zero", URL, ".", "package", 3],
    f"{BACKBONE}.name": [
        *("hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18", "HF-HUB:timm/resnet18"),
        *("local-dir:/etc", "../../etc/passwd", FILE, "resnet18.hf-hub:evil/x", URL),
        *("test_resnet\0", "test_resnet\n", "", " ", "resnet" * 200_000, "resnet18." + "a" * 10**6),
    ],
    f"{OPTIONS}.checkpoint_path": [FILE, "/", URL],
    f"{OPTIONS}.pretrained_cfg": [{"file": FILE}, {"url": URL}, {"hf_hub_id": "evil/model"}],
    f"{OPTIONS}.pretrained_cfg_overlay": [{"file": FILE}, {"url": URL}],
    f"{OPTIONS}.cache_dir": ["/tmp/hostile", "."],
    f"{OPTIONS}.act_layer": ["__import__('os').system('id')", FILE, "os.system"],
    f"{OPTIONS}.block": ["os.system"],
    f"{OPTIONS}.feature_cls": ["fx"],
    f"{OPTIONS}.features_only": [True],
    f"{OPTIONS}.scriptable": [True],
    f"{OPTIONS}.exportable": [True],
    f"{OPTIONS}.device": ["cuda"],
    f"{OPTIONS}.dtype": ["float16"],
    f"{OPTIONS}.in_chans": [4, BIG],
    f"{OPTIONS}.num_classes": [5, BIG],
}

REACHING_TOGETHER: Final[Sequence[Mapping[str, Any]]] = [
    {f"{BACKBONE}.pretrained": True, **more}
    for more in (
        {f"{BACKBONE}.weights": FILE},
        {f"{BACKBONE}.name": "resnet18.a1_in1k"},
        {f"{OPTIONS}.cache_dir": "/tmp/hostile"},
        {f"{OPTIONS}.pretrained_cfg": {"file": FILE}},
        {f"{OPTIONS}.pretrained_cfg": {"file": FILE, "custom_load": True}},
        {f"{OPTIONS}.pretrained_cfg": {"source": "local-dir", "file": "/etc"}},
        {f"{OPTIONS}.pretrained_cfg": {"url": URL, "hf_hub_id": ""}},
        {f"{OPTIONS}.pretrained_cfg": {"hf_hub_id": "evil/model"}},
        {f"{OPTIONS}.pretrained_cfg_overlay": {"file": FILE}},
    )
] + [{"model.head": {"name": "ml-gcn", "vector_file": file}} for file in (FILE, "/dev/zero")]

OPTION_SIZES: Final[Mapping[str, Mapping[str, Sequence[Any]]]] = {
    "test_resnet": {
        "channels": [[BIG] * 4, [16_384] * 4],
        "layers": [
            *([10**6] * 4, [2_000] * 4, [128, 1, 1, 1], [-1] * 4, [1.5] * 4, [[1]] * 4),
            *([], True, "1111", {"a": 1}),
        ],
        "stem_width": [BIG, 0, -1],
        "drop_path_rate": ["nan", -1, 1e308],
        "output_stride": [0, -8, BIG],
        "x" * 10**6: [1],
    },
    "test_vit": {
        "depth": [10**6, 3_000, 128],
        "embed_dim": [BIG, 16_384],
        "num_heads": [BIG, 0],
        "mlp_ratio": [1e12, -1],
        "img_size": [10**6, [10**6, 10**6], [4_096, 4_096], 0],
        "patch_size": [0, 1],
        "reg_tokens": [BIG, 64],
        "embed_layer": ["x"],
    },
    "swin_tiny_patch4_window7_224": {"window_size": [10**4, 64], "img_size": [4_096, 10**6]},
    "convnext_atto": {"kernel_sizes": [64], "dims": [[16_384] * 4]},
    "densenet121": {"growth_rate": [BIG], "num_init_features": [16_384]},
    "resnet50": {"cardinality": [16_384], "base_width": [BIG]},
}

GIANTS: Final = (
    *("eva02_enormous_patch14_clip_224", "vit_7b_patch16_dinov3", "vit_giant_patch14_224"),
    *("swin_large_patch4_window12_384", "resnet200d"),
)

HEAD_SIZES: Final[Mapping[str, Mapping[str, Sequence[Any]]]] = {
    "srn": {
        "attention_channels": [BIG, 10**18, 0, "nan"],
        "relation_channels": [BIG, -1],
        "units_per_channel": [BIG, 16_384],
        "grid": [[10**6, 10**6], [0, 0], [-1, 4], [4]],
        "extra_blocks": [10**6, 64],
    },
    "srn-modern": {"channels": [BIG]},
    "ml-decoder": {
        "num_groups": [BIG],
        "channels": [8 * 10**8],
        "feedforward_channels": [BIG],
        "attention_heads": [BIG],
    },
    "query2label": {"encoder_layers": [10**6], "decoder_layers": [10**6], "channels": [16_384]},
    "ml-gcn": {"vector_size": [BIG], "hidden_channels": [BIG]},
    "csra": {"temperatures": [[0.001] * 10**5], "attention_weight": [1e308, "inf"]},
    "semantic": {"relation_channels": [BIG]},
    "linear": {"pool": ["x" * 10**6, {"a": []}]},
    "x" * 10**6: {"channels": [1]},
}

LABELS: Final[Sequence[Any]] = [
    *(["cat", name, "owl"] for name in ("", " \t", "cat", "d" * 1_001, "d" * 10**7, "\ud800")),
    *(["cat", name, "owl"] for name in (1, None, ["dog"])),
    *(["caf\u00e9", "cafe\u0301", "owl"], ["\uac00", "\u1100\u1161", "owl"], [], "cat", {"cat": 1}),
]

PLATT: Final = {"kind": "platt", "rise": [1.0] * 3, "fall": [1.0] * 3, "offset": [0.0] * 3}
VALUES: Final[Mapping[str, Sequence[Any]]] = {
    "labels": LABELS,
    "thresholds": [
        *([0.5, other, 0.5] for other in (2, -0.1, "nan", "x", None, [0.5], 10**17)),
        *([0.5], [], "0.5", None),
    ],
    "at_least": [-1, 10**17, 1.5, "x", None, [1]],
    "at_most": [0, -1, 10**17, 1.5, "x", [1]],
    "format_version": [0, -1, 99, 10**17, True, 1.0, "1", None, [1], {}],
    "manylabel_version": [1, None, ["9"], "9" * 10**6],
    "scores_from": [1, None, "x" * 10**6],
    "calibration": [
        *({}, [], "platt", {"kind": "magic"}, {**PLATT, "pooled": [True]}),
        *({**PLATT, "pooled": [True] * 3, "rise": [other] * 3} for other in ("inf", "nan", None)),
        {"kind": "isotonic", "at": [["nan"] * 2] * 3, "value": [[0.1, 0.2]] * 3},
        {"kind": "isotonic", "at": [[]] * 3, "value": [[]] * 3, "pooled": [True] * 3},
    ],
    "provenance": [[], "x", None],
    "tuned": [[], 1],
    "model": [None, [], {}, "x", {"backbone": {}}, {"head": {}}],
    "model.head": [None, [1], "linear", {"name": "nope"}],
    "input": [None, [], "x", {"height": {}}],
    "input.height": [10**6, 10**18, 0, -1, 4_097, True, "x", 64.5],
    "input.std": [[0, 1, 1], ["inf", 1, 1]],
    "input.value_scale": ["inf", 0],
    "weights_sha256": ["0" * 64, None, [], "x" * 10**6],
    "colour": ["red"],
    "": [1],
}

SEED, LEAST, FIRST = '"seed": 0', '"at_least": 1', '"thresholds": [0.5'
REPLACED: Final[Sequence[tuple[str, str]]] = [
    *((FIRST, f'"thresholds": [{number}') for number in ("NaN", "Infinity", "1e999", "-1e999")),
    *((LEAST, f'"at_least": {"1" * digits}') for digits in (21, 4_000, 5_000)),
    *((SEED, f'"seed": {value}') for value in ("1" * 5_000, "NaN", "1e999", '"\\ud800"', "")),
    *((SEED, f'"seed": {"[" * depth}{"]" * depth}') for depth in (40, 900, 10**5)),
    *((SEED, '"seed": ' + '{"a":' * depth + "1" + "}" * depth) for depth in (40, 10**5)),
    *((SEED, f"{SEED}, {key}: 4") for key in ('"seed"', '"\\u0073eed"', "seed", "'seed'")),
    ('"labels":', '"labels": ["x", "y", "z"], "labels":'),
    ('"model":', '"model": {}, "model":'),
    ('"format_version":', '"format_version": 99, "format_version":'),
]
"""Parts of the text of bundle.json, and what replaces them."""
