"""The training steps, as data: SRN's four, and one that trains any head whole.

Each step trains some parts of the classifier and holds the rest still: no gradient, no weight
decay, batch statistics untouched. Its loss is the sum of the run's loss over the logits it names.

    step              trains                     loss on              scored by
    1 main            backbone, main net         y_cls                y_cls
    2 attention       f_att, conv1               y_att                y_att
    3 regularisation  conv2..4, fc               y (the aggregate)    y
    4 joint           everything                 y + y_att            y
      joint-released  everything                 y_cls + y_att + y_sr y
      joint-attention everything (srn-att)       y + y_att            y
    1 whole           everything (any head)      y                    y
      whole-branches  everything (SRN's heads)   y and every branch   y

Source: arXiv:1702.05891, section 3.4. That step 3's loss is on the aggregate and step 4's on
y + y_att is recalled from the text (not confirmed); the authors' released training sums the
losses of the three branches and was called slightly better and more stable by an author.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

from torch import nn

from manylabel.models.classifier import Classifier

StepKind = Literal[
    "main",
    "attention",
    "regularisation",
    "joint",
    "joint-released",
    "joint-attention",
    "whole",
    "whole-branches",
]


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
    """

    number: int
    title: str
    trains: tuple[str, ...]
    losses: tuple[str, ...]
    scores: str


_EVERYTHING: Final = ("backbone", "head.main", "head.attention", "head.regularisation")

STEPS: Final[dict[StepKind, StepPlan]] = {
    "main": StepPlan(1, "main net", ("backbone", "head.main"), ("cls",), "cls"),
    "attention": StepPlan(2, "attention", ("head.attention",), ("att",), "att"),
    "regularisation": StepPlan(
        3, "spatial regularisation", ("head.regularisation",), ("final",), "final"
    ),
    "joint": StepPlan(4, "joint", _EVERYTHING, ("final", "att"), "final"),
    "joint-released": StepPlan(4, "joint", _EVERYTHING, ("cls", "att", "sr"), "final"),
    "joint-attention": StepPlan(
        4, "joint", ("backbone", "head.main", "head.attention"), ("final", "att"), "final"
    ),
    "whole": StepPlan(1, "whole net", ("backbone", "head"), ("final",), "final"),
    "whole-branches": StepPlan(
        1, "whole net", ("backbone", "head"), ("final", "cls", "att", "sr"), "final"
    ),
}
"""Kind of step to plan."""

_OF_SRN: Final[tuple[StepKind, ...]] = tuple(k for k in STEPS if k != "joint-attention")
_OWN: Final[dict[str, tuple[StepKind, ...]]] = {
    "linear": ("main", "whole"),
    "srn": _OF_SRN,
    "srn-modern": _OF_SRN,
    "semantic": ("main", "regularisation", "whole"),
    "srn-att": ("main", "attention", "joint-attention", "whole"),
}


def steps_of(head: str) -> tuple[StepKind, ...]:
    """The kinds of steps that train a head; any head can be trained whole, in one step."""
    return _OWN.get(head, ("whole",))


def train_only(
    classifier: Classifier, parts: tuple[str, ...], freeze_stages: int | None = None
) -> list[nn.Parameter]:
    """The parameters of `parts`, now trainable; the rest of the classifier is held still.

    A part that is held is in evaluation mode, so that its batch statistics do not move either.
    Evaluating puts every part into that mode: call this again before training goes on.

    Args:
        classifier: The classifier.
        parts: Modules of it, by name.
        freeze_stages: Hold the backbone's stem and so many stages after it, too.
    """
    classifier.eval()
    classifier.requires_grad_(False)
    for part in parts:
        module = classifier.get_submodule(part)
        module.train()
        module.requires_grad_(True)
    if freeze_stages is not None:
        classifier.backbone.freeze(freeze_stages)
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad]
