"""The faults job: `make faults`, or `python tests/faults/table.py`.

Every writer is killed before each of its writes and in the middle of its files, and its disk is
filled. The table says how often, and how often something was wrong. The exit code is 1 if it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from killing import (
    Tally,
    Writer,
    count_points,
    fill_disk,
    fill_real_disk,
    kill_at,
    kill_within_files,
)
from writers import WRITERS, warm_up

SIZES: Final = (0, 1, 17, 100, 1_000, 4_096, 10_000, 50_000, 150_000)
"""The sizes in bytes at which a file ends, or a disk is full."""
FREE: Final = (0, 4_096, 65_536, 200_000)
"""The bytes that are free on a disk of its own, where making one is permitted."""


def attack(writer: Writer) -> dict[str, Tally]:
    """All kinds of tries of one writer."""
    tallies = {"kills": Tally(), "in files": Tally(), "full disk": Tally()}
    kill_at(writer, range(1, count_points(writer) + 2), tallies["kills"])
    kill_within_files(writer, SIZES, tallies["in files"])
    fill_disk(writer, SIZES, tallies["full disk"])
    fill_real_disk(writer, FREE, tallies["full disk"])
    return tallies


def main() -> int:
    """Print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only writers whose names contain one of these")
    names = parser.parse_args().names
    warm_up()
    print(f"{'writer':34}{'kills':>14}{'in files':>14}{'full disk':>14}   seconds")
    failed = 0
    for writer in WRITERS:
        if names and not any(name in writer.name for name in names):
            continue
        began = time.monotonic()
        tallies = attack(writer)
        cells = [f"{sum(t.failures.values()):,} of {t.tries:,}" for t in tallies.values()]
        print(
            f"{writer.name:34}{''.join(f'{cell:>14}' for cell in cells)}"
            f"{time.monotonic() - began:10.1f}",
            flush=True,
        )
        for kind, tally in tallies.items():
            if tally.passing:
                print(f"    {kind}: {tally.passing:,} x {writer.passing} until the next writer")
            failed += sum(tally.failures.values())
            for what, count in tally.failures.items():
                example = next(each for each in tally.examples if each.startswith(what))
                print(f"    {kind}: {count:,} x {example}", flush=True)
    print(f"{failed:,} failures")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
