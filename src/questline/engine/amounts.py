"""What a rule awards: a whole number, or one worked out from a field; times the rule's multipliers, rounded once."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from questline.engine.draft import Draft
from questline.engine.fields import MISSING, compile_field
from questline.engine.numbers import EXACT, exact, operand, rounded
from questline.engine.refusal import Refusal
from questline.model import calendar
from questline.model.definition import Amount
from questline.model.limits import AMOUNT_MAX
from questline.model.program import Multiplier
from questline.model.reasons import Reason

Factor = Callable[[Draft], Decimal | None]  # None: 1
Award = Callable[[Draft, Decimal | None], int]

ONE = Decimal(1)


def compile_award(amount: Amount) -> Award:
    """Return the closure that works out an amount under a product of multipliers; 0 where nothing is to be awarded."""
    if isinstance(amount, int):
        return _constant(amount, "half_even")
    if "value" in amount:
        return _constant(amount["value"], amount.get("round", "half_even"))
    get = compile_field(amount["field"])
    times = exact(amount.get("times", 1))
    rounding = amount.get("round", "half_even")
    low, high = amount.get("min"), amount.get("max")

    def award(draft: Draft, factor: Decimal | None) -> int:
        number = operand(get(draft.view))
        if number is None:
            return 0
        product = EXACT.multiply(Decimal(number), times)
        if factor is not None:
            product = EXACT.multiply(product, factor)
        value = rounded(product, rounding)
        if high is not None and value > high:
            value = high
        if low is not None and value < low:
            value = low
        return _bounded(value)

    return award


def _constant(amount: int, rounding: str) -> Award:
    whole = Decimal(amount)

    def award(draft: Draft, factor: Decimal | None) -> int:
        return amount if factor is None else _bounded(rounded(EXACT.multiply(whole, factor), rounding))

    return award


def _bounded(value: int) -> int:
    if value > AMOUNT_MAX:
        raise Refusal(Reason.OVERFLOW, f"an award of {value} is above {AMOUNT_MAX}")
    return max(value, 0)


def compile_factor(multiplier: Multiplier) -> Factor:
    """Return the closure of one multiplier."""
    if multiplier.field is not None:
        return _by_field(multiplier)
    if multiplier.streak is not None:
        return _by_streak(multiplier)
    return _by_hours(multiplier)


def by_field(multiplier: Multiplier, value: Any) -> float:
    """Return what a multiplier's map has for a value."""
    default = multiplier.default
    return default if value is MISSING else (multiplier.map or {}).get(_key(value), default)


def _by_field(multiplier: Multiplier) -> Factor:
    get = compile_field(multiplier.field or "")
    factors = {key: exact(value) for key, value in (multiplier.map or {}).items()}
    default = exact(multiplier.default)

    def factor(draft: Draft) -> Decimal | None:
        value = get(draft.view)
        return default if value is MISSING else factors.get(_key(value), default)

    return factor


def _key(value: Any) -> str:
    """A map's keys are texts: true, null and 3 find theirs as JSON writes them, and 3.0 finds that of 3."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _by_streak(multiplier: Multiplier) -> Factor:
    name, every, start, by = multiplier.streak or "", multiplier.every, multiplier.from_, exact(multiplier.by)

    def factor(draft: Draft) -> Decimal | None:
        length = draft.view.reads["streak." + name] = draft.streak(name)
        if every is not None and (length == 0 or length % every):
            return None
        if start is not None and length < start:
            return None
        return by

    return factor


def _by_hours(multiplier: Multiplier) -> Factor:
    start, end = multiplier.hours or (0, 0)
    by = exact(multiplier.by)

    def factor(draft: Draft) -> Decimal | None:
        hour = calendar.local(draft.event.occurred_at, draft.program.zone).hour
        inside = start <= hour < end if start <= end else hour >= start or hour < end
        return by if inside else None

    return factor


def product(factors: list[Factor], draft: Draft) -> Decimal | None:
    """Return the product of the factors that apply; None for 1."""
    result: Decimal | None = None
    for factor in factors:
        value = factor(draft)
        if value is not None:
            result = value if result is None else EXACT.multiply(result, value)
    return result
