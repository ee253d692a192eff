"""The machine and the data set in numbers, from which a plan is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from manylabel.data.records import Records
from manylabel.devices import choose_device
from manylabel.images.memory import free_bytes


@final
@dataclass(frozen=True)
class Machine:
    """What a plan needs to know of a machine.

    Args:
        device: The kind of torch device: `cpu`, `cuda` or `mps`.
        name: The device in words.
        processors: How many processors this process may use.
        memory: The free memory in bytes.
        disk: The free bytes of the disk that the run's folder is on.
    """

    device: str
    name: str
    processors: int
    memory: int
    disk: int

    @property
    def has_gpu(self) -> bool:
        """Whether the device is not the processor."""
        return self.device != "cpu"

    def in_words(self) -> str:
        """One sentence."""
        return (
            f"This machine: {self.name}, {self.memory / 1e9:.0f} GB of free memory, "
            f"{self.disk / 1e9:.0f} GB of free disk."
        )


def look_at_machine(folder: Path, device: str = "auto") -> Machine:
    """The machine that this process runs on.

    Args:
        folder: The run's folder; it need not exist.
        device: The device that is asked for.

    Raises:
        ConfigError: There is no such device.
    """
    found = choose_device(device)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processors = count or 1
    name = f"{processors} processor{'' if processors == 1 else 's'}, no GPU"
    if found.type == "cuda":
        name = torch.cuda.get_device_name(found)
    elif found.type != "cpu":
        name = f"a GPU ({found.type})"
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    disk = shutil.disk_usage(there).free
    return Machine(found.type, name, processors, free_bytes(), disk)


@final
@dataclass(frozen=True)
class Survey:
    """What a plan needs to know of a data set: how many images each split has, and how many labels.

    Args:
        images: The number of images of each split, by name.
        labels: The number of labels.
    """

    images: Mapping[str, int]
    labels: int

    @property
    def total(self) -> int:
        """All images."""
        return sum(self.images.values())


def survey(records: Records) -> Survey:
    """The data set in numbers.

    Args:
        records: With splits.
    """
    counts = {str(name): count for name, count in records.split_counts().items()}
    return Survey(counts, len(records.labels))
