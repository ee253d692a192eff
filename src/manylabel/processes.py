"""How several processes share batches, results, errors and the writing of files.

The unit of work is the batch. A data set is divided into batches in its order, and the batches do
not depend on the number of processes. Process r of n takes the batches r, r + n, r + 2n and so on.
So an image is always scored in the same batch. This matters, since the last bits of a convolution
depend on the batch. Nothing is padded, and no image is scored twice.

Results are exchanged in turns. In each turn, each process sends the results of one batch to all
processes, or the error that occurred. So results are in the order of the data set, an error on one
process is raised on all, and no process waits for ever.

A single process needs no torch. torch is imported only if several processes work together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar, cast, final

from manylabel.errors import ConfigError, DataError, ManylabelError, RunError

T = TypeVar("T")

_LAUNCHED: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The variables that torchrun sets for each process that it starts."""
_LAUNCHERS: Final = {
    "WORLD_SIZE": "a launcher",
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
}
"""The variables by which other launchers say how many processes they started. Slurm's SLURM_NTASKS
is not one of them: it is also set in a batch script, which runs once."""


@final
@dataclass(frozen=True)
class Processes:
    """The number of this process, and the number of processes that work together.

    Args:
        rank: The number of this process, from 0.
        count: The number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def share(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches of this process.

        Args:
            batches: All batches, in order.

        Example:
            >>> list(Processes(rank=1, count=3).share("abcdefgh"))
            ['b', 'e', 'h']
        """
        return islice(batches, self.rank, None, self.count)

    def positions(self, size: int, batch_size: int) -> Iterator[int]:
        """The positions of this process's images.

        Args:
            size: The number of all images.
            batch_size: The number of images of each batch.

        Example:
            >>> list(Processes(rank=1, count=2).positions(7, batch_size=2))
            [2, 3, 6]
        """
        for start in self.share(range(0, size, batch_size)):
            yield from range(start, min(start + batch_size, size))

    def count_of(self, size: int, batch_size: int) -> int:
        """The number of positions that `positions` yields."""
        starts = range(self.rank * batch_size, size, self.count * batch_size)
        return sum(min(batch_size, size - start) for start in starts)

    def device(self, name: str) -> str:
        """The device of this process, if all processes are given the device `name`.

        For `auto` and `cuda`, each process has its own GPU, as far as there are enough.
        """
        if self.count == 1 or name not in {"auto", "cuda"}:
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        here = _number("LOCAL_RANK") if "LOCAL_RANK" in os.environ else self.rank
        return f"cuda:{here % torch.cuda.device_count()}"


def processes() -> Processes:
    """The processes of torch's process group. Without a group, this process alone."""
    dist = sys.modules.get("torch.distributed")  # if it is not imported, there is no group
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return Processes()
    return Processes(dist.get_rank(), dist.get_world_size())


def launched_count() -> int:
    """How many processes torchrun started, this one included; 1 if it started none.

    Raises:
        ConfigError: The variables of torchrun do not give the number of a process.
    """
    if not all(name in os.environ for name in _LAUNCHED):
        return 1
    rank, count = _number("RANK"), _number("WORLD_SIZE")
    if rank >= count:
        raise _not_launched(f"RANK is {rank}, but WORLD_SIZE is {count}")
    return count


