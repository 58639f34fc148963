"""Quests: started, counted, settled and ended. Every move goes by the table in engine/quest_states.py.

A quest is looked at when an event counts for one of its steps, and when something that it requires has changed. What time
alone does to it (its end, the next period) is worked out from the stored state by whoever reads it: see `as_of`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, cast

import msgspec

from questline.engine.conditions import Test, compile_condition
from questline.engine.quest_states import after
from questline.engine.quest_steps import baselines, counted_from_start, first_missing, is_met, is_open
from questline.engine.requirements import Reader, meets, value_of
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.program import concerns, types_of
from questline.model.quests import Quest, QuestState, QuestStatus, QuestStep
from questline.model.records import RecordKind
from questline.model.requirements import Requirement

if TYPE_CHECKING:
    from questline.engine.draft import Draft

NEVER = QuestState()  # of a user who has not started it
_FOREVER = datetime.max.replace(tzinfo=UTC)
_replace = msgspec.structs.replace


class CompiledQuest:
    """A quest ready to be played: what it listens to compiled."""

    def __init__(self, name: str, quest: Quest) -> None:
        self.name = name
        self.definition = quest
        self.starts_at = quest.starts_at
        self.ends_at = quest.ends_at
        self._counting = [(s, types_of(s.on), _test(s.when)) for s in quest.steps if s.on is not None]
        self._failing = (types_of(quest.fails.on), _test(quest.fails.when)) if quest.fails else None
        heard = [types for _, types, _ in self._counting] + ([self._failing[0]] if self._failing else [])
        self.counted_from_start = counted_from_start(quest)
        self.on = tuple(sorted(frozenset().union(*heard)))  # the event types it listens to

    def within_dates(self, at: datetime) -> bool:
        """Tell whether an instant lies from `startsAt` to before `endsAt`."""
        return (self.starts_at is None or at >= self.starts_at) and (self.ends_at is None or at < self.ends_at)

    def counted_by(self, draft: "Draft") -> list[QuestStep]:
        """Return the steps whose events the event is one of."""
        type_ = draft.event.type
        return [step for step, types, test in self._counting if concerns(types, type_) and test(draft.view)]

    def failed_by(self, draft: "Draft") -> bool:
        """Tell whether the event is one that fails the quest."""
        if self._failing is None or not concerns(self._failing[0], draft.event.type):
            return False
        return self._failing[1](draft.view)


def _test(when: object) -> Test:
    return compile_condition(cast(dict[str, object], when)) if when is not None else lambda _: True


def compile_listener(quest: CompiledQuest) -> Callable[["Draft"], None]:
    """Return the closure that counts an event for the steps it concerns, or fails the quest by it."""
    return lambda draft: _hear(draft, quest)


def compile_settling(quest: CompiledQuest) -> Callable[["Draft"], bool]:
    """Return the closure that completes what is met, and tells whether the quest was completed by that."""
    return lambda draft: settle(draft, quest)


# What time does.


def lapse(state: QuestState, at: datetime) -> QuestState:
    """Return the state as of an instant: expired once its deadline has passed.

    The deadline holds the end of the period it began in, so that a date that a journey brings sooner ends nothing.
    """
    if state.status is not QuestStatus.IN_PROGRESS or state.deadline is None or at < state.deadline:
        return state
    return _replace(state, status=after(state.status, "expire"), ended_at=state.deadline)


def as_of(quest: Quest, state: QuestState | None, at: datetime, zone: tzinfo) -> QuestState:
    """Return the state as of an instant in the user's zone, whether or not an event has said so yet."""
    if state is None:
        return NEVER
    state = lapse(state, at)
    if quest.every is not None and _is_over(state, at):
        period = calendar.period_number(quest.every, at, zone)
        if period > state.period:
            return QuestState(status=after(state.status, "reset"), times=state.times, period=period)
    return state


def _is_over(state: QuestState, at: datetime) -> bool:
    """Tell whether an instant lies behind the end of a run; the event that completes or fails one is still of it."""
    if state.ended_at is None:
        return False
    return at > state.ended_at or (at == state.ended_at and state.status is QuestStatus.EXPIRED)


def status_of(draft: "Draft", name: str) -> QuestStatus:
    """Return a quest's status at the event's time."""
    state = cast(QuestState | None, draft.record(RecordKind.QUEST, name))
    return as_of(draft.program.quests[name].definition, state, draft.event.occurred_at, draft.zone).status


def found(draft: "Draft", quest: CompiledQuest) -> QuestState | None:
    """Return the run the event falls into, and note where its time is over; None for an event of an earlier period."""
    state = cast(QuestState | None, draft.record(RecordKind.QUEST, quest.name)) or NEVER
    at, every = draft.event.occurred_at, quest.definition.every
    period = calendar.period_number(every, at, draft.zone) if every is not None else None
    if period is not None and period < state.period and (state.started_at is None or at < state.started_at):
        return None  # later than the start, it is of this run: the user's clock went back a date on a journey west
    lapsed = lapse(state, at)
    if lapsed is not state:
        expire(draft, quest.name, lapsed)
    return as_of(quest.definition, lapsed, at, draft.zone)


def expire(draft: "Draft", name: str, lapsed: QuestState) -> None:
    """Write down that a run's time is over."""
    put(draft, name, lapsed)
    draft.notice("quest.expired", quest=name, expiredAt=lapsed.ended_at)


# What events do.


def _hear(draft: "Draft", quest: CompiledQuest) -> None:
    if quest.failed_by(draft):
        state = found(draft, quest)
        if state is not None and state.status is QuestStatus.IN_PROGRESS:
            put(draft, quest.name, _ended(draft, state, "fail"))
            draft.notice("quest.failed", quest=quest.name)
            return
    steps = quest.counted_by(draft)
    if steps:
        _count(draft, quest, steps)


