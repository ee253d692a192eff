"""The metric definitions of each project, as data: what its own evaluation code does.

Each definition was read in the code that its profile names as the source. No code is copied. If
that code sorts equal scores in no defined order, the order of the images is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

from manylabel.metrics.decisions import MANYLABEL_F1, SRN_F1, DecideRule
from manylabel.metrics.f1 import F1Rule
from manylabel.metrics.ranking import GROUPED, INTERPOLATED, APRule


@final
@dataclass(frozen=True, kw_only=True)
class Profile:
    """The metric definitions of one project.

    Args:
        name: The name of the profile.
        source: The project, its paper and the code in which the definitions were read.
        ap: Its average precision and mAP.
        decide: How it decides; None if it has no metrics of decisions.
        f1: Its precision, recall and F1; None if it has no metrics of decisions.
        remark: What else changes the project's numbers and is not done here: a part of a sentence.
    """

    name: str
    source: str
    ap: APRule
    decide: DecideRule | None
    f1: F1Rule | None
    remark: str = ""

    def __post_init__(self) -> None:
        assert (self.decide is None) == (self.f1 is None), self.name

    @property
    def aspects(self) -> dict[str, str]:
        """The choices of the profile, in a few words each; all profiles have the same keys."""
        words = {
            "formula": _FORMULA[self.ap.formula],
            "ties": _TIES[self.ap.ties],
            "empty in mAP": _EMPTY[self.ap.empty],
            "unknown in AP": _UNKNOWN[self.ap.unknown].format("AP"),
        }
        if self.decide is None or self.f1 is None:
            return words | dict.fromkeys(_DECISION_ASPECTS, _NO_DECISIONS)
        return words | {
            "decided": f"decided where score {self.decide.reached} {self.decide.threshold:g}",
            "unknown in F1": _UNKNOWN[self.f1.unknown].format("F1"),
            "CF1": _CF1[self.f1.cf1],
            "never predicted": _NEVER_PREDICTED[self.f1.never_predicted],
            "without a positive": _WITHOUT_POSITIVE[self.f1.without_positive],
            "pooled": _POOLED[self.f1.pooled],
            "F1 of zeros": _BOTH_ZERO[self.f1.both_zero],
            "top-3": _TOP3[self.decide.top3],
        }

    @property
    def definition(self) -> str:
        """All aspects in one sentence, which is printed beside the metrics."""
        return self.defined()

    def defined(self, decided: str = "") -> str:
        """All aspects in one sentence.

        Args:
            decided: How labels were decided, in words, if not as the profile does.
        """
        words = {**self.aspects, **({"decided": decided} if decided else {})}
        first = f"{words.pop('formula')}, {words.pop('ties')}"
        omitted = (_POOLED["as a label"], _BOTH_ZERO["zero"])
        others = [word for word in dict.fromkeys(words.values()) if word not in omitted]
        return "; ".join([first, *others, *([self.remark] if self.remark else [])]) + "."


_FORMULA: Final = {
    "not interpolated": "AP not interpolated",
    "interpolated": "AP interpolated at all points",
    "11-point": "AP interpolated at 11 recalls",
}
_TIES: Final = {
    "grouped": "tied scores grouped",
    "in input order": "ties in the order of the data set",
    "in reversed order": "ties in the reversed order of the data set",
}
_EMPTY: Final = {
    "skipped": "labels without a positive are skipped in mAP",
    "zero": "labels without a positive count as AP 0 in mAP",
    "undefined": "mAP has no value if a label has no positive",
}
_UNKNOWN: Final = {
    "left out": "unknown targets are left out of {}",
    "absent": "unknown targets count as absent in {}",
}
_CF1: Final = {
    "harmonic mean": "CF1 is the harmonic mean of CP and CR",
    "mean of F1": "CF1 is the mean of the labels' F1",
}
_NEVER_PREDICTED: Final = {
    "zero": "precision is 0 where nothing is predicted",
    "one": "precision is 1 where nothing is predicted",
}
_WITHOUT_POSITIVE: Final = {
    "skipped": "labels without a positive are skipped in CP and CR",
    "zero": "recall is 0 for labels without a positive",
    "one": "recall is 1 for labels without a positive",
    "undefined": "CR and CF1 have no value if a label has no positive",
}
_POOLED: Final = {
    "as a label": "OP and OR as for a label",
    "undefined": "OP has no value where nothing is predicted, OR none where nothing is present",
    "once a label": "OP takes a label that is never predicted as predicted once",
}
_BOTH_ZERO: Final = {
    "zero": "F1 of two zeros is 0",
    "undefined": "CF1 or OF1 of two zeros has no value",
}
_TOP3: Final = {
    "exactly three": "top-3 takes exactly three labels an image",
    "three known": "top-3 takes exactly three labels an image, of those whose truth is known",
    "at most three": "top-3 takes at most three labels an image, each one decided",
    "third best": "top-3 takes what scores as high as the third best label, each one decided",
    "none": "no top-3 figures",
}
_NO_DECISIONS: Final = "no precision, recall or F1"
_DECISION_ASPECTS: Final = (
    "decided",
    "unknown in F1",
    "CF1",
    "never predicted",
    "without a positive",
    "pooled",
    "F1 of zeros",
    "top-3",
)


_IN_ORDER: Final = APRule(
    formula="not interpolated", ties="in input order", empty="undefined", unknown="left out"
)
"""The mean of the precision at each positive; images are taken one after the other."""

_ZERO_F1: Final = F1Rule(
    unknown="left out",
    never_predicted="zero",
    without_positive="zero",
    cf1="mean of F1",
    pooled="as a label",
    both_zero="zero",
)
"""A division by 0 gives 0, and means are over all labels."""

_ML_GCN_F1: Final = F1Rule(
    unknown="absent",
    never_predicted="zero",
    without_positive="undefined",
    cf1="harmonic mean",
    pooled="once a label",
    both_zero="undefined",
)

_PROFILES: Final = (
    Profile(
        name="manylabel",
        source="manylabel",
        ap=GROUPED,
        decide=DecideRule(threshold=0.5, reached=">=", top3="three known"),
        f1=MANYLABEL_F1,
    ),
    Profile(
        name="srn",
        source="SRN (arXiv:1702.05891): AP_VOC.m, get_mAP_eccv16.m, precision_recall_f1.m",
        ap=replace(INTERPOLATED, empty="undefined"),
        decide=DecideRule(threshold=0.5, reached=">", top3="at most three"),
        f1=SRN_F1,
    ),
    Profile(
        name="asl",
        source="ASL (arXiv:2009.14119): validate.py, helper_functions.py",
        ap=APRule(
            formula="not interpolated", ties="in reversed order", empty="zero", unknown="absent"
        ),
        decide=DecideRule(threshold=0.8, reached=">", top3="none"),
        f1=replace(_ZERO_F1, unknown="absent", pooled="undefined", both_zero="undefined"),
        remark="ASL measures no images without a label (40,137 of MS-COCO's 40,504 are left)",
    ),
    Profile(
        name="ml-gcn",
        source="ML-GCN (arXiv:1904.03582): util.py, engine.py",
        ap=_IN_ORDER,
        decide=DecideRule(threshold=0.5, reached=">=", top3="at most three"),
        f1=_ML_GCN_F1,
    ),
    Profile(
        name="csra",
        source="CSRA (arXiv:2108.02456): cal_mAP.py, cal_PR.py",
        ap=_IN_ORDER,
        decide=DecideRule(threshold=0.5, reached=">=", top3="at most three"),
        f1=_ML_GCN_F1,
        remark="on VOC 2007 CSRA leaves unknown targets out of F1, too",
    ),
    Profile(
        name="q2l",
        source="Query2Label (arXiv:2107.10834): metric.py",
        ap=replace(INTERPOLATED, empty="undefined", unknown="absent"),
        decide=None,
        f1=None,
        remark="Query2Label measures images twice that fill up the last batches of processes",
    ),
    Profile(
        name="c-tran",
        source="C-Tran (arXiv:2011.14027): metrics.py, evaluate.py, with scikit-learn",
        ap=GROUPED,
        decide=DecideRule(threshold=0.5, reached=">=", top3="third best"),
        f1=replace(_ZERO_F1, unknown="absent", cf1="harmonic mean", both_zero="undefined"),
        remark="labels are skipped in mAP where some are known to the model; else all count",
    ),
    Profile(
        name="mmpretrain",
        source="mmpretrain 1: AveragePrecision, MultiLabelMetric",
        ap=replace(_IN_ORDER, empty="zero"),
        decide=DecideRule(threshold=0.5, reached=">=", top3="exactly three"),
        f1=_ZERO_F1,
    ),
    Profile(
        name="paddle",
        source="PaddleClas: MultiLabelMAP",
        ap=APRule(
            formula="not interpolated", ties="in reversed order", empty="skipped", unknown="absent"
        ),
        decide=None,
        f1=None,
        remark="PaddleClas gives mAP 0 where no label has a positive, "
        "and reverses ties within each batch",
    ),
    Profile(
        name="sklearn",
        source="scikit-learn: average_precision_score, precision_recall_fscore_support",
        ap=replace(GROUPED, empty="zero"),
        decide=DecideRule(threshold=0.5, reached=">=", top3="none"),
        f1=_ZERO_F1,
        remark="scikit-learn takes no unknown targets: they are left out label by label",
    ),
    Profile(
        name="torchmetrics",
        source="torchmetrics 1: MultilabelAveragePrecision(thresholds=None), MultilabelF1Score",
        ap=replace(GROUPED, empty="zero"),
        decide=DecideRule(threshold=0.5, reached=">", top3="none"),
        f1=_ZERO_F1,
    ),
    Profile(
        name="voc07",
        source="PASCAL VOC 2007 (IJCV 88, 2010): VOCevalcls.m",
        ap=APRule(formula="11-point", ties="in input order", empty="zero", unknown="left out"),
        decide=None,
        f1=None,
        remark="MATLAB's 0:0.1:1 misses a recall of exactly 0.3, which is counted here",
    ),
)

PROFILES: Final[dict[str, Profile]] = {profile.name: profile for profile in _PROFILES}
"""Every profile by name; manylabel's own is the first."""
