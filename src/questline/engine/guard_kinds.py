"""The kinds of guards: what each remembers of a user or of a value, and when it trips.

A check returns the numbers for which it trips, or None, and puts what it remembers into the draft. The draft forgets that
again where the event is not applied: an event leaves its marks when it counts, and not before.

Windows go by the events' own times, and are looked for on both sides of an event that is late. A guard remembers what lies
within two windows of the latest event, so that no flood of late ones hides it; and what was received last, however late it
was, so that late events are compared with each other.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

from questline.engine.fields import MISSING, HasPayload, PayloadGet, payload_field
from questline.engine.metrics import value_hash
from questline.engine.numbers import EXACT, exact, plain
from questline.model.guards import Guard, GuardState, Mark, Sighting, SightingChange
from questline.model.limits import AMOUNT_MAX, GUARD_RECEIVED_MIN, GUARD_VALUES_MAX
from questline.model.records import RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft

V = TypeVar("V")
Values = dict[str, int | float]
Check = Callable[["Draft"], Values | None]

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NOTHING = GuardState()
_NOBODY = Sighting()
_RECEIVED_VALUES = 2 * GUARD_RECEIVED_MIN  # fewer than of the latest: these are kept of everybody, for ever
_USERS_OF_A_COPY = 8  # only the nearest counts


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
    most = max(2 * times + 2, GUARD_RECEIVED_MIN)

    def check(draft: "Draft") -> Values | None:
        at = ms_of(draft.event.occurred_at)
        marks = (*_state(draft, name).marks, (at, ""))
        _remember(draft, name, marks, window, most, most)
        near = sorted(time for time, _ in marks if -window < time - at < window)
        if len(near) <= times:
            return None
        count = crowd([(time, place) for place, time in enumerate(near)], at, window)
        return {"count": count, "times": times} if count > times else None

    return check


def _gap(name: str, guard: Guard) -> Check:
    window = _ms(guard)

    def check(draft: "Draft") -> Values | None:
        at = ms_of(draft.event.occurred_at)
        marks = _state(draft, name).marks
        _remember(draft, name, (*marks, (at, "")), window, GUARD_RECEIVED_MIN, GUARD_RECEIVED_MIN)
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
    window = None if guard.window is None else guard.window.ms

    def check(draft: "Draft") -> Values | None:
        number = _number(get, draft)
        if number is None:
            return None
        at, state = ms_of(draft.event.occurred_at), _state(draft, name)
        marks = state.marks if state.value is None else ((state.marks[0][0], str(state.value)),)
        _remember(draft, name, (*marks, (at, str(number))), None, GUARD_RECEIVED_MIN, GUARD_RECEIVED_MIN)
        for time, text in _neighbours(marks, at):
            if window is not None and abs(at - time) >= window:
                continue
            other = Decimal(text)
            far = by is not None and EXACT.abs(EXACT.subtract(number, other)) > by
            steep = factor is not None and other > 0 and number > EXACT.multiply(other, factor)
            if far or steep:
                return {"value": _shown(number), "last": _shown(other)}
        return None

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
                _remember(draft, name, (*marks, (at, key)), window, GUARD_VALUES_MAX, _RECEIVED_VALUES)
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
        _remember(draft, name, (*marks, (at, short)), window, GUARD_VALUES_MAX, _RECEIVED_VALUES)
        copies = sum(1 for time, known in marks if known == short and abs(at - time) < window)
        return {"copies": copies} if copies else None

    def among_all(draft: "Draft") -> Values | None:
        key = key_of(draft.view)
        if key is None:
            return None
        at = ms_of(draft.event.occurred_at)
        before = _sight(draft, name, key, at, window, _USERS_OF_A_COPY)
        users = len({user for user, time in before.users if abs(at - time) < window})
        return {"users": users} if users else None

    return among_all if guard.across == "users" else among_own


def _spread(name: str, guard: Guard) -> Check:
    window, key_of = _ms(guard), value_key(guard)
    allowed = guard.values or guard.users or 0
    most = max(4 * allowed + 2, GUARD_RECEIVED_MIN)  # of two windows, the first and the last mark of each

    def values_of_a_user(draft: "Draft") -> Values | None:
        key = key_of(draft.view)
        if key is None:
            return None
        at, known = ms_of(draft.event.occurred_at), _state(draft, name).marks
        marks = _thinned(known, (at, _short(key)), window)
        _remember(draft, name, marks, window, most, most)
        values = crowd(sorted(marks), at, window)
        return {"values": values, "allowed": allowed} if values > allowed else None

    def users_of_a_value(draft: "Draft") -> Values | None:
        key = key_of(draft.view)
        if key is None:
            return None
        at, own = ms_of(draft.event.occurred_at), draft.state.id
        before = _sight(draft, name, key, at, window, most)
        users = crowd(sorted([*((time, user) for user, time in before.users), (at, own)]), at, window)
        return {"users": users, "allowed": allowed} if users > allowed else None

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


def _neighbours(marks: tuple[Mark, ...], at: int) -> list[Mark]:
    """Return the nearest mark up to an instant and the nearest after it; of several at one time the one received last."""
    before = after = None
    for mark in marks:
        if mark[0] <= at:
            if before is None or mark[0] >= before[0]:
                before = mark
        elif after is None or mark[0] <= after[0]:
            after = mark
    return [mark for mark in (before, after) if mark is not None]


def _remember(draft: "Draft", name: str, marks: Sequence[Mark], window: int | None, most: int, received: int) -> None:
    draft.put(RecordKind.GUARD, name, GuardState(tuple(_kept(marks, window, most, received))), f"guard:{name}")


def _kept(marks: Sequence[tuple[int, V]], window: int | None, most: int, received: int) -> Sequence[tuple[int, V]]:
    """Return the `received` newest marks, and of the others the `most` latest that lie in the last two windows.

    `marks` are in the order of receipt, and so is what is kept. Without a window they are kept however old they are.
    """
    if len(marks) <= received:
        return marks
    others, newest = marks[:-received], marks[-received:]
    if window is not None:
        oldest = max(marks)[0] - 2 * window
        others = [mark for mark in others if mark[0] > oldest]
    if others:
        oldest = sorted(time for time, _ in marks)[-most:][0]
        others = [mark for mark in others if mark[0] >= oldest][-most:]
    return [*others, *newest]


def _thinned(marks: Sequence[tuple[int, V]], new: tuple[int, V], window: int) -> tuple[tuple[int, V], ...]:
    """Return the marks with a new one, less those that stand between two of their value which lie in one window.

    Every window that one of those lies in has one of its neighbours too, so it tells nothing more; and who bears one
    value all day does not drive out the others.
    """
    at, value = new
    times = sorted(time for time, known in marks if known == value)
    if not times or times[-1] < at - window:
        return (*marks, new)
    place = bisect_left(times, at)
    before, after = times[max(place - 2, 0) : place], times[place : place + 2]
    needless: set[int] = {before[1]} if len(before) == 2 and at - before[0] <= window else set()
    if len(after) == 2 and after[1] - at <= window:
        needless.add(after[0])
    return (*(mark for mark in marks if mark[1] != value or mark[0] not in needless), new)


def _sight(draft: "Draft", name: str, key: bytes, at: int, window: int, most: int) -> Sighting:
    """Note that the user bore a value, and return who had borne it before."""
    known = draft.sightings.get((name, key))
    before = draft.state.sightings.get((name, key), _NOBODY) if known is None else known.state
    marks = _thinned([(time, user) for user, time in before.users], (at, draft.state.id), window)
    kept = _kept(marks, window, most, most)
    latest = _BEGINNING + timedelta(milliseconds=max(time for time, _ in kept))
    users = tuple((user, time) for time, user in kept)
    draft.sightings[name, key] = SightingChange(name, key, Sighting(users), latest, 2 * window // 1_000)
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
