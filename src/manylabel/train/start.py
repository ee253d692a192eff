"""What a run starts from."""

from __future__ import annotations

from manylabel.models.backbones import Backbone
from manylabel.train.config import RunConfig


def require_weights(config: RunConfig) -> None:
    """Check that the backbone's weights are there and fit, before any image is opened.

    A download takes place here.

    Raises:
        ConfigError: They are missing, cannot be read or loaded, or do not fit the backbone; or the
            backbone does not accept the size of the images.
        MissingExtraError: They are in a package that is not installed.
    """
    size = (config.input.height, config.input.width)
    Backbone(config.backbone, size).shapes(*size)
