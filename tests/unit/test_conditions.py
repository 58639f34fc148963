"""Conditions: every operator against operands that fit, are missing, or are of another kind."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from scenario import Scenario

from questline.engine.conditions import OPERATORS, SYNONYMS, compile_condition, operator_of
from questline.engine.fields import View
from questline.model.event import Event

PAYLOAD = {
    "n": 5, "f": 1.5, "s": "hello", "t": True, "null": None, "list": ["a", 1], "o": {"k": {"d": 3}}, "rows": [{"x": 7}],
    "dotted.key": 1, "day": "2026-01-05T12:00:00Z", "empty": "",
}  # fmt: skip

CASES: list[tuple[str, str, Any, bool]] = [
    ("n", "eq", 5, True), ("n", "eq", 5.0, True), ("n", "eq", "5", False), ("n", "eq", True, False),
    ("t", "eq", True, True), ("t", "eq", 1, False), ("null", "eq", None, True), ("gone", "eq", None, False),
    ("list", "eq", ["a", 1], True), ("list", "eq", ["a", True], False), ("o", "eq", {"k": {"d": 3}}, True),
    ("n", "ne", 4, True), ("n", "ne", 5, False), ("gone", "ne", 4, False), ("s", "ne", 5, True),
    ("n", "gt", 4, True), ("n", "gt", 5, False), ("s", "gt", 4, False), ("t", "gt", 0, False), ("gone", "gt", 0, False),
    ("n", "gte", 5, True), ("f", "gte", 1.5, True), ("null", "gte", 0, False), ("s", "gte", "hello", True),
    ("n", "lt", 6, True), ("n", "lt", 5, False), ("s", "lt", "z", True), ("list", "lt", 9, False),
    ("n", "lte", 5, True), ("n", "lte", "9", False), ("gone", "lte", 9, False),
    ("s", "in", ["hello", "x"], True), ("n", "in", [5], True), ("t", "in", [1], False), ("gone", "in", [None], False),
    ("n", "in", ["5"], False), ("list", "in", [["a", 1]], True),
    ("s", "nin", ["x"], True), ("s", "nin", ["hello"], False), ("gone", "nin", ["x"], False),
    ("s", "contains", "ell", True), ("s", "contains", 1, False), ("list", "contains", "a", True),
    ("list", "contains", True, False), ("n", "contains", 5, False), ("gone", "contains", "a", False),
    ("s", "startsWith", "he", True), ("s", "startsWith", "lo", False), ("n", "startsWith", "5", False),
    ("s", "endsWith", "lo", True), ("gone", "endsWith", "o", False),
    ("n", "exists", True, True), ("gone", "exists", True, False), ("null", "exists", True, False),
    ("gone", "exists", False, True), ("n", "exists", False, False), ("empty", "exists", True, True),
    ("s", "matches", "^h.*o$", True), ("s", "matches", "^x", False), ("n", "matches", "5", False),
    ("n", "between", [1, 5], True), ("n", "between", [6, 9], False), ("s", "between", ["a", "z"], True),
    ("s", "between", [1, 9], False), ("day", "between", ["2026-01-01", "2026-02-01"], True),
    ("o.k.d", "eq", 3, True), ("o.k.gone", "eq", 3, False), ("rows.0.x", "eq", 7, True), ("rows.1.x", "eq", 7, False),
    ("dotted.key", "eq", 1, True), ("payload.n", "eq", 5, True), ("s.x", "eq", 1, False),
    ("event.type", "eq", "task", True), ("event.userId", "eq", "ada", True), ("event.source", "exists", True, False),
    ("event.hour", "eq", 12, True), ("event.weekday", "eq", 1, True),
    ("user.tier", "eq", "gold", True), ("user.gone", "eq", "gold", False), ("user.id", "eq", "ada", True),
    ("balance.coins", "gte", 30, True), ("level.XP", "eq", 2, True), ("streak.daily", "eq", 4, True),
    ("metric.tasks", "eq", 9, True), ("metric.none", "gte", 0, False),
]  # fmt: skip


class State:
    """A user's state as a table."""

    def balance(self, _: str) -> int:
        return 30

    def level(self, _: str) -> int:
        return 2

    def streak(self, _: str) -> int:
        return 4

    def metric(self, name: str) -> int | None:
        return 9 if name == "tasks" else None


def view() -> View:
    event = Event(UUID(int=1), 1, "task", "ada", PAYLOAD, datetime(2026, 1, 5, 12, tzinfo=UTC))
    return View(event, {"tier": "gold"}, State(), UTC)


@pytest.mark.parametrize(("field", "op", "value", "holds"), CASES, ids=lambda value: repr(value)[:30])
def test_a_leaf_holds_exactly_when_its_operand_fits(field: str, op: str, value: Any, holds: bool) -> None:
    assert compile_condition({"field": field, "op": op, "value": value})(view()) is holds


def test_every_synonym_stands_for_an_operator() -> None:
    assert {operator_of(name) for name in SYNONYMS} <= set(OPERATORS)
    assert compile_condition({"field": "n", "op": "greater_than", "value": 4})(view())


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"all": [{"field": "n", "op": "eq", "value": 5}, {"field": "s", "op": "eq", "value": "hello"}]}, True),
        ({"all": [{"field": "n", "op": "eq", "value": 5}, {"field": "s", "op": "eq", "value": "x"}]}, False),
        ({"any": [{"field": "n", "op": "eq", "value": 4}, {"field": "s", "op": "eq", "value": "hello"}]}, True),
        ({"any": [{"field": "n", "op": "eq", "value": 4}, {"field": "gone", "op": "eq", "value": 1}]}, False),
        ({"not": {"field": "gone", "op": "eq", "value": 1}}, True),
        ({"not": {"any": [{"field": "n", "op": "eq", "value": 5}, {"field": "n", "op": "eq", "value": 6}]}}, False),
    ],
)
def test_all_any_and_not_combine(condition: dict[str, Any], holds: bool) -> None:
    assert compile_condition(condition)(view()) is holds


def test_state_and_attributes_that_a_condition_reads_are_kept_with_the_decision_and_the_payload_is_not() -> None:
    seen = view()
    for field in ("balance.coins", "user.tier", "n"):
        compile_condition({"field": field, "op": "exists", "value": True})(seen)
    assert seen.reads == {"balance.coins": 30, "user.tier": "gold"}


def test_a_hostile_pattern_takes_linear_time() -> None:
    program = {
        "currencies": {"coins": {"kind": "currency"}},
        "rules": {"r": {"on": "e", "when": {"field": "x", "op": "matches", "value": "^(a+)+$"}, "award": {"coins": 1}}},
    }
    assert Scenario(program).play(0, "e", x="a" * 50_000 + "!").fired == ()
