"""Programs are validated whole: every error at once, each with its path, and nothing hostile gets through."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.control.documents import DocumentUnreadable, read_document
from questline.control.plan import plan
from questline.engine.compile import compile_program
from questline.engine.successions import successions
from questline.engine.validate import validate
from questline.model.program import ProgramDocument, parse

CURRENCIES = {"coins": {"kind": "currency"}, "XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}}


def program(**sections: Any) -> dict[str, Any]:
    return {"currencies": CURRENCIES, **sections}


def one(**definition: Any) -> dict[str, Any]:
    return program(rules={"r": {"on": "e", "award": {"coins": 1}, **definition}})


CASES = [
    ({"rulez": {}}, "", "did you mean 'rules'"),
    (program(timezone="Mars/Olympus"), "timezone", "no time zone"),
    (one(award={"coinz": 1}), "rules.r.award.coinz", "did you mean 'coins'"),
    (one(award={"coins": 0}), "rules.r.award.coins", "below"),
    (one(award={"coins": "5"}), "rules.r.award.coins", "whole number"),
    (one(award={"coins": {"field": "x", "rond": "floor"}}), "rules.r.award.coins", "did you mean 'round'"),
    (one(on=5), "rules.r.on", "event type"),
    (one(when={"field": "x", "op": "eqq", "value": 1}), "rules.r.when.op", "did you mean 'eq'"),
    (one(when={"field": "x", "op": "gt", "value": [1]}), "rules.r.when.value", "number or a text"),
    (one(when={"all": [{"field": "x", "op": "in", "value": 3}]}), "rules.r.when.all[0].value", "list"),
    (one(when={"field": "x", "op": "eq"}), "rules.r.when", "lacks 'value'"),
    (one(when={"field": "x", "op": "matches", "value": "("}), "rules.r.when.value", "pattern"),
    (one(when={"field": "x", "op": "matches", "value": "(?=a)b"}), "rules.r.when.value", "linear-time"),
    (one(when={"field": "balance.gold", "op": "gt", "value": 1}), "rules.r.when.field", "no currency 'gold'"),
    (one(when={"field": "event.nope", "op": "eq", "value": 1}), "rules.r.when.field", "no event.nope"),
    (one(when={"any": [], "not": {}}), "rules.r.when", "exactly one"),
    (one(multiply=[{"streak": "daily", "every": 7, "by": 2}]), "rules.r.multiply[0].streak", "no streak"),
    (one(multiply=[{"by": 2}]), "rules.r.multiply[0]", "exactly one of field"),
    (program(metrics={"m": {"on": "e"}}), "metrics.m", "exactly one of count"),
    (program(metrics={"m": {"on": "e", "count": True, "sum": "x"}}), "metrics.m", "exactly one of count"),
    ({"currencies": {"c": {"kind": "currency", "levels": {"curve": "sqrt"}}}}, "currencies.c.levels", "kind xp"),
    ({"currencies": {"c": {"kind": "xp", "levels": {"curve": "table", "table": [0, 5, 5]}}}}, "currencies.c.levels.table", "rise"),
    ({"currencies": {"c": {"kind": "xp", "levels": {"curve": "linear", "rewards": {"1": {"award": {"c": 1}}}}}}},
     "currencies.c.levels.rewards.1", "level 2"),
    (program(achievements={"a": {"title": "A", "requirements": [{"metric": "gone"}]}}), "achievements.a.requirements[0].metric", "no metric"),
    (program(achievements={"a": {"title": "A", "requirements": [{"achievement": "a"}]}}), "achievements.a.requirements[0].achievement", "itself"),
    (program(achievements={"a": {"title": "A", "requirements": [{"level": "coins"}]}}), "achievements.a.requirements[0].level", "with levels"),
    (program(boards={"b": {"currency": "coins", "metric": "m"}}), "boards.b", "exactly one"),
    (program(metrics={"m": {"on": "e", "distinct": "x"}}, boards={"b": {"metric": "m", "periods": ["weekly"]}}), "boards.b.periods", "all-time"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "path", "message"), CASES, ids=[f"{c[1]}: {c[2]}" for c in CASES])
def test_an_error_names_its_path_and_how_to_mend_it(document: Any, path: str, message: str) -> None:
    found = [(e.path, e.message) for e in validate(document)]
    assert any(p == path and message in m for p, m in found), found


def test_every_error_is_reported_at_once() -> None:
    document = program(
        rules={"a": {"on": "e", "award": {"x": 1}}, "b": {"on": "e", "award": {"y": 1}}}, boards={"c": {"metric": "z"}}
    )
    assert [e.path for e in validate(document)] == ["boards.c.metric", "rules.a.award.x", "rules.b.award.y"]


def test_errors_of_form_and_of_reference_are_reported_together() -> None:
    document = program(
        rules={"form": {"on": 5, "award": {"coins": 1}}, "reference": {"on": "e", "award": {"gold": 1}}},
        streaks={"daily": {"on": "e", "every": "year"}},
        achievements={"week": {"title": "W", "requirements": [{"streak": "daily", "threshold": 7}]}},
    )
    assert [e.path for e in validate(document)] == [
        "rules.form.on",
        "rules.reference.award.gold",
        "streaks.daily.every",
    ]


def test_the_designs_example_is_valid() -> None:
    text = b"""
