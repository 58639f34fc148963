"""Conditions compiled to plain closures over a View: `all`, `any`, `not`, and leaves `{field, op, value}`.

A missing or mistyped operand makes a leaf false, never an error; `not` turns that false round, so
`{not: {field: x, op: eq, value: 1}}` holds where x is missing, and `{field: x, op: ne, value: 1}` does not.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import re2

from questline.engine.fields import MISSING, View, compile_field

Test = Callable[[View], bool]
Leaf = Callable[[Any], bool]

OPERATORS = (
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "contains", "startsWith", "endsWith", "exists", "matches", "between",
)  # fmt: skip

SYNONYMS = {
    "equals": "eq", "equal": "eq", "==": "eq", "=": "eq", "is": "eq",
    "neq": "ne", "not_equals": "ne", "notEquals": "ne", "not_equal": "ne", "!=": "ne", "<>": "ne", "is_not": "ne",
    "greater_than": "gt", "greaterThan": "gt", ">": "gt",
    "greater_than_or_equal": "gte", "greaterThanOrEqual": "gte", "greater_or_equal": "gte", "ge": "gte", ">=": "gte",
    "less_than": "lt", "lessThan": "lt", "<": "lt",
    "less_than_or_equal": "lte", "lessThanOrEqual": "lte", "less_or_equal": "lte", "le": "lte", "<=": "lte",
    "not_in": "nin", "notIn": "nin", "one_of": "in", "oneOf": "in",
    "includes": "contains", "has": "contains",
    "starts_with": "startsWith", "startswith": "startsWith", "prefix": "startsWith",
    "ends_with": "endsWith", "endswith": "endsWith", "suffix": "endsWith",
    "is_set": "exists", "present": "exists",
    "regex": "matches", "matches_regex": "matches", "range": "between",
}  # fmt: skip


def operator_of(name: Any) -> str | None:
    """Return the canonical operator of a name or synonym; None for one that is unknown."""
    if not isinstance(name, str):
        return None
    return name if name in OPERATORS else SYNONYMS.get(name)


def compile_condition(raw: Mapping[str, Any]) -> Test:
    """Return the closure of a valid condition."""
    if "all" in raw:
        return _all([compile_condition(part) for part in raw["all"]])
    if "any" in raw:
        return _any([compile_condition(part) for part in raw["any"]])
    if "not" in raw:
        negated = compile_condition(raw["not"])
        return lambda view: not negated(view)
    get = compile_field(raw["field"])
    leaf = compile_leaf(raw["op"], raw.get("value"))
    return lambda view: leaf(get(view))


def _all(parts: list[Test]) -> Test:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda view: first(view) and second(view)

    def test(view: View) -> bool:
        for part in parts:  # noqa: SIM110 - a plain loop is faster than all() over a generator
            if not part(view):
                return False
        return True

    return test


def _any(parts: list[Test]) -> Test:
    if len(parts) == 1:
        return parts[0]

    def test(view: View) -> bool:
        for part in parts:  # noqa: SIM110
            if part(view):
                return True
        return False

    return test


def compile_leaf(op: str, value: Any) -> Leaf:
    """Return the test of one operator against its operand; the operand fits the operator, as validate() has seen to."""
    return _LEAVES[operator_of(op) or op](value)


def is_number(value: Any) -> bool:
    """Tell whether a value counts as a number: true and false do not."""
    kind = type(value)
    return kind is int or kind is float or kind is Decimal


def same(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal: 1 equals 1.0, true does not equal 1, and nothing equals what is missing."""
    if left is MISSING:
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _eq(value: Any) -> Leaf:
    if isinstance(value, str):
        return lambda found: found == value
    if isinstance(value, list | dict):  # nested values may hide true beside 1
        return lambda found: found is not MISSING and _deep(found, value)
    return lambda found: same(found, value)


def _deep(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_deep(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_deep(left[k], right[k]) for k in left)
    return same(left, right)


def _ne(value: Any) -> Leaf:
    equal = _eq(value)
    return lambda found: found is not MISSING and not equal(found)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Leaf]:
    """Numbers compare with numbers, texts with texts (by code point, so ISO 8601 times in one zone sort)."""

    def make(value: Any) -> Leaf:
        if isinstance(value, str):
            return lambda found: isinstance(found, str) and compare(found, value)
        return lambda found: is_number(found) and compare(found, value)

    return make


def _in(value: Any) -> Leaf:
    texts = frozenset(v for v in value if isinstance(v, str))
    others = [v for v in value if not isinstance(v, str)]
    if not others:
        return lambda found: isinstance(found, str) and found in texts
    return lambda found: found in texts if isinstance(found, str) else any(same(found, v) for v in others)


def _nin(value: Any) -> Leaf:
    inside = _in(value)
    return lambda found: found is not MISSING and not inside(found)


def _contains(value: Any) -> Leaf:
    def test(found: Any) -> bool:
        if isinstance(found, str):
            return isinstance(value, str) and value in found
        return isinstance(found, list) and any(same(item, value) for item in found)

    return test


def _matches(value: Any) -> Leaf:
    search = re2.compile(value).search  # type: ignore[no-untyped-call]
    return lambda found: isinstance(found, str) and search(found) is not None


def _between(value: Any) -> Leaf:
    low, high = value
    if isinstance(low, str):
        return lambda found: isinstance(found, str) and low <= found <= high
    return lambda found: is_number(found) and low <= found <= high


def _exists(value: Any) -> Leaf:
    if value is False:
        return lambda found: found is MISSING or found is None
    return lambda found: found is not MISSING and found is not None


_LEAVES: dict[str, Callable[[Any], Leaf]] = {
    "eq": _eq,
    "ne": _ne,
    "gt": _ordered(lambda a, b: bool(a > b)),
    "gte": _ordered(lambda a, b: bool(a >= b)),
    "lt": _ordered(lambda a, b: bool(a < b)),
    "lte": _ordered(lambda a, b: bool(a <= b)),
    "in": _in,
    "nin": _nin,
    "contains": _contains,
    "startsWith": lambda value: lambda found: isinstance(found, str) and found.startswith(value),
    "endsWith": lambda value: lambda found: isinstance(found, str) and found.endswith(value),
    "exists": _exists,
    "matches": _matches,
    "between": _between,
}
