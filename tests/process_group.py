"""Real processes over gloo, for tests of what several processes do together."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

from manylabel.processes import Processes, joined

TIMEOUT = 90

CONTEXT = multiprocessing.get_context("forkserver")  # torch is imported once, then copied
CONTEXT.set_forkserver_preload(["manylabel.evaluate.run", "manylabel.train.run"])


def run_in_processes(
    count: int, work: Callable[..., Any], *arguments: Any, lost: int = 0
) -> list[Any]:
    """What `work` gives, or raises, in each of `count` processes of which `lost` are killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = CONTEXT.Queue()
    started = [
        CONTEXT.Process(target=_run, args=(rank, count, port, results, work, arguments))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    try:
        found = dict(results.get(timeout=TIMEOUT) for _ in range(count - lost))
        for process in started:
            process.join(TIMEOUT)
            assert process.exitcode is not None, "a process did not end"
    finally:
        for process in started:
            process.kill()
    return [found[rank] for rank in sorted(found)]


def _run(rank: int, count: int, port: int, results, work: Callable[..., Any], arguments) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    try:
        with joined() as group:
            assert group == Processes(rank, count)
            result: Any = work(*arguments)
    except Exception as error:
        result = error
    results.put((rank, result))