timezone: UTC
currencies:
  Builder XP: {kind: xp, levels: {curve: sqrt, base: 100}}
  coins: {kind: currency}
metrics:
  hard_tasks: {on: task_completed, when: {field: difficulty, op: eq, value: hard}, count: true}
rules:
  hard-task:
    on: task_completed
    when: {all: [{field: difficulty, op: eq, value: hard}]}
    award: {Builder XP: 40, coins: 15}
    multiply: [{field: tier, map: {gold: 2}}, {streak: daily, every: 7, by: 1.5}, {hours: [22, 2], by: 2}]
    limit: {times: 10, per: day}
streaks:
  daily: {on: [task_completed, check_in], every: day, freezes: {max: 2, earnEvery: 7}, milestones: {7: {award: {coins: 50}}}}
achievements:
  ten-hard: {title: Ten hard ones, type: MILESTONE, category: work, points: 10, requirements: [{metric: hard_tasks, operator: gte, threshold: 10}], rewards: [{currency: coins, value: 100}]}
"""
    document = read_document(text).value
    assert validate(document) == []
    assert set(compile_program(document, 1).footprint("task_completed").currencies) == {"Builder XP", "coins"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["on", "when", "all", "field", "op", "value", "award", "coins", "rules", "metrics", "boards",
                                       "streaks", "currencies", "achievements", "requirements", "multiply", "levels"])
                      | st.text(max_size=4), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_no_document_makes_validation_raise(document: Any) -> None:
    errors = validate(document)
    if not errors:
        compile_program(document, 1)


def test_a_document_nested_without_end_is_an_error_and_no_crash() -> None:
    condition: dict[str, Any] = {"field": "x", "op": "exists"}
    for _ in range(5_000):
        condition = {"not": condition}
    assert validate(one(when=condition))
    shallow: dict[str, Any] = {"field": "x", "op": "exists"}
    for _ in range(20):
        shallow = {"not": shallow}
    assert "nested deeper" in validate(one(when=shallow))[0].message


def test_an_error_is_found_again_on_its_line() -> None:
    document = read_document(b"rules:\n  a:\n    on: e\n    award:\n      gold: 5\n")
    error = validate(document.value)[0]
    assert document.line_of(error.path) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [1, 2", "line 1"),
        (b"a: 1\na: 2", "line 2: 'a' stands twice"),
        (b"a: &x [1]\nb: *x", "line 1: aliases"),
        (b"\xff\xfe", "codec"),
    ],
)
def test_text_that_is_no_document_says_where(text: bytes, message: str) -> None:
    with pytest.raises(DocumentUnreadable, match=message):
        read_document(text)


def test_yaml_words_stay_words() -> None:
    assert read_document(b"on: yes\nd: 2026-01-01\nb: true").value == {"on": "yes", "d": "2026-01-01", "b": True}


def _of(streak: dict[str, Any], quest: dict[str, Any]) -> ProgramDocument:
    steps = [{"id": "s", "on": "e"}]
    return parse({"streaks": {"s": {"on": "e", **streak}}, "quests": {"q": {"title": "Q", "steps": steps, **quest}}})


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        (({}, {}), ({"every": "day", "graceHours": 3}, {"type": "story"}), []),
        (({}, {"type": "daily"}), ({"every": "week"}, {"type": "weekly"}), ["streaks.s.every", "quests.q.type"]),
        (({"every": "month"}, {"type": "weekly"}), ({}, {"type": "daily"}), ["streaks.s.every", "quests.q.type"]),
        (({}, {"type": "monthly"}), ({}, {"type": "event"}), ["quests.q.type"]),
        (({}, {"type": "special"}), ({}, {"type": "daily"}), []),
    ],
)
def test_what_users_have_under_a_name_goes_on_in_the_periods_it_is_counted_in(
    before: Any, after: Any, paths: list[str]
) -> None:
    errors = list(successions(_of(*before), _of(*after)))
    assert [error.path for error in errors] == paths
    assert all("another name" in error.message for error in errors)
    assert list(successions(parse({}), _of(*after))) == []


def test_a_plan_says_what_would_change_and_what_depends_on_order() -> None:
    old = one()
    new = program(
        rules={
            "r": {"on": "e", "award": {"coins": 2}},
            "capped": {"on": "e", "award": {"coins": 1}, "limit": {"times": 1, "per": "day"}},
        },
        metrics={"m": {"on": "e", "count": True}},
    )
    result = plan(old, new)
    assert [(c.action, c.kind, c.name, c.fields) for c in result.changes] == [
        ("add", "metrics", "m", []),
        ("add", "rules", "capped", []),
        ("change", "rules", "r", ["award"]),
    ]
    assert "limit" in result.order_dependent["rules.capped"]
