"""Make the golden loss curve: the mean loss of each epoch of a small run of SRN's four steps.

    python tests/golden/make_loss_curve.py

writes `loss-curve.json` beside this file. Run it only when training is meant to change, and say in
the commit why the losses do.

The run begins with weights from `make.py`'s `draw`, so the initialisers of torch and timm have no
part in the curve.
"""

from __future__ import annotations

import io
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from make import draw
from rich.console import Console

from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.labels import LabelSpace
from manylabel.models.classifier import build_classifier
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records, run

FILE: Final = Path(__file__).parent / "loss-curve.json"
TOLERANCE: Final = 2e-3
"""Of each loss. Other processors and other versions of torch add up in another order, and the
difference grows from update to update."""
RECIPE: Final[dict[str, Any]] = {
    "seed": 0,
    "batch_size": 8,
    "workers": 0,
    "device": "cpu",
    "input": {"height": 48, "width": 48, "mean": [0.5] * 3, "std": [0.25] * 3},
    "augment": {"name": "flip"},
    "backbone": {"name": "test_resnet", "pretrained": False},
    "head": {"name": "srn", "attention_channels": 8, "relation_channels": 8},
    "optim": {"lr": 1e-3, "schedule": {"name": "plateau", "patience": 0}},
    "steps": [
        {"kind": kind, "epochs": 2} for kind in ("main", "attention", "regularisation", "joint")
    ],
}


def starting_weights(config: RunConfig, labels: LabelSpace) -> dict[str, torch.Tensor]:
    """The parameters of the run's classifier at its start, by name; statistics stay as built."""
    classifier = build_classifier(config.model, labels, config.input)
    return {
        name: _at_start(name, parameter.detach())
        for name, parameter in classifier.named_parameters()
    }


def _at_start(name: str, parameter: torch.Tensor) -> torch.Tensor:
    if parameter.ndim == 1:
        return torch.ones_like(parameter) if name.endswith("weight") else 0 * parameter
    return draw(name, tuple(parameter.shape)) * parameter[0].numel() ** -0.5


def curve() -> dict[str, list[float]]:
    """The mean training losses of each epoch, and the validation losses, over the whole run."""
    with tempfile.TemporaryDirectory() as name, Reporter(console=_silent()) as reporter:
        folder = Path(name)
        counts = {"train": 32, "val": 16, "test": 8}
        scenes = draw_scenes(folder / "drawn", counts=counts, workers=1)
        records = load_records(DataSource(path=scenes), reporter)
        config = resolve(RECIPE, where="golden")
        weights = starting_weights(config, records.labels)
        history = run(config, records, folder / "run", reporter, weights=weights).history
    return {key: [entry[key] for entry in history] for key in ("loss", "val_loss")}


def _silent() -> Console:
    return Console(file=io.StringIO())


def main() -> None:
    """Write the curve, with how it was made."""
    made = {
        "command": "python tests/golden/make_loss_curve.py",
        "tolerance": TOLERANCE,
        **{name: version(name) for name in ("torch", "timm", "numpy")},
        **curve(),
    }
    FILE.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(FILE.read_text())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
