"""What each way to train would take, and which are chosen. Nothing is measured here.

The linear head on a frozen backbone is always chosen: it is the floor. Further ways are taken in
their order as long as the whole plan stays within the time. Those that are chosen are trained, and
the best on validation is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

from manylabel.train.auto.compare import FEWEST
from manylabel.train.auto.survey import Machine, Survey
from manylabel.train.auto.timing import Timings
from manylabel.train.auto.ways import LINEAR, Way
from manylabel.train.config import RunConfig
from manylabel.train.durations import in_words
from manylabel.train.epoch_batches import SCORING

MINUTES: Final = 5.0
"""The minutes that a plan may take if the user says nothing. Where the linear head alone takes
longer, further ways may double its time."""
MINUTES_ON_GPU: Final = 60.0
MIRRORED: Final = 10_000
"""With more training images, the maps of their mirror images are not computed."""
_MEMORY: Final = 0.4
"""The share of the free memory that maps may take."""
_DISK: Final = 0.5
"""The share of the free disk that maps may take, if there is too little memory."""
_DISK_SPEED: Final = 3e8
"""Bytes that are read from the disk in a second, if they are too many to stay in memory."""
_PER_SAMPLE: Final = 4e-4
"""Seconds that the loader takes for the maps of one image, whatever the head."""
_EACH_RUN: Final = 3.0
"""Seconds that a run takes apart from images: it writes its bundles and checkpoints."""
_FIXED: Final = 8.0
"""Seconds for what comes after: the bundle, its page and its pictures."""

Storage = Literal["memory", "disk", "pooled"]


@final
@dataclass(frozen=True)
class Choice:
    """A way, what it takes, and whether it is chosen.

    Args:
        way: The way.
        epochs: Passes over the training images.
        seconds: What it takes in addition to the maps.
        memory: The bytes that its maps take in memory.
        chosen: Whether it is trained.
        why: Why it is or is not, in words.
    """

    way: Way
    epochs: int
    seconds: float
    memory: int
    chosen: bool = False
    why: str = ""


@final
@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        machine: The machine.
        survey: The data set.
        choices: Each way, chosen or not.
        mirrored: Whether the maps of mirror images are computed.
        storage: Where the maps are kept: in memory, on the disk, or pooled in memory.
        map_bytes: The bytes of all maps.
        map_seconds: The seconds that computing the maps takes, once for all ways.
        after: The seconds for tuning, measuring, and the page.
        minutes: The minutes that it may take.
    """

    machine: Machine
    survey: Survey
    choices: tuple[Choice, ...]
    mirrored: bool
    storage: Storage
    map_bytes: int
    map_seconds: float
    after: float
    minutes: float

    @property
    def chosen(self) -> list[Choice]:
        """The choices that are trained, in order."""
        return [choice for choice in self.choices if choice.chosen]

    @property
    def seconds(self) -> float:
        """What the whole plan takes."""
        return self.map_seconds + sum(c.seconds for c in self.chosen) + self.after

    def as_dict(self) -> dict[str, Any]:
        """The plan, ready for JSON."""
        return {
            "device": self.machine.name,
            "images": dict(self.survey.images),
            "labels": self.survey.labels,
            "mirrored": self.mirrored,
            "maps": {
                "kept": self.storage,
                "bytes": self.map_bytes,
                "seconds": round(self.map_seconds, 1),
            },
            "ways": {
                choice.way.name: {
                    "seconds": round(choice.seconds, 1),
                    "epochs": choice.epochs,
                    "chosen": choice.chosen,
                    "why": choice.why,
                }
                for choice in self.choices
            },
            "seconds": round(self.seconds, 1),
            "minutes": self.minutes,
        }


def make_plan(
    machine: Machine,
    data: Survey,
    timings: Timings,
    recipes: Mapping[Way, RunConfig],
    minutes: float | None = None,
) -> Plan:
    """A plan for a machine and a data set.

    Args:
        machine: The machine.
        data: The data set.
        timings: Seconds for one image.
        recipes: The recipe of each way; the first is the linear head on a frozen backbone.
        minutes: The minutes that it may take; None: the default.
    """
    plan = _plan(machine, data, timings, recipes, minutes, may_use_disk=True)
    whole = any(c.way.frozen and not c.way.plain for c in plan.chosen)
    if plan.storage == "disk" and not whole:  # what is chosen reads pooled maps alone
        return _plan(machine, data, timings, recipes, minutes, may_use_disk=False)
    return plan


