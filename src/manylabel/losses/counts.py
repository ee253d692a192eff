"""How often each label is present and absent in training. Some losses use it for their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from manylabel.errors import ConfigError
from manylabel.labels import ABSENT, PRESENT


@final
@dataclass(frozen=True, eq=False)
class LabelCounts:
    """Counts of the known training targets of each label; unknown targets are in neither count.

    Args:
        present: Images that have the label, int64 [C].
        absent: Images that are known not to have it, int64 [C].
    """

    present: NDArray[np.int64]
    absent: NDArray[np.int64]

    @classmethod
    def of(cls, targets: NDArray[np.int8]) -> LabelCounts:
        """The counts of targets [N, C] in {1, 0, -1}.

        Example:
            >>> counts = LabelCounts.of(np.int8([[1, 0], [0, -1], [0, 1]]))
            >>> counts.present.tolist(), counts.absent.tolist()
            ([1, 1], [2, 1])
        """
        return cls((targets == PRESENT).sum(0), (targets == ABSENT).sum(0))

    @property
    def absent_per_present(self) -> NDArray[np.float64]:
        """Absent images divided by present ones, [C]. A count of 0 is replaced by 1."""
        return np.maximum(self.absent, 1) / np.maximum(self.present, 1)


def need_counts(counts: LabelCounts | None, setting: str) -> LabelCounts:
    """Returns `counts` for a setting that needs them.

    Raises:
        ConfigError: The counts were not given.
    """
    if counts is None:
        raise ConfigError(
            f"{setting} needs to know how often each label is present in training.",
            where="loss",
            fix="Give the loss counts=LabelCounts.of(targets) of the training targets.",
        )
    return counts


def as_tensor_like(values: Tensor, logits: Tensor) -> Tensor:
    """`values` on the device of `logits` and in their type.

    The type is changed first, because the weights are in 64 bits and some devices have no 64 bits.
    """
    return values.to(logits.dtype).to(logits.device, non_blocking=True)
