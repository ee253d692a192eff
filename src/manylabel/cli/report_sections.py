"""Sections of a report about the inside of models: explanations, relations, shortcuts.

`evaluate` and `explain` do not see each other. So the sections are drawn here, and the report gets
them as HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, final

from manylabel.cli.shared import progress
from manylabel.errors import ConfigError, DataError, ManylabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from manylabel.data.records import Records
    from manylabel.evaluate.report.content import Report
    from manylabel.html import PageSection
    from manylabel.predict import Predictor

ALL: Final = "all"
"""The word for all sections that a model and a data set can have."""

Model = tuple[str, "Predictor"]
"""A bundle's name with its predictor."""


@final
@dataclass(frozen=True, slots=True)
class _Subject:
    """What a section is drawn of.

    Args:
        name: The bundle.
        predictor: Its model.
        records: The images of the report.
        scores: The model's scores of these images, [N, C], in the order of the model's labels.
        anchor: The id of the section.
        mark: What follows its heading.
    """

    name: str
    predictor: Predictor
    records: Records
    scores: NDArray[Any]
    anchor: str
    mark: str


@final
@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of section: what raises if a model cannot have it, and what draws it."""

    require: Callable[[Predictor, Records], Any]
    draw: Callable[[_Subject], PageSection]


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """The sections to draw.

    Args:
        sections: The names of sections, each with the positions of the models that can have it.
        notes: What is left out, and why, one sentence each.
    """

    sections: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]


def named_sections(text: str) -> tuple[str, ...]:
    """The sections that the value of --add names; `all` stays one word.

    Raises:
        ConfigError: There is no such section.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in KINDS and name != ALL:
            close = get_close_matches(name, [*KINDS, ALL], n=1)
            raise ConfigError(
                f"A report has no section '{name}'.",
                where="--add",
                fix=(f"Did you mean '{close[0]}'? " if close else "")
                + f"There are: {', '.join(KINDS)}; or {ALL}.",
            )
    return names


def plan_sections(wanted: Sequence[str], models: Sequence[Model], records: Records) -> Plan:
    """Which models get which sections. All that can be checked is checked before the work.

    Args:
        wanted: The names of sections, or `all` for those that at least one model can have.
        models: The models of the report.
        records: The images.

    Raises:
        ConfigError: No model can have a section that was named.
        DataError: The labels of the data set are not those of a model.
    """
    if not wanted:
        return Plan({}, ())
    for _, predictor in models:
        records.relabelled(predictor.labels)
    names = KINDS if ALL in wanted else wanted
    reasons = {name: [_reason(KINDS[name], each, records) for _, each in models] for name in KINDS}
    able = {name: _without_reason(reasons[name]) for name in KINDS}
    for name in names:
        if not able[name] and ALL not in wanted:
            raise _impossible(name, reasons[name], [other for other in KINDS if able[other]])
    notes = [
        f"{models[i][0]} has no section {name}. {reason.what.rstrip('.')}"
        for name in names
        for i, reason in enumerate(reasons[name])
        if reason is not None
    ]
    return Plan({name: able[name] for name in KINDS if name in names and able[name]}, tuple(notes))


def with_sections(report: Report, plan: Plan, models: Sequence[Model]) -> Report:
    """The report with the sections of the plan, which are drawn of the images of the report."""
    drawn: list[PageSection] = []
    for name, able in plan.sections.items():
        for i in able:
            title, predictor = models[i]
            own = [report.truth.labels.index(label) for label in predictor.labels]
            letter = "AB"[i] if len(models) > 1 else ""
            subject = _Subject(
                title,
                predictor,
                report.truth,
                report.models[i].scores[:, own],
                anchor=f"{name}-{letter.lower()}" if letter else name,
                mark=f" ({letter})" if letter else "",
            )
            drawn.append(KINDS[name].draw(subject))
    return replace(report, sections=tuple(drawn), notes=(*report.notes, *plan.notes))


def _reason(kind: _Kind, predictor: Predictor, records: Records) -> ManylabelError | None:
    """Why a model cannot have a section; None if it can."""
    try:
        kind.require(predictor, records)
    except (ConfigError, DataError) as error:
        return error
    return None


def _without_reason(reasons: Sequence[ManylabelError | None]) -> tuple[int, ...]:
    return tuple(i for i, reason in enumerate(reasons) if reason is None)


def _impossible(
    name: str, reasons: Sequence[ManylabelError | None], possible: Sequence[str]
) -> ConfigError:
    reason = next(each for each in reasons if each is not None)
    others = f"Or give --add {','.join(possible)}." if possible else "Or leave out --add."
    return ConfigError(
        f"The report cannot have the section {name}: {_lowered(reason.what)}",
        where=f"--add {name}",
        fix=f"{reason.fix} {others}",
    )


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _require_scores(predictor: Predictor, records: Records) -> None:
    from manylabel.explain.scores.scoring import ScoreSettings, require_scorable

    require_scorable(predictor, records, ScoreSettings())


def _scores(subject: _Subject) -> PageSection:
    from manylabel.explain.scores.page import scores_section
    from manylabel.explain.scores.scoring import ScoreSettings, score_explanations

    settings = ScoreSettings(removal_pairs=0)  # insertion and deletion would take most of the time
    found = score_explanations(subject.predictor, subject.records, settings, stage=progress)
    return scores_section(found, anchor=subject.anchor, mark=subject.mark)


def _require_relations(predictor: Predictor, records: Records) -> None:
    from manylabel.explain.relations.stream import relation_probe

    relation_probe(predictor)


def _relations(subject: _Subject) -> PageSection:
    from manylabel.explain.relations.measure import measure_relations
    from manylabel.explain.relations.page import make_page, relations_section

    with progress("relations", len(subject.records)) as bar:
        found = measure_relations(
            subject.predictor, subject.records, on_progress=bar.done, on_work=bar.say
        )
    page = make_page(subject.predictor, found, title=subject.name)
    return relations_section(page, anchor=subject.anchor, mark=subject.mark)


def _require_audit(predictor: Predictor, records: Records) -> None:
    from manylabel.explain.audit.run import AuditSettings, require_auditable

    require_auditable(predictor, records, AuditSettings())


def _audit(subject: _Subject) -> PageSection:
    from manylabel.explain.audit.page import audit_section
    from manylabel.explain.audit.run import audit

    with progress("hiding", len(subject.records)) as bar:
        found = audit(subject.predictor, subject.records, subject.scores, on_progress=bar.done_of)
    return audit_section(found, anchor=subject.anchor, mark=subject.mark)


KINDS: Final = {
    "explanations": _Kind(_require_scores, _scores),
    "relations": _Kind(_require_relations, _relations),
    "audit": _Kind(_require_audit, _audit),
}
"""The sections by name, in the order of the page."""
