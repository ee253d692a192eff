"""The heads by name. To add one: a file with its config and head, and a line in each place here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field

from manylabel.config import Config
from manylabel.models.backbones import MapShapes
from manylabel.models.heads.base import Head
from manylabel.models.heads.csra import CSRAConfig, CSRAHead
from manylabel.models.heads.linear import LinearConfig, LinearHead
from manylabel.models.heads.ml_decoder import MLDecoderConfig, MLDecoderHead
from manylabel.models.heads.ml_gcn import MLGCNConfig, MLGCNHead
from manylabel.models.heads.query2label import Query2LabelConfig, Query2LabelHead
from manylabel.models.heads.semantic import SemanticConfig, SemanticHead
from manylabel.models.heads.srn import SRNAttConfig, SRNAttHead, SRNConfig, SRNHead
from manylabel.models.heads.srn_modern import SRNModernConfig, SRNModernHead

HEADS: Final[dict[str, tuple[type[Config], Callable[[Any, MapShapes, int], Head]]]] = {
    "linear": (LinearConfig, LinearHead.build),
    "srn": (SRNConfig, SRNHead),
    "srn-att": (SRNAttConfig, SRNAttHead),
    "semantic": (SemanticConfig, SemanticHead),
    "srn-modern": (SRNModernConfig, SRNModernHead),
    "csra": (CSRAConfig, CSRAHead),
    "ml-decoder": (MLDecoderConfig, MLDecoderHead),
    "query2label": (Query2LabelConfig, Query2LabelHead),
    "ml-gcn": (MLGCNConfig, MLGCNHead),
}
"""Name to (config, builder); a head is built from (config, MapShapes, num_labels)."""

HeadConfig = Annotated[
    LinearConfig
    | SRNConfig
    | SRNAttConfig
    | SemanticConfig
    | SRNModernConfig
    | CSRAConfig
    | MLDecoderConfig
    | Query2LabelConfig
    | MLGCNConfig,
    Field(discriminator="name"),
]
"""The settings of any head, told apart by `name`."""

__all__ = [
    "HEADS",
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
]
