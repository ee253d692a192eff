"""Multi-label image classification around the Spatial Regularization Network (SRN).

The public names are in `__all__`. Each of them is loaded when it is first used, so importing
manylabel is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from manylabel.version import __version__ as __version__

if TYPE_CHECKING:
    from manylabel.bundle.classifier import Bundle, load_bundle, save_bundle
    from manylabel.data.read import DataSource, read
    from manylabel.data.records import Records
    from manylabel.errors import ManylabelError
    from manylabel.labels import LabelSpace
    from manylabel.metrics.profiles import measure
    from manylabel.models.classifier import ModelConfig, build_classifier
    from manylabel.predict import Prediction, Predictor
    from manylabel.preprocess import InputSpec

__all__ = [
    "Bundle",
    "DataSource",
    "InputSpec",
    "LabelSpace",
    "ManylabelError",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "Records",
    "build_classifier",
    "load_bundle",
    "measure",
    "read",
    "save_bundle",
]

_HOMES: Final = {
    "Bundle": "manylabel.bundle.classifier",
    "DataSource": "manylabel.data.read",
    "InputSpec": "manylabel.preprocess",
    "LabelSpace": "manylabel.labels",
    "ManylabelError": "manylabel.errors",
    "ModelConfig": "manylabel.models.classifier",
    "Prediction": "manylabel.predict",
    "Predictor": "manylabel.predict",
    "Records": "manylabel.data.records",
    "build_classifier": "manylabel.models.classifier",
    "load_bundle": "manylabel.bundle.classifier",
    "measure": "manylabel.metrics.profiles",
    "read": "manylabel.data.read",
    "save_bundle": "manylabel.bundle.classifier",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'manylabel' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
