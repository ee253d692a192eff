"""The fuzz job: `make fuzz`, or `python tests/fuzz/run.py --minutes 5 --seed 1`.

Each target runs in a process of its own, so that a crash or a hang is counted and the job goes on.
A file that makes a target fail is kept in the folder of failures, with the reason beside it. The
exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, final

HANG: Final = 60.0
"""A try that takes longer, in seconds, is ended with its process."""

MEMORY: Final = 12 * 2**30
"""The address space of a target's process, so that a bomb does not take the machine."""


@final
@dataclass
class Tally:
    """What was counted for one target."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    next: int = 0


def main() -> None:
    """Run the job, or one target of it in this process."""
    options = _options()
    if options.worker:
        _work(options)
        return
    chosen = options.target or _all_targets()
    tallies = {name: _attack(name, options, 60 * options.minutes / len(chosen)) for name in chosen}
    print(f"\n{'target':<22}{'tries':>9}{'accepted':>10}{'refused':>9}{'failed':>8}{'seconds':>9}")
    for name, tally in tallies.items():
        counts = tally.counts
        print(
            f"{name:<22}{counts.total():>9,}{counts['accepted']:>10,}{counts['refused']:>9,}"
            f"{counts['failed']:>8,}{tally.seconds:>9.0f}"
        )
    failed = sum(tally.counts["failed"] for tally in tallies.values())
    if failed:
        print(f"\n{failed:,} failures are kept in {options.out}.")
    sys.exit(1 if failed else 0)


def _all_targets() -> list[str]:
    from targets import TARGETS  # imports torch

    return list(TARGETS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Feed damaged files to everything that reads.")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--tries", type=int, default=10**9, help="the most tries of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the number of the first try")
    parser.add_argument("--target", action="append", help="one target; can be repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="folder of failures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _attack(name: str, options: argparse.Namespace, seconds: float) -> Tally:
    """Attack one target until its time or its tries are over."""
    tally, started = Tally(next=options.start), time.monotonic()
    end = options.start + options.tries
    while (left := seconds - (time.monotonic() - started)) > 0 and tally.next < end:
        command = [sys.executable, __file__, "--worker", name, "--seed", str(options.seed)]
        command += ["--start", str(tally.next), "--tries", str(end - tally.next)]
        command += ["--minutes", str(left / 60)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            finished = _listen(name, worker.stdout, tally, options.out)
            worker.kill()
        if not finished:  # the process died or hung in the try after the last one that it reported
            fault = f"The process ended with {worker.wait()} or took more than {HANG:.0f} seconds."
            _keep(options.out, name, {"number": tally.next, "fault": fault, "content": ""})
            tally.counts["failed"] += 1
            tally.next += 1
    tally.seconds = time.monotonic() - started
    print(f"{name}: {tally.counts.total():,} tries", flush=True)
    return tally


def _listen(name: str, lines: IO[bytes], tally: Tally, out: Path) -> bool:
    """Count what a worker reports. False if it died or hung."""
    while select.select([lines], [], [], HANG)[0]:
        line = lines.readline()
        if not line:
            return False
        result = json.loads(line)
        if result is None:
            return True
        tally.counts[result["outcome"]] += 1
        tally.next = result["number"] + 1
        if result["outcome"] == "failed":
            _keep(out, name, result)
    return False


def _keep(out: Path, name: str, result: dict[str, object]) -> None:
    stem = f"{name.replace(' ', '-')}-{result['number']}"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{stem}.bin").write_bytes(bytes.fromhex(str(result["content"])))
    (out / f"{stem}.txt").write_text(f"{result.get('name', '')}\n{result['fault']}\n")


def _work(options: argparse.Namespace) -> None:
    """Attack one target in this process, and report each try as a line of JSON."""
    from attack import Attack
    from targets import TARGETS

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing else that is printed is mixed with the report
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(options.worker, TARGETS[options.worker], Path(folder), seed=options.seed)
        attack.check()
        for number in range(options.start, options.start + options.tries):
            if time.monotonic() > end:
                break
            one = attack.try_one(number)
            found = {"number": number, "outcome": one.outcome, "fault": one.fault}
            report.write(json.dumps({**found, "content": one.content.hex(), "name": one.name}))
            report.write("\n")
    report.write("null\n")


if __name__ == "__main__":
    main()
