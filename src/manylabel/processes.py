"""Several processes that measure together: who does what, and how nobody waits for ever.

The unit is the batch. Batches are cut from the data set in its order, whatever the number of
processes, and process r of n takes the batches r, r + n, r + 2n ... So each image is scored in the
same batch by one process or by many, which matters: a convolution's last bits depend on the batch.
Nothing is padded and nothing comes twice.

Work goes in turns. In each turn every process gives one batch's results to all, or the error that
kept it from them: the results come out in the order of the data set, and an error on one process
is an error on all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar, final

import torch
import torch.distributed as dist

from manylabel.errors import DataError, ManylabelError, RunError

T = TypeVar("T")

_LAUNCHED: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process that it starts."""


@final
@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

    Args:
        rank: Which it is, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that speaks and writes files."""
        return self.rank == 0

    def share(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches that are this process's to do, of all of them in order.

        Example:
            >>> list(Processes(rank=1, count=3).share("abcdefgh"))
            ['b', 'e', 'h']
        """
        return islice(batches, self.rank, None, self.count)

    def device(self, name: str) -> str:
        """The device that this process takes where all were given `name`: a GPU of its own."""
        if self.count == 1 or name not in {"auto", "cuda"} or not torch.cuda.is_available():
            return name
        here = int(os.environ.get("LOCAL_RANK", self.rank))
        return f"cuda:{here % torch.cuda.device_count()}"


def processes() -> Processes:
    """The processes that work together now: those of torch's process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Joins the processes that torchrun started this one with, if it did, until the end.

    A process group that stands already, as Fabric makes one, is used and left standing.

    Raises:
        RunError: The others cannot be reached.
    """
    launched = all(name in os.environ for name in _LAUNCHED) and os.environ["WORLD_SIZE"] != "1"
    if not launched or processes().count > 1:
        yield processes()
        return
    try:
        dist.init_process_group("gloo")  # scores are gathered in memory, whatever the device
    except (RuntimeError, ValueError) as error:
        raise _lost(error) from error
    try:
        yield processes()
        with suppress(RuntimeError):  # who failed alone has said so, and is not waited for
            dist.barrier()
    finally:
        dist.destroy_process_group()


def in_turns(own: Iterable[T]) -> Iterator[T]:
    """What all processes make of their shares, in the order of the whole, on each of them.

    Args:
        own: Of `Processes.share`; it is drawn from as results are called for.

    Raises:
        ManylabelError: Drawing raised one, here or on another process.
        RunError: Another process failed otherwise, or is gone.
    """
    if processes().count == 1:
        yield from own
        return
    rest = iter(own)
    while items := [item for turn in _exchange(lambda: tuple(islice(rest, 1))) for item in turn]:
        yield from items


def agreed(work: Callable[[], T]) -> T:
    """What `work` gives here, once it has ended well on all processes.

    Raises:
        ManylabelError: It raised one, here or on another process.
        RunError: Another process failed otherwise, or is gone.
    """
    if processes().count == 1:
        return work()
    result: list[T] = []
    _exchange(lambda: result.append(work()))
    return result[0]


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
    """What `work` gives on each process, by rank; an error on one is raised on all."""
    rank, count = processes().rank, processes().count
    own: Exception | None = None
    try:
        turn = _Turn(work(), None)
    except Exception as error:  # whatever it is, the others wait for it
        own, turn = error, _Turn(None, _told(error, rank))
    turns: list[Any] = [None] * count
    try:
        dist.all_gather_object(turns, turn)
    except RuntimeError as error:
        raise own or _lost(error) from None
    if own is not None:
        raise own
    for other in turns:
        if other.error is not None:
            raise other.error
    return [other.result for other in turns]


def _told(error: Exception, rank: int) -> ManylabelError:
    """The error as others can be told of it."""
    if isinstance(error, ManylabelError):
        return error
    return RunError(
        f"Process {rank} could not go on: {type(error).__name__}: {error}",
        where=f"process {rank}",
        fix="What it printed says more.",
    )


def _lost(error: Exception) -> RunError:
    return RunError(
        f"The processes lost each other: {str(error).splitlines()[0]}",
        where="torch.distributed",
        fix="See what the others printed; one of them may have been killed.",
    )
