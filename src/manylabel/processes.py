"""Several processes that work together: how they share batches, results, errors and writing.

The unit is the batch. Batches are cut from the data set in its order, whatever the number of
processes, and process r of n takes the batches r, r + n, r + 2n ... So each image is scored in the
same batch by one process or by many, which matters: a convolution's last bits depend on the batch.
Nothing is padded and nothing comes twice.

Results are exchanged in turns. In each turn every process gives one batch's results to all, or the
error that it met. So the results come out in the order of the data set, an error on one process is
an error on all, and no process waits for ever.

One process alone needs no torch: it is imported where several processes work together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar, cast, final

from manylabel.errors import ConfigError, DataError, ManylabelError, RunError

T = TypeVar("T")

_LAUNCHED: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The variables that torchrun sets for each process that it starts."""


@final
@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

    Args:
        rank: The number of this process, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def share(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches of this process, out of all batches in order.

        Example:
            >>> list(Processes(rank=1, count=3).share("abcdefgh"))
            ['b', 'e', 'h']
        """
        return islice(batches, self.rank, None, self.count)

    def positions(self, size: int, batch_size: int) -> Iterator[int]:
        """The positions of this process's images, out of `size` images in batches of `batch_size`.

        Example:
            >>> list(Processes(rank=1, count=2).positions(7, batch_size=2))
            [2, 3, 6]
        """
        for start in self.share(range(0, size, batch_size)):
            yield from range(start, min(start + batch_size, size))

    def count_of(self, size: int, batch_size: int) -> int:
        """How many `positions` gives."""
        starts = range(self.rank * batch_size, size, self.count * batch_size)
        return sum(min(batch_size, size - start) for start in starts)

    def device(self, name: str) -> str:
        """The device that this process takes where all were given `name`: a GPU of its own."""
        if self.count == 1 or name not in {"auto", "cuda"}:
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        here = int(os.environ.get("LOCAL_RANK", self.rank))
        return f"cuda:{here % torch.cuda.device_count()}"


def processes() -> Processes:
    """The processes that work together now: those of torch's process group, if there is one."""
    dist = sys.modules.get("torch.distributed")  # without it there is no process group
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return Processes()
    return Processes(dist.get_rank(), dist.get_world_size())


def launched_count() -> int:
    """How many processes torchrun started, this one included; 1 if it started none."""
    if not all(name in os.environ for name in _LAUNCHED):
        return 1
    return int(os.environ["WORLD_SIZE"])


def require_one_process(command: str) -> None:
    """Refuse to run a command in several processes at once, each of which would do all of it.

    Args:
        command: The command, for instance "train".

    Raises:
        ConfigError: torchrun started several processes.
    """
    if (count := launched_count()) > 1:
        raise ConfigError(
            f"`manylabel {command}` runs in one process, but torchrun started {count}.",
            where="torchrun",
            fix=f"Run `manylabel {command}` without torchrun.",
        )


@contextmanager
def joined() -> Iterator[Processes]:
    """Joins the processes that torchrun started this one with, if it did, until the end.

    A process group that stands already, as Fabric makes one, is used and left standing.

    Raises:
        RunError: The others cannot be reached.
    """
    if launched_count() == 1 or processes().count > 1:
        yield processes()
        return
    import torch.distributed as dist

    try:
        dist.init_process_group("gloo")  # scores are gathered in memory, whatever the device
    except (RuntimeError, ValueError) as error:
        raise _connection_lost(error) from error
    try:
        yield processes()
        with suppress(RuntimeError):  # a process that failed alone has reported it already
            dist.barrier()
    finally:
        dist.destroy_process_group()


def in_turns(own: Iterable[T]) -> Iterator[T]:
    """The results of all processes, on each of them, in the order of the whole data set.

    Args:
        own: The results of this process, of the batches that `Processes.share` gives. They are
            computed one by one, as the results of all are read.

    Raises:
        ManylabelError: Computing a result raised one, here or on another process.
        RunError: Another process failed otherwise, or is gone.
    """
    if processes().count == 1:
        yield from own
        return
    rest = iter(own)
    while items := [item for turn in _exchange(lambda: tuple(islice(rest, 1))) for item in turn]:
        yield from items


def agreed(work: Callable[[], T]) -> T:
    """The result of `work` on this process, once it has succeeded on all processes.

    Raises:
        ManylabelError: It raised one, here or on another process.
        RunError: Another process failed otherwise, or is gone.
    """
    if processes().count == 1:
        return work()
    result: list[T] = []
    _exchange(lambda: result.append(work()))
    return result[0]


def from_leader(work: Callable[[], T]) -> T:
    """The result of `work`, which only the leading process does: the others wait for its result.

    Args:
        work: For instance, it writes files that all processes read afterwards.

    Raises:
        ManylabelError: The leading process raised one.
        RunError: Another process failed otherwise, or is gone.
    """
    if processes().count == 1:
        return work()
    return cast(T, _exchange(lambda: work() if processes().leads else None)[0])


def require_same(value: object, what: str) -> None:
    """Returns if all processes hold an equal `value`.

    Raises:
        DataError: They do not see the same `what`.
        RunError: Another process is gone.
    """
    if processes().count == 1:
        return
    values = _exchange(lambda: value)
    different = [rank for rank, other in enumerate(values) if other != values[0]]
    if different:
        raise DataError(
            f"The processes do not have the same {what}: process {different[0]} differs from 0.",
            where=f"{len(values)} processes",
            fix="Give all of them the same files and the same options.",
        )


@dataclass(frozen=True)
class _Turn(Generic[T]):
    """What one process sends to all."""

    result: T | None
    error: ManylabelError | None


def _exchange(work: Callable[[], T]) -> list[T]:
    """The result of `work` on each process, by rank; an error on one is raised on all."""
    import torch.distributed as dist

    rank, count = processes().rank, processes().count
    own: Exception | None = None
    try:
        turn = _Turn(work(), None)
    except Exception as error:  # whatever it is, the others wait for it
        own, turn = error, _Turn(None, _error_for_others(error, rank))
    turns: list[Any] = [None] * count
    try:
        dist.all_gather_object(turns, turn)
    except RuntimeError as error:
        raise own or _connection_lost(error) from None
    if own is not None:
        raise own
    for other in turns:
        if other.error is not None:
            raise other.error
    return [other.result for other in turns]


def _error_for_others(error: Exception, rank: int) -> ManylabelError:
    """The error that the other processes raise."""
    if isinstance(error, ManylabelError):
        return error
    return RunError(
        f"Process {rank} could not go on: {type(error).__name__}: {error}",
        where=f"process {rank}",
        fix="What it printed says more.",
    )


def _connection_lost(error: Exception) -> RunError:
    return RunError(
        f"The processes lost each other: {str(error).splitlines()[0]}",
        where="torch.distributed",
        fix="See what the others printed; one of them may have been killed.",
    )
