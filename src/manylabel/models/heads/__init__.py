"""The heads by name. To add one: a file with its config and head, and a line in each place here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field

from manylabel.config import Config
from manylabel.models.backbones import MapShapes
from manylabel.models.heads.base import Head
from manylabel.models.heads.linear import LinearConfig, LinearHead
from manylabel.models.heads.srn import SRNConfig, SRNHead

HEADS: Final[dict[str, tuple[type[Config], Callable[[Any, MapShapes, int], Head]]]] = {
    "linear": (LinearConfig, LinearHead.build),
    "srn": (SRNConfig, SRNHead),
}
"""Name to (config, builder); a head is built from (config, MapShapes, num_labels)."""

HeadConfig = Annotated[LinearConfig | SRNConfig, Field(discriminator="name")]
"""The settings of any head, told apart by `name`."""

__all__ = ["HEADS", "Head", "HeadConfig", "LinearConfig", "LinearHead", "SRNConfig", "SRNHead"]