def _number(name: str) -> int:
    """The whole number in an environment variable of torchrun."""
    text = os.environ[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _not_launched(f"{name} is {text[:60]!r}, which is not the number of a process")
    return int(text)


def _not_launched(reason: str) -> ConfigError:
    return ConfigError(
        f"The environment variables of torchrun are not right: {reason}.",
        where="environment variables",
        fix=f"Start the command with torchrun, or remove these variables: {', '.join(_LAUNCHED)}.",
    )


def require_one_process(command: str) -> None:
    """Refuse to run a command in several processes at once, each of which would do all of it.

    Args:
        command: The command, for instance "train".

    Raises:
        ConfigError: torchrun, Slurm or MPI started several processes.
    """
    if (count := launched_count()) > 1:
        raise _not_alone(command, "torchrun", count, "WORLD_SIZE")
    for name, launcher in _LAUNCHERS.items():
        text = os.environ.get(name, "").strip()
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 1:
            raise _not_alone(command, launcher, int(text), name)


def _not_alone(command: str, launcher: str, count: int, variable: str) -> ConfigError:
    return ConfigError(
        f"`manylabel {command}` runs in one process, but {launcher} started {count}.",
        where=f"{launcher}: the environment variable {variable} is {os.environ[variable]}",
        fix=f"Run `manylabel {command}` once, without {launcher}: each process would do all of the "
        "work and write the same files. (Only `manylabel evaluate` shares its work, under "
        "torchrun.) If it is one process, or each has files of its own, run it as: "
        f"env -u {variable} manylabel {command} ...",
    )


@contextmanager
def joined() -> Iterator[Processes]:
    """A context in which the processes that torchrun started are connected.

    Without torchrun it does nothing. A process group that already exists, for instance one that
    Fabric made, is used and is not closed. At the end each process waits for the others. So none of
    them ends well if one did not.

    Raises:
        RunError: The other processes cannot be reached, or one of them ended before the end.
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
        _wait_for_all()
    finally:
        dist.destroy_process_group()


def in_turns(own: Iterable[T]) -> Iterator[T]:
    """The results of all processes, in the order of the data set; each process gets all of them.

    Args:
        own: The results of this process, one for each of the batches that `Processes.share` gives
            it. They are computed one at a time, when they are needed.

    Raises:
        ManylabelError: This process or another one raised it when it computed a result.
        RunError: Another process failed with another error, or ended.
    """
    if processes().count == 1:
        yield from own
        return
    rest = iter(own)
    while items := [item for turn in _exchange(lambda: tuple(islice(rest, 1))) for item in turn]:
        yield from items


def agreed(work: Callable[[], T]) -> T:
    """Do `work` on all processes, and return this process's result if all succeed.

    Raises:
        ManylabelError: `work` raised it on this process or on another one.
        RunError: Another process failed with another error, or ended.
    """
    if processes().count == 1:
        return work()
    result: list[T] = []
    _exchange(lambda: result.append(work()))
    return result[0]


def from_leader(work: Callable[[], T]) -> T:
    """Do `work` on the leading process only, and return its result on all processes.

    Args:
        work: For instance, it writes files that all processes read afterwards.

    Raises:
        ManylabelError: `work` raised it on the leading process.
        RunError: Another process failed with another error, or ended.
    """
    if processes().count == 1:
        return work()
    return cast(T, _exchange(lambda: work() if processes().leads else None)[0])


def require_same(value: object, what: str) -> None:
    """Check that all processes have an equal `value`.

    Args:
        value: The value of this process.
        what: What the value describes, for the error.

    Raises:
        DataError: The values differ.
        RunError: Another process ended.
    """
    if processes().count == 1:
        return
    values = _exchange(lambda: value)
    different = [rank for rank, other in enumerate(values) if other != values[0]]
    if different:
        raise DataError(
            f"The processes do not have the same {what}: process {different[0]} differs from 0.",
            where=f"{len(values)} processes",
            fix="Give all processes the same files and the same options.",
        )


@dataclass(frozen=True)
class _Turn(Generic[T]):
    """What a process sends to all processes in a turn: a result or an error."""

    result: T | None
    error: ManylabelError | None


def _exchange(work: Callable[[], T]) -> list[T]:
    """Do `work` on all processes, and return all results by rank; an error is raised on all."""
    import torch.distributed as dist

    rank, count = processes().rank, processes().count
    own: Exception | None = None
    try:
        turn = _Turn(work(), None)
    except Exception as error:  # any error must be sent, since the other processes wait
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
    """The error that the other processes raise if this process has `error`."""
    if isinstance(error, ManylabelError):
        return error
    return RunError(
        f"Process {rank} failed: {type(error).__name__}: {error}",
        where=f"process {rank}",
        fix="See the output of that process.",
    )


def _wait_for_all() -> None:
    """Wait until every process has come to its end.

    In this barrier the leading process hears from each other one and answers. So a process that
    leaves first does not look to the others like one that was killed.
    """
    import torch.distributed as dist

    try:
        dist.monitored_barrier()
    except RuntimeError as error:
        raise _connection_lost(error) from None


def _connection_lost(error: Exception) -> RunError:
    return RunError(
        f"The connection to the other processes was lost: {str(error).splitlines()[0]}",
        where="torch.distributed",
        fix="See the output of the other processes; one of them may have been killed.",
    )
