"""The time of `manylabel predict` for one image in a new process, beside what it must import.

    python -m benchmarks.startup --out startup.json

A small untrained bundle (test_resnet, SRN) labels one small image, so nearly all of the time is
start-up. Every row is a new Python process; the rows take turns. Seconds of processor time depend
less on what else the machine does than seconds on the clock.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import arguments, processor, versions, write
from manylabel.bundle.classifier import architecture, save_bundle
from manylabel.bundle.info import BundleInfo
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import SRNConfig
from manylabel.preprocess import InputSpec


def main() -> None:
    given = arguments(__doc__, rounds=7).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle, image = _bundle(Path(folder)), _image(Path(folder))
        commands = {
            "python": ["-c", "pass"],
            "import torch": ["-c", "import torch"],
            "import timm": ["-c", "import timm"],
            "import manylabel.predict": ["-c", "import manylabel.predict"],
            "manylabel --help": ["-m", "manylabel", "--help"],
            "manylabel predict": ["-m", "manylabel", "predict", bundle, image, "--device", "cpu"],
        }
        taken = {name: list[tuple[float, float]]() for name in commands}
        for _ in range(given.rounds):
            for name, command in commands.items():
                taken[name].append(_seconds([sys.executable, *command]))
    print(f"{'':26}{'clock':>10}{'processor':>12}")
    medians = {}
    for name, rounds in taken.items():
        clock, busy = (statistics.median(column) for column in zip(*rounds, strict=True))
        medians[name] = {"clock_s": clock, "processor_s": busy}
        print(f"{name:26}{clock:>8.2f} s{busy:>10.2f} s")
    predict, needed = medians["manylabel predict"], medians["import timm"]
    headline = {
        "predict_clock_s": predict["clock_s"],
        "predict_processor_s": predict["processor_s"],
        "share_of_torch_and_timm": needed["processor_s"] / predict["processor_s"],
    }
    about = {"processor": processor(), "versions": versions("torch", "torchvision", "timm")}
    write({"headline": headline, "rows": medians, "rounds": given.rounds, **about}, given.out)


def _seconds(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a process takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _bundle(folder: Path) -> str:
    labels, spec = LabelSpace(["cat", "dog"]), InputSpec(height=64, width=64)
    backbone = BackboneConfig(name="test_resnet", pretrained=False)
    model = ModelConfig(
        backbone=backbone, head=SRNConfig(attention_channels=16, relation_channels=16)
    )
    classifier = build_classifier(model, labels, spec)
    info = BundleInfo(
        model=architecture(model, classifier),
        labels=labels.names,
        input=spec,
        thresholds=(0.5,) * len(labels),
    )
    return str(save_bundle(folder / "bundle", classifier, info))


def _image(folder: Path) -> str:
    path = folder / "image.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return str(path)


if __name__ == "__main__":
    main()
