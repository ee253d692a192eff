"""Damages files, feeds them to a target, and says what went wrong."""

from __future__ import annotations

import resource
import time
import traceback
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
from mutations import mutated
from targets import Target

from manylabel.errors import ManylabelError

SECONDS: Final = 5.0
MEGABYTES: Final = 1_000

Outcome = Literal["accepted", "refused", "failed"]


@final
@dataclass(frozen=True)
class Try:
    """The outcome of one damaged file.

    Args:
        number: The position of the try; with the seed, it gives the same damage again.
        outcome: What the target did.
        fault: Why it failed; empty if it did not.
        content: The damaged file, if it failed.
        name: The valid file that was damaged.
    """

    number: int
    outcome: Outcome
    fault: str = ""
    content: bytes = b""
    name: str = ""


@final
class Attack:
    """Feeds damaged files to one target.

    Args:
        name: The target's name; it is part of the seed.
        target: The target.
        folder: An empty folder for its files.
        seed: The seed of all damage.
    """

    def __init__(self, name: str, target: Target, folder: Path, *, seed: int = 0) -> None:
        self.name, self.target, self.folder, self.seed = name, target, folder, seed
        self._files, self._feed = target.make(folder)
        self._valid = {file: (folder / file).read_bytes() for file in self._files}

    def check(self) -> None:
        """Feed the valid files: a target that refuses them would find nothing.

        Raises:
            ManylabelError: A valid file is refused.
        """
        for file in self._files:
            self._feed(self.folder / file)

    def try_one(self, number: int) -> Try:
        """Damage a file, feed it, and put the valid one back."""
        rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), number])
        file = self._files[rng.integers(len(self._files))]
        content = mutated(self._valid[file], rng, self.target.kinds)
        path = self.folder / file
        path.write_bytes(content)
        try:
            return self._fed(number, file, content)
        finally:
            path.write_bytes(self._valid[file])

    def _fed(self, number: int, file: str, content: bytes) -> Try:
        started, memory = time.monotonic(), _peak_megabytes()
        outcome: Outcome = "accepted"
        fault = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._feed(self.folder / file)
        except ManylabelError as error:
            outcome = "refused"
            fault = "" if str(error).isprintable() or "\n" in str(error) else "control characters"
        except BaseException:
            fault = traceback.format_exc()
        seconds, taken = time.monotonic() - started, _peak_megabytes() - memory
        if outcome == "accepted" and self.target.exact and content != self._valid[file]:
            fault = fault or "The damaged file was accepted."
        if seconds > SECONDS:
            fault = fault or f"It took {seconds:.1f} seconds."
        if taken > MEGABYTES:
            fault = fault or f"It took {taken:,.0f} MB."
        return Try(number, "failed", fault, content, file) if fault else Try(number, outcome)


def _peak_megabytes() -> float:
    """The largest memory that this process had at any time so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
