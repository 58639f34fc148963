"""Why an event did what it did, said later: from what its decision kept, and not from what the user is by now."""

from typing import Any

import msgspec
import pytest

from questline.engine.explain import Verdict, explain
from questline.model.limits import ATTRIBUTE_READ_BYTES_MAX, ATTRIBUTE_READS_MAX
from questline.store.effects import trace_of
from questline.testing.scenario import Scenario

AT = "2026-01-05T12:00Z"


def gold(field: str = "user.tier", value: Any = "gold") -> dict[str, Any]:
    return {"field": field, "op": "eq", "value": value}


def document(**sections: Any) -> dict[str, Any]:
    return {"currencies": {"coins": {"kind": "currency"}}, **sections}


def rule(**more: Any) -> dict[str, Any]:
    return {"on": "buy", "award": {"coins": 10}, **more}


def played(
    program: dict[str, Any], payload: dict[str, Any] | None = None, **attributes: Any
) -> tuple[Scenario, dict[str, Any]]:
    """Play one event of a user with attributes, and return what was kept of its decision, as stored."""
    scenario = Scenario(program)
    if attributes:
        scenario.play([(AT, "$profile_update", {"attributes": attributes})])
    [one] = scenario.play([(AT, "buy", payload or {})])
    return scenario, msgspec.json.decode(trace_of(one.decision, scenario.user()))


def told(scenario: Scenario, trace: dict[str, Any], payload: dict[str, Any] | None = None) -> dict[str, Verdict]:
    event = msgspec.structs.replace(
        next(e for e in scenario._events.values() if e.type == "buy"), payload=payload or {}
    )
    return {verdict.name: verdict for verdict in explain(scenario.program, event, trace)}


def test_a_condition_is_explained_by_the_attributes_it_read_whatever_they_are_by_now() -> None:
    rules = {
        "vip": rule(when=gold()),
        "plain": rule(when=gold(value="silver")),
        "either": rule(when={"any": [gold(), gold("user.x")]}),
    }
    scenario, trace = played(document(rules=rules), tier="silver")
    scenario.play([(AT, "$profile_update", {"attributes": {"tier": "gold"}})])
    missing = {"field": "user.x", "op": "eq", "expected": "gold", "actual": None, "missing": True}
    failed = {"field": "user.tier", "op": "eq", "expected": "gold", "actual": "silver", "missing": False}
    assert trace["reads"] == {"user.tier": "silver", "user.x": None}
    assert told(scenario, trace) == {
        "vip": Verdict("rules", "vip", False, failed),
        "plain": Verdict("rules", "plain", True),
        "either": Verdict("rules", "either", False, {"any": [failed, missing]}),
    }


def test_metrics_and_streaks_say_what_was_counted_then() -> None:
    program = document(
        metrics={
            "n": {"on": "buy", "when": gold(), "count": True},
            "m": {"on": "buy", "when": gold(value="x"), "count": True},
        },
        streaks={"daily": {"on": "buy", "when": gold()}},
    )
    found = told(*played(program, tier="gold"))
    assert [(name, v.fired, v.failed is None) for name, v in found.items()] == [
        ("n", True, True), ("m", False, False), ("daily", True, True),
    ]  # fmt: skip


def test_the_factor_of_an_attribute_is_told_with_its_value() -> None:
    rules = {"r": rule(multiply=[{"field": "user.tier", "map": {"gold": 2}}])}
    scenario, trace = played(document(rules=rules), tier="gold")
    assert trace["reads"] == {"user.tier": "gold"}
    assert told(scenario, trace)["r"] == Verdict("rules", "r", True, None, "times 2 by user.tier gold")


def test_a_decision_from_before_attributes_were_kept_says_that_it_does_not_know() -> None:
    rules = {
        "vip": rule(when={"any": [gold(), gold("user.x")]}),
        "all": rule(),
        "off": rule(when=gold(), enabled=False),
    }
    scenario, trace = played(document(rules=rules, streaks={"daily": {"on": "buy", "when": gold()}}), tier="silver")
    del trace["reads"]
    unknown = "not known: attributes were not kept"
    assert {name: (v.fired, v.failed, v.note) for name, v in told(scenario, trace).items()} == {
        "vip": (False, None, unknown),
        "all": (True, None, ""),
        "off": (False, None, "the rule is switched off"),
        "daily": (False, None, unknown),
    }


@pytest.mark.parametrize(
    "long",
    ["x" * ATTRIBUTE_READ_BYTES_MAX, ["tag"] * ATTRIBUTE_READ_BYTES_MAX, {"a": "x" * ATTRIBUTE_READ_BYTES_MAX}],
    ids=["text", "list", "object"],
)
def test_a_long_attribute_is_not_kept_with_each_decision(long: Any) -> None:
    scenario, trace = played(document(rules={"r": rule(when=gold("user.long"))}), long=long, tier="gold")
    assert "reads" not in trace
    assert told(scenario, trace)["r"].note == "not known: attributes were not kept"


def test_a_decision_keeps_only_so_many_attributes() -> None:
    leaves = [gold(f"user.a{n}", n) for n in range(ATTRIBUTE_READS_MAX + 10)]
    scenario, trace = played(document(rules={"r": rule(when={"all": leaves})}), **{f"a{n}": n for n in range(100)})
    assert len(trace["reads"]) == ATTRIBUTE_READS_MAX
    assert scenario.user().balances["coins"] == 10


@pytest.mark.parametrize(
    ("fold", "payload", "note"),
    [
        ("sum",      {"v": "abc"},  "v is no number"),
        ("sum",      {"v": None},   "v is no number"),
        ("sum",      {"v": True},   "v is no number"),
        ("sum",      {"v": 1e300},  "v is beyond what a metric holds"),
        ("sum",      {"v": 10**30}, "v is beyond what a metric holds"),
        ("max",      {"v": -1e300}, "v is beyond what a metric holds"),
        ("last",     {},            "v is missing"),
        ("distinct", {},            "v is missing"),
        ("sum",      {"v": 1},      None),
    ],
)  # fmt: skip
def test_a_value_that_does_not_count_is_told_with_the_reason(
    fold: str, payload: dict[str, Any], note: str | None
) -> None:
    scenario, trace = played(document(metrics={"km": {"on": "buy", fold: "v"}}), payload)
    assert ("metrics" in trace) == (note is None)
    assert told(scenario, trace, payload)["km"] == Verdict("metrics", "km", note is None, None, note or "")


def test_what_a_refused_event_would_have_counted_is_not_said_to_have_counted() -> None:
    scenario, _ = played(document(metrics={"n": {"on": "buy", "count": True}}))
    event = next(iter(scenario._events.values()))
    [verdict] = explain(scenario.program, event, {}, "the event is refused")
    assert verdict == Verdict("metrics", "n", False, None, "the event is refused")


def test_what_a_refused_event_did_not_come_to_read_is_explained_by_the_refusal() -> None:
    scenario, _ = played(document(rules={"r": rule(when=gold())}))
    event = next(iter(scenario._events.values()))
    [verdict] = explain(scenario.program, event, {}, "the event is refused")
    assert verdict == Verdict("rules", "r", False, None, "the event is refused")
