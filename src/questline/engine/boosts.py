"""Boosts: which hold for an event, and how they stack."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from questline.engine.forms import INSTANT, NAME, SPAN, TEXT, map_of, object_of
from questline.engine.numbers import EXACT, exact
from questline.engine.program_error import ProgramError
from questline.model.boosts import Boost, Boosting, BoostState, Held
from questline.model.limits import BOOST_SPANS_MAX
from questline.model.records import RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_FACTOR = {"type": "number", "minimum": 0, "maximum": 1_000_000}
_NAMES = {"type": "array", "items": NAME, "maxItems": 500, "uniqueItems": True}
SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "by": _FACTOR,
            "currencies": _NAMES,
            "rules": _NAMES,
            "from": INSTANT,
            "until": INSTANT,
            "segment": NAME,
            "lasts": SPAN,
            "title": TEXT,
        },
        ("by",),
    ),
    200,
)
BOOSTING_SCHEMA: dict[str, Any] = object_of({"stack": {"enum": ["multiply", "add", "highest"]}, "max": _FACTOR})

_ONE = Decimal(1)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what boosts name and is not there, and times that never come."""
    for name, boost in program.boosts.items():
        path = f"boosts.{name}"
        for index, currency in enumerate(boost.currencies):
            yield from names.check("currency", currency, f"{path}.currencies[{index}]")
        for index, rule in enumerate(boost.rules):
            yield from names.check("rule", rule, f"{path}.rules[{index}]")
        if boost.segment is not None:
            yield from names.check("segment", boost.segment, f"{path}.segment")
        if boost.from_ is not None and boost.until is not None and boost.from_ >= boost.until:
            yield ProgramError(f"{path}.until", "must lie after from")


class Boosts:
    """The boosts of a program, as rules ask for them."""

    def __init__(self, boosts: dict[str, Boost], boosting: Boosting) -> None:
        self._all = [
            (name, boost, exact(boost.by), frozenset(boost.currencies), frozenset(boost.rules))
            for name, boost in boosts.items()
        ]
        self._stack = boosting.stack
        self._max = None if boosting.max is None else exact(boosting.max)

    def factor(self, draft: "Draft", rule: str, currency: str) -> Decimal | None:
        """Return the factor for what a rule awards of a currency; None for 1. Those that hold are kept among the reads."""
        found = [
            by
            for name, boost, by, currencies, rules in self._all
            if (not currencies or currency in currencies) and (not rules or rule in rules) and holds(draft, name, boost)
        ]
        if not found:
            return None
        if self._stack == "highest":
            total = max(found)
        elif self._stack == "add":
            total = _ONE
            for by in found:
                total = EXACT.add(total, EXACT.subtract(by, _ONE))
            total = max(total, Decimal(0))
        else:
            total = _ONE
            for by in found:
                total = EXACT.multiply(total, by)
        return total if self._max is None else min(total, self._max)


def holds(draft: "Draft", name: str, boost: Boost) -> bool:
    """Tell whether a boost holds for the user at the event's time, and keep what was found among the reads."""
    at = draft.event.occurred_at
    if (boost.from_ is not None and at < boost.from_) or (boost.until is not None and at >= boost.until):
        return False
    if boost.lasts is not None:
        state = cast(BoostState | None, draft.record(RecordKind.BOOST, name))
        if state is None or holds_until(state, boost, at) is None:
            return False
    if boost.segment is not None and not draft.segment(boost.segment):
        return False
    draft.view.reads["boost." + name] = boost.by
    return True


def begin(draft: "Draft", name: str, cause: str) -> None:
    """Give the user a personal boost from the event's time on; where one holds then, it is prolonged."""
    state = cast(BoostState | None, draft.record(RecordKind.BOOST, name))
    lasts, at = _lasts(draft.program.document.boosts[name]), draft.event.occurred_at
    spans, until = _with(() if state is None else state.spans(lasts), at, lasts)
    *earlier, (since, last) = spans[-BOOST_SPANS_MAX:]
    draft.put(RecordKind.BOOST, name, BoostState(last, since, tuple(earlier)), cause)
    draft.notice("boost.begun", boost=name, until=until.isoformat())


def holds_until(state: BoostState, boost: Boost, at: datetime) -> datetime | None:
    """Return the end of the span of a personal boost that an instant lies in; None: it lies in none."""
    if at >= state.until:
        return None
    return next((until for since, until in reversed(state.spans(_lasts(boost))) if since <= at < until), None)


def _lasts(boost: Boost) -> timedelta:
    assert boost.lasts is not None  # validation has seen to it
    return timedelta(seconds=boost.lasts.seconds)


def _with(spans: tuple[Held, ...], at: datetime, lasts: timedelta) -> tuple[list[Held], datetime]:
    """Return the spans with one more, and the end of that one.

    Spans that meet become one, as long as all of them together: so they are the same in whatever order they are given.
    """
    since, until, apart = at, at + lasts, []
    for begin, end in spans:
        if end < since or until < begin:
            apart.append((begin, end))
        else:
            since, until = min(since, begin), min(since, begin) + (until - since) + (end - begin)
    return sorted([*apart, (since, until)]), until
