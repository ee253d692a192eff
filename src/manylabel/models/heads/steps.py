"""The training steps of the paper as data, and a step that trains any head as a whole.

Each step trains some parts of the classifier and freezes the rest: frozen parts get no gradient and
no weight decay, and their batch statistics do not change. A step's loss is the sum of the run's
loss over the logits that the step names.

    step              trains                     loss on              measured by
    1 main            backbone, main net         y_cls                y_cls
    2 attention       f_att, conv1               y_att                y_att
    3 regularisation  conv2..4, fc               y (the aggregate)    y
    4 joint           everything                 y + y_att            y
      joint-released  everything                 y_cls + y_att + y_sr y
    1 whole           everything (any head)      y                    y
      whole-branches  everything (SRN's heads)   y and every branch   y

`Head.steps` holds the steps that a head has. A head may have steps that are not in this file.

Source: arXiv:1702.05891, section 3.4. The loss of step 3 on the aggregate and that of step 4 on
y and y_att are from memory of the text (not confirmed). The authors' released training sums the
losses of the three branches; an author called it slightly better and more stable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final


@final
@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one kind of step trains, which logits its loss uses, and how it is measured.

    Args:
        number: The step's number in the paper.
        title: The name that messages and reports show.
        trains: The modules of the classifier that it trains, by name.
        losses: The logits that the loss is computed on; `final` means the head's final logits.
        scores: The logits that the step's result is measured by.
        runs: The module of the classifier that computes the output from the backbone's maps: the
            head, or a part of it that computes all logits that the step names.
    """

    number: int
    title: str
    trains: tuple[str, ...]
    losses: tuple[str, ...]
    scores: str
    runs: str = "head"


_EVERYTHING: Final = ("backbone", "head.main", "head.attention", "head.regularisation")

MAIN: Final = StepPlan(1, "main net", ("backbone", "head.main"), ("cls",), "cls", runs="head.main")
"""It trains the main net alone. The rest of the head is neither trained nor computed."""
ATTENTION: Final = StepPlan(2, "attention", ("head.attention",), ("att",), "att")
REGULARISATION: Final = StepPlan(
    3, "spatial regularisation", ("head.regularisation",), ("final",), "final"
)
WHOLE: Final = StepPlan(1, "whole net", ("backbone", "head"), ("final",), "final")

SRN_STEPS: Final[Mapping[str, StepPlan]] = {
    "main": MAIN,
    "attention": ATTENTION,
    "regularisation": REGULARISATION,
    "joint": StepPlan(4, "joint", _EVERYTHING, ("final", "att"), "final"),
    "joint-released": StepPlan(4, "joint", _EVERYTHING, ("cls", "att", "sr"), "final"),
    "whole": WHOLE,
    "whole-branches": StepPlan(
        1, "whole net", ("backbone", "head"), ("final", "cls", "att", "sr"), "final"
    ),
}
"""The steps of heads that have SRN's parts and branches, by kind."""
