"""All heads, by name.

To add a head, write one file with its settings and its class, and add a line to `HEADS`.
"""

from __future__ import annotations

from typing import Annotated, Final

from manylabel.config import OneOf
from manylabel.models.heads.base import Head, HeadConfig
from manylabel.models.heads.csra import CSRAConfig, CSRAHead
from manylabel.models.heads.linear import LinearConfig, LinearHead
from manylabel.models.heads.ml_decoder import MLDecoderConfig, MLDecoderHead
from manylabel.models.heads.ml_gcn import MLGCNConfig, MLGCNHead
from manylabel.models.heads.query2label import Query2LabelConfig, Query2LabelHead
from manylabel.models.heads.semantic import SemanticConfig, SemanticHead
from manylabel.models.heads.srn import SRNAttConfig, SRNAttHead, SRNConfig, SRNHead
from manylabel.models.heads.srn_modern import SRNModernConfig, SRNModernHead

HEADS: Final[dict[str, type[Head]]] = {
    "linear": LinearHead,
    "srn": SRNHead,
    "srn-att": SRNAttHead,
    "semantic": SemanticHead,
    "srn-modern": SRNModernHead,
    "csra": CSRAHead,
    "ml-decoder": MLDecoderHead,
    "query2label": Query2LabelHead,
    "ml-gcn": MLGCNHead,
}
"""The class of each head by the head's name, which is `name` in its settings."""


def head_configs() -> tuple[type[HeadConfig], ...]:
    """The class of the settings of each head, in the order of `HEADS`."""
    return tuple(head.Config for head in HEADS.values())


AnyHeadConfig = Annotated[HeadConfig, OneOf(head_configs)]
"""The settings of any head of `HEADS`; `name` says which head they are for."""

__all__ = [
    "HEADS",
    "AnyHeadConfig",
    "CSRAConfig",
    "CSRAHead",
    "Head",
    "HeadConfig",
    "LinearConfig",
    "LinearHead",
    "MLDecoderConfig",
    "MLDecoderHead",
    "MLGCNConfig",
    "MLGCNHead",
    "Query2LabelConfig",
    "Query2LabelHead",
    "SRNAttConfig",
    "SRNAttHead",
    "SRNConfig",
    "SRNHead",
    "SRNModernConfig",
    "SRNModernHead",
    "SemanticConfig",
    "SemanticHead",
    "head_configs",
]
