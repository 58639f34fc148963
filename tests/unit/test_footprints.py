"""What the store loads for an event is all that its decision can touch."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import COINS, START, Scenario

from questline.engine.compile import Program, compile_program
from questline.engine.decide import decide
from questline.engine.evolve import evolve
from questline.model import calendar
from questline.model.event import Event
from questline.model.footprint import Footprint
from questline.model.records import RecordKind
from questline.model.state import UserState

TYPES = (
    "a",
    "b",
    "c",
    "$spend",
    "$profile_update",
    "$progress",
    "$evaluate",
    "$backfill",
    "$streak_pause",
    "$streak_mend",
    "$quest_start",
    "$quest_step",
    "$quest_complete",
    "$quest_expire",
)
NAMES = ("one", "two", "three")


def test_an_achievement_that_another_requires_is_followed_like_any_other() -> None:
    program = {
        "currencies": COINS,
        "metrics": {"m1": {"on": "e", "count": True}, "m2": {"on": "f", "count": True}},
        "achievements": {
            "both": {"title": "B", "requirements": [{"achievement": "pair"}, {"metric": "m1"}]},
            "pair": {"title": "P", "requirements": [{"metric": "m1"}, {"metric": "m2"}], "rewards": [{"currency": "coins", "value": 5}]},
        },
    }  # fmt: skip
    assert compile_program(program, 1).footprint("e") == Footprint(
        currencies=frozenset({"coins"}), metrics=frozenset({"m1", "m2"}), achievements=frozenset({"both", "pair"})
    )


def test_a_quest_is_followed_to_what_it_requires_pays_and_opens() -> None:
    program = {
        "currencies": {**COINS, "gems": {"kind": "currency"}},
        "metrics": {name: {"on": name, "count": True} for name in ("m1", "m2", "m3", "m4")},
        "achievements": {"hero": {"title": "H", "requirements": [{"quest": "second"}]}},
        "quests": {
            "first": {"title": "F", "steps": [{"id": "a", "on": "e", "when": {"field": "metric.m3", "op": "gt", "value": 0}},
                                              {"id": "b", "requirements": [{"metric": "m1"}], "rewards": [{"currency": "coins", "value": 1}]}]},
            "second": {"title": "S", "prerequisites": [{"quest": "first"}], "rewards": [{"currency": "gems", "value": 1}],
                       "steps": [{"id": "a", "requirements": [{"metric": "m2"}]}]},
            "apart": {"title": "A", "steps": [{"id": "a", "requirements": [{"metric": "m4"}]}]},
        },
    }  # fmt: skip
    assert compile_program(program, 1).footprint("e") == Footprint(
        currencies=frozenset({"coins", "gems"}),
        metrics=frozenset({"m1", "m2", "m3"}),
        achievements=frozenset({"hero"}),
        records=frozenset({(RecordKind.QUEST, "first"), (RecordKind.QUEST, "second")}),
    )


def test_what_a_condition_only_reads_brings_no_consequences_along() -> None:
    program = {
        "currencies": {"XP": {"kind": "xp"}, **COINS},
        "rules": {"r": {"on": "e", "when": {"field": "balance.XP", "op": "gt", "value": 1}, "award": {"coins": 1}}},
        "achievements": {"rich": {"title": "R", "requirements": [{"currency": "XP", "threshold": 9}]}},
    }
    assert compile_program(program, 1).footprint("e") == Footprint(currencies=frozenset({"XP", "coins"}))


def test_a_distinct_metrics_key_is_looked_up_where_the_metric_reads_it() -> None:
    # field, payload
    table = [
        ("tag",               {"tag": "x"}),
        ("payload.tag",       {"tag": "x"}),
        ("items.0.sku",       {"items": [{"sku": "x"}]}),
        ("a.b",               {"a.b": "x", "a": {"b": "y"}}),
        ("payload.a.b",       {"a.b": "x", "a": {"b": "y"}}),
        ("payload.tag",       {"payload.tag": "x", "tag": "y"}),
        ("tag",               {"tag": None}),
        ("tag",               {}),
    ]  # fmt: skip
    for field, payload in table:
        scenario = Scenario({"metrics": {"m": {"on": "e", "distinct": field}}})
        event = Event(UUID(int=1), 1, "e", "ada", payload, START)
        counted = [(m.metric, m.seen_value) for m in decide(scenario.program, scenario.state, event).metrics]
        assert scenario.program.distinct_keys(event) == counted, (field, payload)


def sometimes(value: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), value)


on = st.one_of(st.sampled_from(("a", "b", "*")), st.just(["a", "b"]))
names = st.sampled_from(NAMES)
actions = st.sampled_from(("flag", "flag", "flag", "hold", "refuse"))
awards = st.dictionaries(names, st.integers(1, 30), min_size=1, max_size=2)
leaves = st.builds(
    lambda field, value: {"field": field, "op": "gte", "value": value},
    st.sampled_from(
        [f"{root}.{name}" for root in ("balance", "level", "streak", "metric", "quest") for name in NAMES] + ["v"]
    ),
    st.integers(0, 5),
)
requirements = st.lists(
    st.builds(
        lambda kind, name, threshold: {kind: name, "threshold": threshold, **(
            {"timeframe": {"duration": threshold, "unit": "hours"}} if (kind, name) == ("metric", "two") else {})},
        st.sampled_from(("metric", "level", "streak", "currency", "achievement", "progress", "quest")), names, st.integers(1, 6),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> Program:
    def when() -> dict[str, Any]:
        found = draw(sometimes(leaves))
        return {} if found is None else {"when": found}

    kinds = st.sampled_from(({"count": True}, {"sum": "v"}, {"max": "v"}, {"distinct": "v"}))
    own = {
        name: [r for r in draw(requirements) if r.get("achievement") != name] or [{"metric": "one"}] for name in NAMES
    }
    document = {
        "currencies": {
            name: {"kind": "xp", "spendable": True, "levels": {"curve": "linear", "base": draw(st.integers(5, 40)),
                   "rewards": {str(draw(st.integers(2, 5))): {"award": draw(awards)}}}}
            for name in NAMES
        },
        "metrics": {
            name: {"on": draw(on), **({"count": True} if name == "two" else draw(kinds)), **when()} for name in NAMES
        },
        "streaks": {name: {"on": draw(on), "milestones": {"2": {"award": draw(awards)}}, **when()} for name in NAMES},
        "guards": {
            "few": {"kind": "rate", "on": draw(on), "times": 1, "window": {"duration": 9, "unit": "hours"}, "score": 2,
                    "action": draw(actions), **when()},
            "near": {"kind": "jump", "on": draw(on), "field": "v", "by": 1, "score": 3, "action": draw(actions), **when()},
            "own": {"kind": "spread", "on": draw(on), "field": "v", "values": 1, "window": {"duration": 9, "unit": "hours"}},
            "all": {"kind": "duplicate", "on": draw(on), "fields": ["v"], "across": "users",
                    "window": {"duration": 1, "unit": "hours"}, "action": draw(actions)},
        },
        "suspicion": {"decay": {"points": 1, "every": 5}, "actions": {"9": draw(actions), "15": "block"}},
        "rules": {
            name: {"on": draw(on), "award": draw(awards), "limit": {"times": 2, "per": "day"}, **when(),
                   "multiply": [{"streak": draw(names), "from": 2, "by": 2}]}
            for name in NAMES
        },
        "achievements": {
            name: {"title": name, "match": draw(st.sampled_from(("all", "any"))), "requirements": own[name],
                   "rewards": [{"currency": draw(names), "value": 3}]}
            for name in NAMES
        },
        "quests": {
            name: {"title": name, "type": draw(st.sampled_from(("daily", "story"))), "autoStart": draw(st.booleans()),
                   "prerequisites": [r for r in before if r.get("quest", "") < name],
                   "fails": {"on": "c", **when()}, "rewards": [{"currency": draw(names), "value": 3}],
                   "steps": [{"id": "s", "requirements": [r for r in draw(requirements) if r.get("quest") != name and "currency" not in r],
                              "rewards": [{"currency": draw(names), "value": 2}]},
                             {"id": "t", "on": draw(on), **when()}, {"id": "m"}]}
            for name in NAMES for before in [draw(requirements)]
        },
    }  # fmt: skip
    for quest in document["quests"].values():
        for requirement in quest["steps"][0]["requirements"]:
            total = requirement.keys() & {"timeframe", "progress"} or requirement.get("metric") in maxima(document)
            requirement["since"] = "ever" if total else draw(st.sampled_from(("start", "ever")))
    return compile_program(document, 1)


def maxima(document: dict[str, Any]) -> set[str]:
    return {name for name, metric in document["metrics"].items() if "max" in metric}


def loaded(program: Program, whole: UserState, event: Event) -> UserState:
    """The state as the store would have loaded it for this event alone."""
    footprint = program.footprint(event.type)
    zone = calendar.zone_in_force(whole.timezone, whole.zone_history, event.occurred_at, program.timezone)
    records = footprint.records | set(program.record_keys(event, zone))
    windows, keys = set(program.rule_windows(event, zone)), set(program.distinct_keys(event))
    return msgspec.structs.replace(
        whole,
        balances={n: v for n, v in whole.balances.items() if n in footprint.currencies},
        levels={n: v for n, v in whole.levels.items() if n in footprint.currencies},
        metrics={n: v for n, v in whole.metrics.items() if n in footprint.metrics},
        streaks={n: v for n, v in whole.streaks.items() if n in footprint.streaks},
        achievements={n: v for n, v in whole.achievements.items() if n in footprint.achievements},
        rule_uses={k: v for k, v in whole.rule_uses.items() if k in windows},
        seen_values={k for k in whole.seen_values if k in keys},
        sightings={k: v for k, v in whole.sightings.items() if k in set(program.sighting_keys(event))},
        records={k: v for k, v in whole.records.items() if k in records},
    )


PAYLOADS = {
    "$spend": {"currency": "one", "amount": 3},
    "$profile_update": {"timezone": "Pacific/Kiritimati"},
    "$progress": {"achievement": "one", "amount": 2},
    **{type_: {"quest": "two", "step": "m"} for type_ in TYPES[-4:]},
    "$evaluate": {"achievement": "two", "version": 1},
    "$backfill": {"event": "e", "metric": "one", "value": 3},
    "$streak_pause": {"streak": "three", "until": "2026-01-12"},
    "$streak_mend": {"incident": "i", "from": "2026-01-06T00:00:00+00:00", "until": "2026-01-07T00:00:00+00:00"},
}
played = st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 5 * 24), st.integers(0, 4)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(programs(), played)
def test_a_state_cut_to_the_footprint_gives_the_decision_of_the_whole_state(program: Program, facts: Any) -> None:
    state = UserState(1, "ada", timezone="Pacific/Niue")
    for number, (type_, hours, v) in enumerate(facts, 1):
        payload = PAYLOADS.get(type_, {"v": v})
        event = Event(UUID(int=number), 1, type_, "ada", payload, START + timedelta(hours=hours))
        decision = decide(program, state, event)
        assert decide(program, loaded(program, state, event), event) == decision
        evolve(state, decision)
