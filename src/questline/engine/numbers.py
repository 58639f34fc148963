"""Exact arithmetic: integers where it can be, decimals where it must be, never binary floats."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any

from questline.model.limits import AMOUNT_MAX
from questline.model.state import Number

EXACT = Context(prec=200)
"""Wide enough that no product or sum of bounded operands is ever rounded."""

ROUNDINGS = {
    "half_even": ROUND_HALF_EVEN,
    "half_up": ROUND_HALF_UP,
    "floor": ROUND_FLOOR,
    "ceil": ROUND_CEILING,
}
_NINE_PLACES = Decimal("1e-9")


def exact(value: float | int | Decimal) -> Decimal:
    """Return a number of a program or payload as the decimal it was written as."""
    return Decimal(repr(value)) if type(value) is float else Decimal(value)


def operand(value: Any) -> Number | None:
    """Return a payload's number for arithmetic: an int, or a decimal of at most nine places.

    None for what is no number (booleans and texts are none) or lies beyond AMOUNT_MAX. Places beyond the ninth are
    rounded before anything is added up, so that a sum does not depend on its order.
    """
    kind = type(value)
    if kind is int:
        return value if -AMOUNT_MAX <= value <= AMOUNT_MAX else None
    if kind is not float or not -AMOUNT_MAX <= value <= AMOUNT_MAX:
        return None
    number = Decimal(repr(value)).quantize(_NINE_PLACES, ROUND_HALF_EVEN, EXACT)
    return plain(number)


def plain(number: Number) -> Number:
    """Return the number as an int where it is whole."""
    if type(number) is int:
        return number
    whole = int(number)
    return whole if whole == number else number


def add(left: Number, right: Number) -> Number:
    """Return the exact sum."""
    if type(left) is int and type(right) is int:
        return left + right
    return plain(EXACT.add(Decimal(left), Decimal(right)))


def rounded(number: Decimal, rounding: str) -> int:
    """Return the number rounded to a whole one by a name of ROUNDINGS."""
    return int(number.to_integral_value(ROUNDINGS[rounding], EXACT))