def _plan(
    machine: Machine,
    data: Survey,
    timings: Timings,
    recipes: Mapping[Way, RunConfig],
    minutes: float | None,
    *,
    may_use_disk: bool,
) -> Plan:
    mirrored = data.images.get("train", 0) <= MIRRORED
    storage, size = _storage(
        machine if may_use_disk else replace(machine, disk=0), data, timings, mirrored
    )
    mirrored = mirrored and storage != "pooled"
    if storage == "disk":
        timings = _slower(timings)
    after = _after(data, timings, machine)
    maps = _map_seconds(data, timings, machine, mirrored)
    choices = [_choice(way, recipe, data, timings, machine) for way, recipe in recipes.items()]
    least = maps + choices[0].seconds + after
    allowed = 60 * (minutes or _default_minutes(machine, least))
    in_memory = size if storage != "disk" else 0
    taken, spent = list[Choice](), maps + after
    for choice in choices:
        decided = _decided(choice, data, storage, spent, allowed)
        spent += decided.seconds if decided.chosen else 0
        taken.append(replace(decided, memory=in_memory if choice.way.frozen else 0))
    return Plan(
        machine=machine,
        survey=data,
        choices=tuple(taken),
        mirrored=mirrored,
        storage=storage,
        map_bytes=size,
        map_seconds=maps,
        after=after,
        minutes=allowed / 60,
    )


def _slower(timings: Timings) -> Timings:
    """The timings where the maps are read from the disk."""
    seconds = timings.map_bytes / _DISK_SPEED
    return replace(timings, training={k: v + seconds for k, v in timings.training.items()})


def _default_minutes(machine: Machine, least: float) -> float:
    return max(MINUTES_ON_GPU if machine.has_gpu else MINUTES, 2 * least / 60)


def _decided(
    choice: Choice, data: Survey, storage: Storage, spent: float, allowed: float
) -> Choice:
    """The choice with the decision, where `spent` is what the plan takes without it."""
    if choice.way is LINEAR:
        return replace(choice, chosen=True, why="always: the floor")
    if data.images.get("val", 0) < FEWEST:
        return replace(choice, why=f"val has fewer than {FEWEST} images to tell which is better")
    if storage == "pooled" and choice.way.frozen and not choice.way.plain:
        return replace(
            choice, why="its maps do not fit into memory, and the disk lacks room or time"
        )
    if spent + choice.seconds > allowed:
        return replace(choice, why=f"over {in_words(allowed)} together with the others")
    return replace(choice, chosen=True, why="within the time")


def _storage(
    machine: Machine, data: Survey, timings: Timings, mirrored: bool
) -> tuple[Storage, int]:
    views = data.total + (data.images.get("train", 0) if mirrored else 0)
    size = views * timings.map_bytes
    if size <= _MEMORY * machine.memory:
        return "memory", size
    if size <= _DISK * machine.disk:
        return "disk", size
    return "pooled", data.total * timings.pooled_bytes


def _map_seconds(data: Survey, timings: Timings, machine: Machine, mirrored: bool) -> float:
    views = data.total + (data.images.get("train", 0) if mirrored else 0)
    return views * timings.forward + data.total * _reading(timings, machine)


def _reading(timings: Timings, machine: Machine) -> float:
    """Seconds to read an image while the device works. On a CPU, both share the processors."""
    return timings.reading / max(1, machine.processors - (1 if machine.has_gpu else 0))


def _after(data: Survey, timings: Timings, machine: Machine) -> float:
    """Tuning reads val again, and the tuned bundle is measured on test."""
    held_out = data.images.get("val", 0) + data.images.get("test", 0)
    return _FIXED + held_out * (timings.forward + _reading(timings, machine))


def _choice(
    way: Way, recipe: RunConfig, data: Survey, timings: Timings, machine: Machine
) -> Choice:
    epochs = sum(step.epochs for step in recipe.steps)
    once = timings.training[way.name]
    if way.frozen:
        once, scoring = once + _PER_SAMPLE, SCORING * once + _PER_SAMPLE
    else:
        once, scoring = (each + _reading(timings, machine) for each in (once, timings.forward))
    val, test = (data.images.get(name, 0) for name in ("val", "test"))
    images = epochs * data.images.get("train", 0) * once + (epochs * val + test) * scoring
    return Choice(way, epochs, _EACH_RUN + images, 0)


def table(plan: Plan) -> list[str]:
    """The plan as lines of text: what, how long, chosen."""
    words = {"memory": "in memory", "disk": "on the disk", "pooled": "pooled, in memory"}
    size = f"{plan.map_bytes / 1e9:.1f} GB {words[plan.storage]}"
    views = "with mirror images" if plan.mirrored else "without mirror images"
    rows = [
        ("maps of the frozen backbone, once", in_words(plan.map_seconds), "yes", f"{size}, {views}")
    ]
    rows += [
        (
            f"{choice.way.name}: {choice.way.title}",
            in_words(choice.seconds),
            "yes" if choice.chosen else "no",
            choice.why,
        )
        for choice in plan.choices
    ]
    rows.append(("tuning, measuring, the page", in_words(plan.after), "yes", ""))
    rows.append(("together", in_words(plan.seconds), "", f"at most {in_words(60 * plan.minutes)}"))
    return _aligned([("what", "how long", "chosen", ""), *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
