"""The states of a quest and the only ways from one to another. Code moves by this table, and the docs are drawn from it."""

import msgspec

from questline.model.quests import QuestStatus


class Transition(msgspec.Struct, frozen=True):
    """From `before` to `after` on a trigger; `when` says in words what has to hold."""

    before: QuestStatus
    on: str
    after: QuestStatus
    when: str


_PERIOD = "a daily, weekly or monthly quest, when the user's day, week or month is over"

TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        QuestStatus.NOT_STARTED,
        "start",
        QuestStatus.IN_PROGRESS,
        "its prerequisites are met within its dates: by itself, or by `POST /v1/quests/{quest}/start`",
    ),
    Transition(QuestStatus.IN_PROGRESS, "complete", QuestStatus.COMPLETED, "all required steps are complete"),
    Transition(QuestStatus.IN_PROGRESS, "fail", QuestStatus.FAILED, "an event that `fails` it"),
    Transition(
        QuestStatus.IN_PROGRESS, "expire", QuestStatus.EXPIRED, "its time limit, its last date or its period is over"
    ),
    Transition(QuestStatus.COMPLETED, "reset", QuestStatus.NOT_STARTED, _PERIOD),
    Transition(QuestStatus.FAILED, "reset", QuestStatus.NOT_STARTED, _PERIOD),
    Transition(QuestStatus.EXPIRED, "reset", QuestStatus.NOT_STARTED, _PERIOD),
)

_AFTER = {(transition.before, transition.on): transition.after for transition in TRANSITIONS}


def after(before: QuestStatus, on: str) -> QuestStatus:
    """Return the state a trigger leads to; KeyError where the table has no such way, which is a defect of the caller."""
    return _AFTER[before, on]
