"""What customers and workers ask of quests: start, complete a step, complete, expire."""

from typing import TYPE_CHECKING, cast

from questline.engine import quests
from questline.engine.quest_steps import first_missing, is_met, is_open
from questline.engine.quests import CompiledQuest
from questline.engine.refusal import Refusal
from questline.model.event import Event
from questline.model.quests import QuestState, QuestStatus, QuestStep
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind

if TYPE_CHECKING:
    from datetime import tzinfo

    from questline.engine.draft import Draft


def start(draft: "Draft") -> None:
    """`$quest_start` {quest}: begin a run, or refuse where its state, its dates or a prerequisite forbid it."""
    quest = _named(draft)
    state = quests.found(draft, quest)
    if state is None or state.status is not QuestStatus.NOT_STARTED:
        raise _in_the_way(quest, state)
    at = draft.event.occurred_at
    if not quest.within_dates(at):
        late = quest.ends_at is not None and at >= quest.ends_at
        raise Refusal(
            Reason.QUEST_STATE,
            f"{quest.name!r} {f'ended at {quest.ends_at}' if late else f'begins at {quest.starts_at}'}",
        )
    missing = quests.missing_prerequisite(quest.definition, draft)
    if missing is not None:
        kind, name = missing.source
        raise Refusal(
            Reason.REQUIREMENT_NOT_MET,
            f"{quest.name!r} needs {kind} {name!r} {missing.operator} {missing.threshold}",
        )
    quests.start(draft, quest, state, draft)


def complete_step(draft: "Draft") -> None:
    """`$quest_step` {quest, step}: complete a step that the customer decides, or refuse."""
    quest = _named(draft)
    step = _step(draft, quest)
    state = _under_way(draft, quest)
    if step.id in state.done:
        raise Refusal(Reason.QUEST_STATE, f"step {step.id!r} of {quest.name!r} is complete already")
    if not step.waits_for_customer:
        raise Refusal(
            Reason.INVALID_COMMAND, f"step: {step.id!r} is completed by what it counts and requires; it is not 'manual'"
        )
    if not is_open(quest.definition, step, state.done):
        missing = first_missing(quest.definition, state.done)
        raise Refusal(Reason.REQUIREMENT_NOT_MET, f"step {missing!r} of {quest.name!r} comes before {step.id!r}")
    if not is_met(quest.definition, step, state, draft):
        raise Refusal(Reason.REQUIREMENT_NOT_MET, f"what step {step.id!r} of {quest.name!r} requires is not met")
    quests.complete_step(draft, quest, state, step)
    quests.settle(draft, quest)
    draft.quests.add(quest.name)


def complete(draft: "Draft") -> None:
    """`$quest_complete` {quest}: complete the quest, or refuse while a required step is missing."""
    quest = _named(draft)
    _under_way(draft, quest)
    if not quests.settle(draft, quest):
        state = _under_way(draft, quest)
        missing = [s.id for s in quest.definition.steps if not s.optional and s.id not in state.done]
        if missing:
            raise Refusal(
                Reason.REQUIREMENT_NOT_MET, f"{quest.name!r} lacks {', '.join(map(repr, missing))}, which it requires"
            )
        quests.complete(draft, quest, state)
    draft.quests.add(quest.name)


def expire(draft: "Draft") -> None:
    """`$quest_expire` {quest}: note that the time of a run is over; nothing where it ended before, or another is under way.

    The run is known by its deadline alone, so that one of a quest that the program no longer has ends as well.
    """
    kind, name = expiring(draft.event)
    state = cast(QuestState | None, draft.record(kind, name))
    if state is not None:
        lapsed = quests.lapse(state, draft.event.occurred_at)
        if lapsed is not state:
            quests.expire(draft, name, lapsed)


def expire_keys(event: Event, _: "tzinfo") -> tuple[RecordKey, ...]:
    """Return the record that a `$quest_expire` names."""
    return (expiring(event),)


def expiring(event: Event) -> RecordKey:
    """Return the record of the quest that an event names."""
    return RecordKind.QUEST, str(event.payload.get("quest"))


def _named(draft: "Draft") -> CompiledQuest:
    name = draft.event.payload.get("quest")
    quest = draft.program.quests.get(name) if isinstance(name, str) else None
    if quest is None:
        raise Refusal(Reason.UNKNOWN_QUEST, f"the program has no quest {name!r}")
    return quest


def _step(draft: "Draft", quest: CompiledQuest) -> QuestStep:
    id_ = draft.event.payload.get("step")
    for step in quest.definition.steps:
        if step.id == id_:
            return step
    raise Refusal(Reason.UNKNOWN_QUEST, f"{quest.name!r} has no step {id_!r}")


def _under_way(draft: "Draft", quest: CompiledQuest) -> QuestState:
    """Return the run under way, started where the quest starts by itself; raises Refusal where there is none."""
    state = quests.running(draft, quest, (lambda: draft,))
    if state is None:
        raise _in_the_way(quest, quests.found(draft, quest))
    return state


def _in_the_way(quest: CompiledQuest, state: QuestState | None) -> Refusal:
    if state is None:
        return Refusal(Reason.QUEST_STATE, f"a later run of {quest.name!r} has begun")
    return Refusal(Reason.QUEST_STATE, f"{quest.name!r} is {state.status.value}")
