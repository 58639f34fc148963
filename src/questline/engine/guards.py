"""Guards run before all else an event does: what they find is flagged, held for review, refused, or blocks the user."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec

from questline.engine.conditions import Test, compile_condition
from questline.engine.fields import split_field
from questline.engine.forms import NAME, ON, TEXT, WHOLE_KEY, map_of, object_of, ref
from questline.engine.guard_kinds import Check, compile_check
from questline.engine.program_error import ProgramError
from questline.engine.refusal import Held, Refusal
from questline.model.event import APPROVE, BLOCK, DENY, PROFILE_UPDATE, UNBLOCK
from questline.model.guards import ACTIONS, Action, BlockState, Guard, ReviewState, Suspicion, SuspicionState, Trip
from questline.model.limits import (
    GUARD_SCORE_MAX,
    GUARD_SPREAD_MAX,
    GUARD_TIMES_MAX,
    GUARD_WINDOW_SECONDS_MAX,
    GUARDS_MAX,
)
from questline.model.program import types_of
from questline.model.reasons import Reason
from questline.model.records import SELF, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_FIELD = {"type": "string", "minLength": 1, "maxLength": 256}
_UNIT = {"enum": ["seconds", "minutes", "hours", "days"]}
_DURATION = {"type": "integer", "minimum": 1, "maximum": GUARD_WINDOW_SECONDS_MAX}
_SPREAD = {"type": "integer", "minimum": 1, "maximum": GUARD_SPREAD_MAX}
_ACTION = {"enum": [*ACTIONS]}

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "kind": {"enum": ["rate", "gap", "bounds", "jump", "sequence", "duplicate", "spread"]},
            "on": ON,
            "when": ref("condition"),
            "window": object_of({"duration": _DURATION, "unit": _UNIT}, ("duration", "unit")),
            "times": {"type": "integer", "minimum": 1, "maximum": GUARD_TIMES_MAX},
            "field": _FIELD,
            "min": {"type": "number"},
            "max": {"type": "number"},
            "by": {"type": "number", "minimum": 0},
            "factor": {"type": "number", "minimum": 1},
            "after": {"type": "string", "minLength": 1, "maxLength": 128},
            "match": _FIELD,
            "fields": {"type": "array", "items": _FIELD, "minItems": 1, "maxItems": 20, "uniqueItems": True},
            "across": {"enum": ["user", "users"]},
            "users": _SPREAD,
            "values": _SPREAD,
            "action": _ACTION,
            "score": {"type": "integer", "minimum": 0, "maximum": GUARD_SCORE_MAX},
            "title": TEXT,
            "enabled": {"type": "boolean"},
        },
        ("kind", "on"),
    ),
    GUARDS_MAX,
    NAME,
)
SUSPICION_SCHEMA: dict[str, Any] = object_of(
    {
        "decay": object_of(
            {
                "points": {"type": "integer", "minimum": 1, "maximum": GUARD_SCORE_MAX},
                "every": _DURATION,
                "unit": _UNIT,
            },
            ("points", "every"),
        ),
        "actions": map_of(_ACTION, 20, WHOLE_KEY),
    }
)

# Members that only some kinds have: those that a kind must have, and those that it may.
MEMBERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rate": (("window", "times"), ()),
    "gap": (("window",), ()),
    "bounds": (("field",), ("min", "max")),
    "jump": (("field",), ("by", "factor", "window")),
    "sequence": (("after",), ("match", "window")),
    "duplicate": (("window", "fields"), ("across",)),
    "spread": (("window", "field"), ("users", "values")),
}
_OWN = (
    "window",
    "times",
    "field",
    "min",
    "max",
    "by",
    "factor",
    "after",
    "match",
    "fields",
    "across",
    "users",
    "values",
)
_UNGUARDED = (APPROVE, DENY, BLOCK, UNBLOCK, PROFILE_UPDATE)


class Watch(msgspec.Struct, frozen=True):
    """A guard ready to look at events."""

    name: str
    guard: Guard
    test: Test | None
    check: Check


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit among the guards."""
    for name, guard in program.guards.items():
        yield from _guard(names, f"guards.{name}", guard)


