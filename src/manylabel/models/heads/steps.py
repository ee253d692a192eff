"""The training steps of the paper, as data, and one that trains any head whole.

Each step trains some parts of the classifier and holds the rest still: no gradient, no weight
decay, batch statistics untouched. Its loss is the sum of the run's loss over the logits it names.

    step              trains                     loss on              scored by
    1 main            backbone, main net         y_cls                y_cls
    2 attention       f_att, conv1               y_att                y_att
    3 regularisation  conv2..4, fc               y (the aggregate)    y
    4 joint           everything                 y + y_att            y
      joint-released  everything                 y_cls + y_att + y_sr y
    1 whole           everything (any head)      y                    y
      whole-branches  everything (SRN's heads)   y and every branch   y

A head names the steps that it has in `Head.steps`; it may have others that are not here.

Source: arXiv:1702.05891, section 3.4. That step 3's loss is on the aggregate and step 4's on
y + y_att is recalled from the text (not confirmed); the authors' released training sums the
losses of the three branches and was called slightly better and more stable by an author.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final


@final
@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one kind of step trains, and on what.

    Args:
        number: The step's number in the paper.
        title: For people.
        trains: Modules of the classifier, by name.
        losses: The logits that the loss looks at; `final` is the head's answer.
        scores: The logits that the step's result is measured by.
        runs: The module of the classifier that gives the output, from the backbone's maps: the
            head, or a part of it that gives all logits that the step names.
    """

    number: int
    title: str
    trains: tuple[str, ...]
    losses: tuple[str, ...]
    scores: str
    runs: str = "head"


_EVERYTHING: Final = ("backbone", "head.main", "head.attention", "head.regularisation")

MAIN: Final = StepPlan(1, "main net", ("backbone", "head.main"), ("cls",), "cls", runs="head.main")
"""The main net alone: the rest of the head is neither trained nor computed."""
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
"""The steps of a head with SRN's parts and branches, by kind."""
