"""The kinds of guards: what each remembers of a user or of a value, and when it trips.

A check returns the numbers for which it trips, or None, and puts what it remembers into the draft. The draft forgets that
again where the event is not applied: an event leaves its marks when it counts, and not before.

Windows go by the events' own times, and are looked for on both sides of an event that is late. A guard remembers what lies
within two windows of the latest event.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from questline.engine.fields import MISSING, HasPayload, PayloadGet, payload_field
from questline.engine.metrics import value_hash
from questline.engine.numbers import EXACT, exact, plain
from questline.model.guards import Guard, GuardState, Mark, Sighting, SightingChange
from questline.model.limits import AMOUNT_MAX, GUARD_VALUES_MAX
from questline.model.records import RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft

Values = dict[str, int | float]
Check = Callable[["Draft"], Values | None]

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NOTHING = GuardState()
_NOBODY = Sighting()
_TIMES_OF_A_GAP = 16  # neighbours in time; only the nearest counts
_USERS_OF_A_COPY = 8  # likewise


def ms_of(at: datetime) -> int:
    """Return an instant in whole milliseconds since 1970."""
    return (at - _BEGINNING) // _MS


def value_key(guard: Guard) -> Callable[[HasPayload], bytes | None]:
    """Return the closure that hashes what a `duplicate` or `spread` guard tells values apart by; None: it is not there."""
    gets = [payload_field(name) for name in (guard.fields or (guard.field or "",))]

    def key(holder: HasPayload) -> bytes | None:
        found = [get(holder) for get in gets]
        return None if any(value is MISSING or value is None for value in found) else value_hash(found)

    return key


def crowd(marks: Iterable[tuple[int, Any]], at: int, window: int) -> int:
    """Return how many different values stand at the most in one window that `at` lies in; `marks` are in order of time."""
    near = [mark for mark in marks if abs(mark[0] - at) < window]
    first, most = 0, 0
    within: Counter[Any] = Counter()
    for time, value in near:
        within[value] += 1
        while near[first][0] <= time - window:
            within[near[first][1]] -= 1
            if not within[near[first][1]]:
                del within[near[first][1]]
            first += 1
        if near[first][0] <= at <= time:
            most = max(most, len(within))
    return most


def compile_check(name: str, guard: Guard) -> Check:
    """Return the closure that looks at an event."""
    return _KINDS[guard.kind](name, guard)


def _rate(name: str, guard: Guard) -> Check:
    window, times = _ms(guard), guard.times

    def check(draft: "Draft") -> Values | None:
        at = ms_of(draft.event.occurred_at)
        marks = _with(_state(draft, name).marks, (at, ""))
        _remember(draft, name, marks, window, 2 * times + 2)
        count = crowd([(time, place) for place, (time, _) in enumerate(marks)], at, window)
        return {"count": count, "times": times} if count > times else None

    return check


def _gap(name: str, guard: Guard) -> Check:
    window = _ms(guard)

    def check(draft: "Draft") -> Values | None:
        at = ms_of(draft.event.occurred_at)
        marks = _state(draft, name).marks
        _remember(draft, name, _with(marks, (at, "")), window, _TIMES_OF_A_GAP)
        gap = min((abs(at - time) for time, _ in marks), default=window)
        return {"gapSeconds": gap / 1_000, "windowSeconds": window // 1_000} if gap < window else None

    return check


def _bounds(_: str, guard: Guard) -> Check:
    get = payload_field(guard.field or "")
    low = None if guard.min is None else exact(guard.min)
    high = None if guard.max is None else exact(guard.max)

    def check(draft: "Draft") -> Values | None:
        number = _number(get, draft)
        if number is None or ((low is None or number >= low) and (high is None or number <= high)):
            return None
        bounds = {"min": guard.min, "max": guard.max}
        return {"value": _shown(number), **{side: bound for side, bound in bounds.items() if bound is not None}}

    return check


def _jump(name: str, guard: Guard) -> Check:
    get = payload_field(guard.field or "")
    by = None if guard.by is None else exact(guard.by)
    factor = None if guard.factor is None else exact(guard.factor)

    def check(draft: "Draft") -> Values | None:
        number = _number(get, draft)
        if number is None:
            return None
        at, state = ms_of(draft.event.occurred_at), _state(draft, name)
        before = state.value
        if before is not None and at < state.marks[0][0]:
            return None  # the last value came after this one
        draft.put(RecordKind.GUARD, name, GuardState(((at, ""),), number), f"guard:{name}")
        if before is None or (guard.window is not None and at - state.marks[0][0] >= guard.window.ms):
            return None
        far = by is not None and EXACT.abs(EXACT.subtract(number, before)) > by
        steep = factor is not None and before > 0 and number > EXACT.multiply(before, factor)
        return {"value": _shown(number), "last": _shown(before)} if far or steep else None

    return check


def _sequence(name: str, guard: Guard) -> Check:
    get = payload_field(guard.match) if guard.match else None
    window = None if guard.window is None else guard.window.ms

    def check(draft: "Draft") -> Values | None:
        at, marks = ms_of(draft.event.occurred_at), _state(draft, name).marks
        found = "" if get is None else get(draft.view)
        key = None if found is MISSING or found is None else "" if get is None else _short(value_hash(found))
        if draft.event.type == guard.after:
            if key is not None:
                _remember(draft, name, _with(marks, (at, key)), window, GUARD_VALUES_MAX)
            return None
        for time, known in marks:
            if known == key and time <= at and (window is None or at - time < window):
                return None
        return {"starts": 0}

    return check


def _duplicate(name: str, guard: Guard) -> Check:
    window, key_of = _ms(guard), value_key(guard)

    def among_own(draft: "Draft") -> Values | None:
        key = key_of(draft.view)
        if key is None:
            return None
        at, marks, short = ms_of(draft.event.occurred_at), _state(draft, name).marks, _short(key)
        _remember(draft, name, _with(marks, (at, short)), window, GUARD_VALUES_MAX)
        copies = sum(1 for time, known in marks if known == short and abs(at - time) < window)
        return {"copies": copies} if copies else None

    def among_all(draft: "Draft") -> Values | None:
        key = key_of(draft.view)
        if key is None:
            return None
        at = ms_of(draft.event.occurred_at)
        before = _sight(draft, name, key, at, window, _USERS_OF_A_COPY)
        users = sum(1 for _, time in before.users if abs(at - time) < window)
        return {"users": users} if users else None

    return among_all if guard.across == "users" else among_own


def _spread(name: str, guard: Guard) -> Check:
    window, key_of = _ms(guard), value_key(guard)

    def values_of_a_user(draft: "Draft") -> Values | None:
        key, most = key_of(draft.view), guard.values or 0
        if key is None:
            return None
        at = ms_of(draft.event.occurred_at)
        others = tuple(mark for mark in _state(draft, name).marks if mark[1] != _short(key) or mark[0] > at)
        marks = _with(others, (at, _short(key)))
        _remember(draft, name, marks, window, 2 * most + 2)
        values = crowd(marks, at, window)
        return {"values": values, "allowed": most} if values > most else None

    def users_of_a_value(draft: "Draft") -> Values | None:
        key, most = key_of(draft.view), guard.users or 0
        if key is None:
            return None
        at, own = ms_of(draft.event.occurred_at), draft.state.id
        before = _sight(draft, name, key, at, window, 2 * most + 2)
        seen = [(time, user) for user, time in before.users if user != own]
        users = crowd(sorted([*seen, (at, own)]), at, window)
        return {"users": users, "allowed": most} if users > most else None

    return values_of_a_user if guard.users is None else users_of_a_value


_KINDS: dict[str, Callable[[str, Guard], Check]] = {
    "rate": _rate,
    "gap": _gap,
    "bounds": _bounds,
    "jump": _jump,
    "sequence": _sequence,
    "duplicate": _duplicate,
    "spread": _spread,
}


def _ms(guard: Guard) -> int:
    assert guard.window is not None  # engine/guards.py: this kind has one
    return guard.window.ms


def _state(draft: "Draft", name: str) -> GuardState:
    return cast(GuardState, draft.record(RecordKind.GUARD, name) or _NOTHING)


def _with(marks: tuple[Mark, ...], new: Mark) -> tuple[Mark, ...]:
    if not marks or marks[-1] <= new:
        return (*marks, new)
    ordered = list(marks)
    insort(ordered, new)
    return tuple(ordered)


def _remember(draft: "Draft", name: str, marks: Sequence[Mark], window: int | None, most: int) -> None:
    """Keep the latest marks, those of the last two windows; None: however old they are."""
    oldest = None if window is None else marks[-1][0] - 2 * window
    kept = tuple(mark for mark in marks[-most:] if oldest is None or mark[0] > oldest)
    draft.put(RecordKind.GUARD, name, GuardState(kept), f"guard:{name}")


def _sight(draft: "Draft", name: str, key: bytes, at: int, window: int, most: int) -> Sighting:
    """Note that the user bore a value, and return who had borne it before."""
    known = draft.sightings.get((name, key))
    before = draft.state.sightings.get((name, key), _NOBODY) if known is None else known.state
    own = draft.state.id
    last = max((time for user, time in before.users if user == own), default=at)
    users = sorted(
        [*(u for u in before.users if u[0] != own), (own, max(at, last))], key=lambda seen: (seen[1], seen[0])
    )
    newest = users[-1][1]
    kept = tuple(seen for seen in users[-most:] if seen[1] > newest - 2 * window)
    latest = _BEGINNING + timedelta(milliseconds=newest)
    draft.sightings[name, key] = SightingChange(name, key, Sighting(kept), latest, 2 * window // 1_000)
    return before


def _number(get: PayloadGet, draft: "Draft") -> Decimal | None:
    """Read a number, however large: an impossible one is what is looked for."""
    found = get(draft.view)
    if type(found) is not int and type(found) is not float:
        return None
    return exact(max(min(found, AMOUNT_MAX), -AMOUNT_MAX))


def _shown(number: Decimal) -> int | float:
    whole = plain(number)
    return whole if isinstance(whole, int) else float(whole)


def _short(key: bytes) -> str:
    return key[:8].hex()