def _guard(names: "Names", path: str, guard: Guard) -> Iterator[ProgramError]:
    yield from names.condition(guard.when, f"{path}.when")
    needed, possible = MEMBERS[guard.kind]
    given = set(msgspec.to_builtins(guard, str_keys=True))
    for member in (m for m in needed if m not in given):
        yield ProgramError(path, f"lacks {member!r}, which a guard of kind {guard.kind} needs")
    for member in (m for m in _OWN if m in given and m not in (*needed, *possible)):
        yield ProgramError(f"{path}.{member}", f"has no meaning for a guard of kind {guard.kind}")
    if guard.kind == "bounds" and guard.min is None and guard.max is None:
        yield ProgramError(path, "must have min, max or both")
    if guard.kind == "bounds" and guard.min is not None and guard.max is not None and guard.min > guard.max:
        yield ProgramError(f"{path}.min", f"min ({guard.min}) is above max ({guard.max})")
    if guard.kind == "jump" and guard.by is None and guard.factor is None:
        yield ProgramError(path, "must have by, factor or both")
    if guard.kind == "spread" and (guard.users is None) == (guard.values is None):
        yield ProgramError(path, "must have exactly one of users and values")
    if guard.window is not None and guard.window.seconds > GUARD_WINDOW_SECONDS_MAX:
        yield ProgramError(f"{path}.window", f"is longer than {GUARD_WINDOW_SECONDS_MAX // 86_400} days")
    for member in ("field", "match", *(f"fields[{place}]" for place in range(len(guard.fields)))):
        field = guard.fields[int(member[7:-1])] if "[" in member else getattr(guard, member)
        if field is not None and split_field(field)[0]:
            yield ProgramError(f"{path}.{member}", "guards compare fields of the payload only")
    if guard.after is not None and guard.after in types_of(guard.on):
        yield ProgramError(f"{path}.after", "a type cannot come before itself")
    for type_ in (*types_of(guard.on), *((guard.after,) if guard.after is not None else ())):
        if type_ in _UNGUARDED:
            yield ProgramError(f"{path}.on", f"{type_} is an operator's own command and is not guarded")


def compile_guard(name: str, guard: Guard) -> Watch:
    """Return a guard ready to look at events."""
    return Watch(name, guard, compile_condition(guard.when) if guard.when else None, compile_check(name, guard))


def watch(draft: "Draft", watches: Sequence[Watch]) -> None:
    """Let the guards look at the event; raises Held or Refusal where it is not to be applied.

    Every guard has its say, and the strongest action is taken: that of a guard that tripped, or of the threshold that the
    user's suspicion has reached, whether or not this event added to it.
    """
    found = [(w, values) for w in watches if (values := _look(draft, w)) is not None]
    score = _suspect(draft, sum(w.guard.score for w, _ in found))
    trips = [Trip(w.name, w.guard.kind, w.guard.action, values, score) for w, values in found]
    reached = [(least, action) for least, action in draft.program.suspicion.thresholds if score >= least]
    if reached:
        least, action = max(reached, key=lambda one: ACTIONS.index(one[1]))
        trips.append(Trip("suspicion", "score", action, {"score": score, "threshold": least}, score))
    draft.trips = trips
    if trips:
        _act(draft, max(trips, key=lambda trip: ACTIONS.index(trip.action)))


def remember(draft: "Draft", watches: Sequence[Watch]) -> None:
    """Let the guards note an event that was approved; they have had their say."""
    for one in watches:
        _look(draft, one)


def score_at(suspicion: Suspicion, state: SuspicionState | None, at: datetime) -> tuple[int, datetime]:
    """Return (score, as of when) at an instant: whole spans since the last change have decayed, the rest is kept."""
    if state is None:
        return 0, at
    decay = suspicion.decay
    if decay is None or at <= state.at:
        return state.score, max(at, state.at)
    spans = int((at - state.at).total_seconds() // decay.seconds)
    score = max(state.score - spans * decay.points, 0)
    return score, state.at + timedelta(seconds=spans * decay.seconds) if score else at


def _look(draft: "Draft", one: Watch) -> dict[str, int | float] | None:
    return one.check(draft) if one.test is None or one.test(draft.view) else None


def _suspect(draft: "Draft", points: int) -> int:
    """Add to the user's suspicion and return what it has come to."""
    state = cast(SuspicionState | None, draft.record(RecordKind.SUSPICION, SELF))
    score, as_of = score_at(draft.program.suspicion, state, draft.event.occurred_at)
    if points:
        score = min(score + points, GUARD_SCORE_MAX)
        draft.put(RecordKind.SUSPICION, SELF, SuspicionState(score, as_of), "guards")
    return score


def _act(draft: "Draft", trip: Trip) -> None:
    at, told = draft.event.occurred_at, f"guard {trip.guard!r} ({trip.kind}: {_told(trip)})"
    action: Action = trip.action
    if action == "hold":
        draft.put(RecordKind.REVIEW, str(draft.event.id), ReviewState("waiting", at), f"guard:{trip.guard}")
        raise Held(Reason.GUARD_HELD, f"{told} holds the event for review")
    if action == "refuse":
        raise Refusal(Reason.GUARD_REFUSED, f"{told} refuses the event")
    if action == "block":
        draft.put(RecordKind.BLOCK, SELF, BlockState(True, True, told, at), f"guard:{trip.guard}")
        raise Refusal(Reason.USER_BLOCKED, f"{told} blocks the user")


def _told(trip: Trip) -> str:
    return ", ".join(f"{name} {value}" for name, value in trip.values.items())