def _count(draft: "Draft", quest: CompiledQuest, steps: Iterable[QuestStep]) -> None:
    """Count the event for the steps that are open before it; what opens the quest only now is not counted for it."""
    definition = quest.definition
    state = running(draft, quest, (draft.before,))
    if state is None or state.started_at is None:
        return
    at = draft.event.occurred_at
    if at < state.started_at:
        if not definition.auto_start or definition.time_limit is not None or not quest.within_dates(at):
            return
        state = _replace(state, started_at=at)  # it would have begun with this event, had that come first
    open_steps = [s for s in steps if is_open(definition, s, state.done) and state.counts.get(s.id, 0) < s.count]
    if open_steps:
        counts = state.counts | {s.id: state.counts.get(s.id, 0) + 1 for s in open_steps}
        put(draft, quest.name, _replace(state, counts=counts))
    draft.quests.add(quest.name)  # counted or not: a newer program may ask for no more than is counted already


def settle(draft: "Draft", quest: CompiledQuest) -> bool:
    """Complete every step that is met, and the quest with its last required one; tell whether the quest was completed.

    A quest that starts by itself is started where its prerequisites are met. Where they were met before this event, the
    event itself counts; where it is what met them, it does not.
    """
    state = running(draft, quest, (draft.before, lambda: draft))
    if state is None:
        return False
    definition = quest.definition
    while step := _next_met(draft, quest, state):
        state = complete_step(draft, quest, state, step)
    if first_missing(definition, state.done) is not None or not definition.auto_complete:
        return False
    complete(draft, quest, state)
    return True


def _next_met(draft: "Draft", quest: CompiledQuest, state: QuestState) -> QuestStep | None:
    definition = quest.definition
    for step in definition.steps:
        if (
            not step.waits_for_customer
            and is_open(definition, step, state.done)
            and is_met(definition, step, state, draft)
        ):
            return step
    return None


def running(draft: "Draft", quest: CompiledQuest, readers: Iterable[Callable[[], Reader]]) -> QuestState | None:
    """Return the run under way, started here where the quest starts by itself; None where there is none to be had.

    The first of `readers` by which the prerequisites are met is where counting since the start begins from.
    """
    state = found(draft, quest)
    if state is None:
        return None
    if state.status is QuestStatus.IN_PROGRESS:
        return _with_new_baselines(draft, quest, state)
    if state.status is not QuestStatus.NOT_STARTED or not quest.definition.auto_start:
        return None
    if not quest.within_dates(draft.event.occurred_at):
        return None
    for read in readers:
        reader = read()
        if missing_prerequisite(quest.definition, reader) is None:
            return start(draft, quest, state, reader)
    return None


def missing_prerequisite(quest: Quest, reader: Reader) -> Requirement | None:
    """Return the first prerequisite that is not met."""
    return next((r for r in quest.prerequisites if not meets(r, value_of(r, reader))), None)


def start(draft: "Draft", quest: CompiledQuest, state: QuestState, reader: Reader) -> QuestState:
    """Begin a run at the event's time."""
    definition, at, zone = quest.definition, draft.event.occurred_at, draft.zone
    period, ends = 0, [quest.ends_at or _FOREVER]
    if definition.every is not None:
        period = calendar.period_number(definition.every, at, zone)
        ends.append(calendar.period_end(definition.every, period, zone))
    if definition.time_limit is not None:
        ends.append(at + timedelta(seconds=definition.time_limit.seconds))
    deadline = min(ends)
    begun = QuestState(
        status=after(state.status, "start"),
        times=state.times,
        period=period,
        started_at=at,
        deadline=None if deadline is _FOREVER else deadline,
        since=baselines(quest.counted_from_start, draft.program.streaks, reader, at, zone),
    )
    put(draft, quest.name, begun)
    draft.notice("quest.started", quest=quest.name, expiresAt=begun.deadline)
    draft.quests.add(quest.name)
    return begun


def _with_new_baselines(draft: "Draft", quest: CompiledQuest, state: QuestState) -> QuestState:
    """A requirement that a newer program added counts from before this event on."""
    if quest.counted_from_start.keys() <= state.since.keys():
        return state
    at = draft.event.occurred_at
    wanted = baselines(quest.counted_from_start, draft.program.streaks, draft.before(), at, draft.zone)
    state = _replace(state, since=wanted | state.since)
    put(draft, quest.name, state)
    return state


def complete_step(draft: "Draft", quest: CompiledQuest, state: QuestState, step: QuestStep) -> QuestState:
    """Complete one step and give its rewards."""
    state = _replace(state, done=(*state.done, step.id))
    put(draft, quest.name, state)
    draft.notice("quest.step_completed", quest=quest.name, step=step.id)
    give(draft, step.rewards, 1, f"quest:{quest.name}:{step.id}")
    return state


def complete(draft: "Draft", quest: CompiledQuest, state: QuestState) -> None:
    """Complete the quest and give its rewards."""
    ended = _replace(_ended(draft, state, "complete"), times=state.times + 1)
    put(draft, quest.name, ended)
    draft.notice("quest.completed", quest=quest.name, times=ended.times)
    give(draft, quest.definition.rewards, 1, f"quest:{quest.name}")


def _ended(draft: "Draft", state: QuestState, on: str) -> QuestState:
    return _replace(state, status=after(state.status, on), ended_at=draft.event.occurred_at)


def put(draft: "Draft", name: str, state: QuestState) -> None:
    """Give the quest its new state."""
    draft.put(RecordKind.QUEST, name, state, f"quest:{name}")
