"""Quests as a profile shows them: their status as of now, with the progress of each step."""

from datetime import datetime, tzinfo
from typing import cast

import msgspec

from questline.engine import quests
from questline.engine.compile import Program
from questline.engine.quest_steps import is_open, quest_progress, step_progress
from questline.engine.quests import CompiledQuest
from questline.engine.requirements import Reader
from questline.model.quests import QuestState, QuestStatus
from questline.model.records import RecordKind
from questline.model.state import UserState


class QuestStepView(msgspec.Struct, frozen=True, rename="camel"):
    """`progress` runs from 0 to 1; `open`: the step can be worked on now. `manual`: the customer completes it."""

    step: str
    title: str
    description: str
    optional: bool
    manual: bool
    open: bool
    complete: bool
    progress: float


class QuestView(msgspec.Struct, frozen=True, rename="camel"):
    """The status is as of now: a run whose time is over is EXPIRED, and one of a past day NOT_STARTED again.

    `available`: it can be started now. `times`: how often it was completed. `progress`: the mean of the required steps'.
    """

    quest: str
    title: str
    description: str
    type: str
    difficulty: str
    category: str
    status: str
    available: bool
    times: int
    started_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    progress: float
    steps: list[QuestStepView]


def quest_views(program: Program, state: UserState, reader: Reader, now: datetime, zone: tzinfo) -> list[QuestView]:
    """Return the program's quests as of now, in its order."""
    return [_view(quest, state, reader, now, zone) for quest in program.quests.values()]


def _view(quest: CompiledQuest, state: UserState, reader: Reader, now: datetime, zone: tzinfo) -> QuestView:
    definition = quest.definition
    stored = cast(QuestState | None, state.records.get((RecordKind.QUEST, quest.name)))
    run = quests.as_of(definition, stored, now, zone)
    idle = run.status is QuestStatus.NOT_STARTED
    steps = [
        QuestStepView(
            step.id,
            step.title,
            step.description,
            step.optional,
            step.waits_for_customer,
            run.status is QuestStatus.IN_PROGRESS and is_open(definition, step, run.done),
            step.id in run.done,
            0.0 if idle else round(step_progress(definition, step, run, reader), 4),
        )
        for step in definition.steps
    ]
    progress = quest_progress(definition, {step.step: step.progress for step in steps})
    return QuestView(
        quest.name,
        definition.title,
        definition.description,
        definition.type,
        definition.difficulty,
        definition.category,
        run.status.value,
        idle and quest.within_dates(now) and quests.missing_prerequisite(definition, reader) is None,
        run.times,
        run.started_at,
        run.deadline,
        run.ended_at,
        round(progress, 4),
        steps,
    )
