"""The section `quests` of a program: its form, and what does not fit in it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from questline.engine.forms import (
    INSTANT,
    NAME,
    ON,
    REQUIREMENT,
    REQUIREMENT_PROPERTIES,
    REWARDS,
    SPAN,
    TEXT,
    map_of,
    object_of,
    ref,
)
from questline.engine.program_error import ProgramError
from questline.engine.quest_steps import SINCE_METRICS, counts_since_start
from questline.model.limits import QUEST_STEPS_MAX, QUESTS_MAX
from questline.model.quests import Quest, QuestStep, StepRequirement

if TYPE_CHECKING:
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_YES_NO = {"type": "boolean"}
_STEP = object_of(
    {
        "id": NAME,
        "title": TEXT,
        "description": TEXT,
        "optional": _YES_NO,
        "manual": _YES_NO,
        "on": ON,
        "when": ref("condition"),
        "count": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
        "requirements": {
            "type": "array",
            "items": object_of({**REQUIREMENT_PROPERTIES, "since": {"enum": ["start", "ever"]}}),
            "maxItems": 20,
        },
        "match": {"enum": ["all", "any"]},
        "rewards": REWARDS,
    },
    ("id",),
)
SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "title": {**TEXT, "minLength": 1},
            "description": TEXT,
            "type": {"enum": ["daily", "weekly", "monthly", "special", "story", "event"]},
            "difficulty": {"enum": ["easy", "medium", "hard", "epic"]},
            "category": TEXT,
            "ordered": _YES_NO,
            "steps": {"type": "array", "items": _STEP, "minItems": 1, "maxItems": QUEST_STEPS_MAX},
            "prerequisites": {"type": "array", "items": REQUIREMENT, "maxItems": 20},
            "autoStart": _YES_NO,
            "autoComplete": _YES_NO,
            "timeLimit": SPAN,
            "startsAt": INSTANT,
            "endsAt": INSTANT,
            "fails": object_of({"on": ON, "when": ref("condition")}, ("on",)),
            "rewards": REWARDS,
        },
        ("title", "steps"),
    ),
    QUESTS_MAX,
)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit among the quests."""
    for name, quest in program.quests.items():
        path = f"quests.{name}"
        if quest.starts_at is not None and quest.ends_at is not None and quest.starts_at >= quest.ends_at:
            yield ProgramError(f"{path}.endsAt", "must lie after startsAt")
        for index, requirement in enumerate(quest.prerequisites):
            at = f"{path}.prerequisites[{index}]"
            yield from names.requirement(requirement, at)
            if requirement.quest == name:
                yield ProgramError(f"{at}.quest", "a quest cannot wait for itself")
        seen: set[str] = set()
        for index, step in enumerate(quest.steps):
            at = f"{path}.steps[{index}]"
            if step.id in seen:
                yield ProgramError(f"{at}.id", f"another step is called {step.id!r}")
            seen.add(step.id)
            yield from _step(names, program, name, step, at)
        if all(step.optional for step in quest.steps):
            yield ProgramError(
                f"{path}.steps", "at least one step must be required: the last required one completes it"
            )
        if quest.fails is not None:
            yield from names.condition(quest.fails.when, f"{path}.fails.when")
        yield from names.rewards(quest.rewards, f"{path}.rewards")
    yield from _circles(program.quests)


def _step(names: "Names", program: "ProgramDocument", owner: str, step: QuestStep, path: str) -> Iterator[ProgramError]:
    if step.on is None and (step.when is not None or step.count != 1):
        yield ProgramError(path, "lacks 'on': which events 'when' and 'count' speak of")
    yield from names.condition(step.when, f"{path}.when")
    yield from names.rewards(step.rewards, f"{path}.rewards")
    for index, requirement in enumerate(step.requirements):
        at = f"{path}.requirements[{index}]"
        errors = list(names.requirement(requirement, at))
        yield from errors
        if requirement.quest == owner:
            yield ProgramError(f"{at}.quest", "a quest cannot require itself")
        if not errors and counts_since_start(program.quests[owner], requirement):
            yield from _since(program, requirement, at)


def _since(program: "ProgramDocument", requirement: StepRequirement, path: str) -> Iterator[ProgramError]:
    kind, name = requirement.source
    if kind in ("currency", "progress"):
        yield ProgramError(
            f"{path}.since", f"a {kind} cannot be counted since the start; count what moves it by a metric"
        )
    if requirement.timeframe is not None:
        yield ProgramError(f"{path}.since", "a timeframe has a start of its own; write since: ever")
    if kind == "metric" and (metric := program.metrics.get(name)) is not None and metric.kind not in SINCE_METRICS:
        yield ProgramError(
            f"{path}.since", f"a metric of kind {metric.kind} cannot be counted since the start; write since: ever"
        )


def _circles(quests: Mapping[str, Quest]) -> Iterator[ProgramError]:
    """Yield an error for each quest from which prerequisites lead back to itself: it could never start."""
    waits = {name: [r.quest for r in quest.prerequisites if r.quest in quests] for name, quest in quests.items()}
    for name in quests:
        due, seen = [other for other in waits[name] if other != name], set()
        while due:
            other = due.pop()
            if other == name:
                yield ProgramError(
                    f"quests.{name}.prerequisites", "lead back to the quest itself: it could never start"
                )
                break
            if other not in seen:
                seen.add(other)
                due.extend(waits[other])  # type: ignore[index]
