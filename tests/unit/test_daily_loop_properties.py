"""The daily loop against counts that know nothing of the engine: check-ins, vitals, items."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from books import books_balance
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import START

from questline.engine.vitals import value_at
from questline.model.event import Event
from questline.model.items import ItemState
from questline.model.records import RecordKind
from questline.model.vitals import Vital, VitalState
from questline.testing.scenario import Scenario

CHECK_IN: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"daily": {"on": "check_in", "award": {"coins": 5}}},
    "streaks": {"daily": {"on": "check_in"}},
}
# A day apart at most: somebody who goes from UTC-12 to UTC+14 never sees one date, and loses their streak over it.
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Honolulu", "Pacific/Kiritimati")
DAYS = 12
ACROSS_ZONES = timedelta(hours=8)  # for which the clocks of another zone give no second check-in


def event_of(number: int, type_: str, at: datetime, **payload: Any) -> Event:
    return Event(UUID(int=number), 1, type_, "ada", payload, at)


def local_date(at: datetime, zones: tuple[str, str], moved_at: datetime) -> date:
    """The date on the clock of somebody who went from one zone to the other."""
    return at.astimezone(ZoneInfo(zones[0] if at < moved_at else zones[1])).date()


def longest_run(active: set[date], calendar: list[date]) -> int:
    """The most active dates in a row, of the dates that the user's clock has shown."""
    best = run = 0
    for day in calendar:
        run = run + 1 if day in active else 0
        best = max(best, run)
    return best


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, DAYS * 24), min_size=1, max_size=20),
    st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    st.integers(0, DAYS * 24),
    st.randoms(use_true_random=False),
)
def test_of_the_check_ins_of_a_local_day_one_is_taken_in_whatever_order_they_come_and_wherever_the_user_goes(
    hours: list[int], zones: tuple[str, str], moved: int, chance: Any
) -> None:
    scenario, moved_at = Scenario(CHECK_IN), START + timedelta(hours=moved)
    state = scenario.user()
    state.timezone = zones[0]
    decisions = [scenario.apply(event_of(1_000, "$profile_update", moved_at, timezone=zones[1]))]
    chance.shuffle(hours)
    days: dict[date, datetime] = {}
    for number, hour in enumerate(hours, 1):
        at = START + timedelta(hours=hour)
        day, zone = local_date(at, zones, moved_at), ZoneInfo(zones[at >= moved_at])
        taken = day in days or any(
            abs(at - other) < ACROSS_ZONES and other.astimezone(zone).date() != dated for dated, other in days.items()
        )
        decisions.append(scenario.apply(event_of(number, "check_in", at)))
        assert decisions[-1].reason.value == ("ALREADY_CHECKED_IN" if taken else "PROCESSED")
        if not taken:
            days[day] = at
    shown = sorted({local_date(START + timedelta(hours=h), zones, moved_at) for h in range(-24, (DAYS + 1) * 24)})
    assert state.balances == {"coins": 5 * len(days)}
    assert state.streaks["daily"].longest == longest_run(set(days), shown)
    assert books_balance(state, decisions)


regenerations = st.fixed_dictionaries(
    {"amount": st.integers(-40, 40).filter(bool), "every": st.integers(1, 90), "unit": st.just("minutes")}
)
vitals = st.fixed_dictionaries(
    {"min": st.just(-10), "max": st.just(90), "start": st.integers(-10, 90)},
    optional={"regenerate": regenerations, "atTop": st.just({"then": 5, "rewards": [{"currency": "coins", "value": 1}]})},
)  # fmt: skip
DELTAS = (-100, -7, 1, 3, 60)
moves = st.lists(st.tuples(st.integers(0, 600), st.sampled_from(DELTAS)), min_size=1, max_size=12)


def with_vital(vital: dict[str, Any]) -> Scenario:
    rules = {f"r{n}": {"on": f"e{n}", "rewards": [{"vital": "v", "value": delta}]} for n, delta in enumerate(DELTAS)}
    look = {"on": "look", "when": {"field": "vital.v", "op": "gte", "value": 0}, "award": {"coins": 1}}
    currencies = {"coins": {"kind": "currency"}}
    return Scenario({"currencies": currencies, "vitals": {"v": vital}, "rules": {**rules, "look": look}})


def naive_vital(vital: dict[str, Any], steps: list[tuple[int, int]], until: int) -> tuple[int, int]:
    """The value after so many minutes, each lived through by itself, and how often the top was reached."""
    low, high, rule, top = vital["min"], vital["max"], vital.get("regenerate"), vital.get("atTop")
    value, rest, tops, begun = vital["start"], 0, 0, False

    def stuck() -> bool:
        return rule is not None and value == (high if rule["amount"] > 0 else low)

    for minute in range(until + 1):
        if rule is not None and begun and minute > 0:
            rest = 0 if stuck() else rest + 1
            if rest == rule["every"]:
                value, rest = min(max(value + rule["amount"], low), high), 0
        for at, delta in steps:
            if at == minute:
                begun, before = True, value
                rest = 0 if stuck() else rest
                value = min(max(value + delta, low), high)
                if value == high > before:
                    tops += 1
                    value = value if top is None else top["then"]
    return value, tops


@settings(max_examples=60)
@given(vitals, moves, st.integers(0, 600), st.lists(st.integers(0, 600), max_size=8))
def test_a_vital_is_what_each_minute_makes_of_it_however_often_it_is_read(
    vital: dict[str, Any], steps: list[tuple[int, int]], more: int, looks: list[int]
) -> None:
    steps.sort(key=lambda step: step[0])
    scenario, until = with_vital(vital), max(at for at, _ in steps) + more
    rows = [(at, 0, f"e{DELTAS.index(delta)}") for at, delta in steps] + [(at, 1, "look") for at in looks]
    decisions = [
        scenario.apply(event_of(number, type_, START + timedelta(minutes=at)))
        for number, (at, _, type_) in enumerate(sorted(rows, key=lambda row: row[:2]), 1)
    ]
    state = scenario.user()
    record = cast(VitalState, state.records[RecordKind.VITAL, "v"])
    value, tops = naive_vital(vital, steps, until)
    assert value_at(scenario.program.vitals["v"], record, START + timedelta(minutes=until))[0] == value
    assert [n.type for d in decisions for n in d.notices].count("vital.full") == tops
    seen = {at: naive_vital(vital, [s for s in steps if s[0] <= at], at)[0] >= 0 for at in looks}
    coins = sum(seen[at] for at in looks) + (tops if "atTop" in vital else 0)
    assert state.balances.get("coins", 0) == coins
    assert books_balance(state, decisions)


@settings(max_examples=40)
@given(vitals, moves, st.randoms(use_true_random=False))
def test_a_vital_stays_within_its_bounds_and_its_time_runs_forwards_in_whatever_order_events_come(
    vital: dict[str, Any], steps: list[tuple[int, int]], chance: Any
) -> None:
    scenario = with_vital(vital)
    chance.shuffle(steps)
    states = []
    for number, (at, delta) in enumerate(steps, 1):
        scenario.apply(event_of(number, f"e{DELTAS.index(delta)}", START + timedelta(minutes=at)))
        states.append(cast(VitalState, scenario.user().records[RecordKind.VITAL, "v"]))
    assert all(vital["min"] <= state.value <= vital["max"] for state in states)
    assert all(before.at <= after.at for before, after in pairwise(states))
    assert states[-1].at <= START + timedelta(minutes=max(at for at, _ in steps))


@settings(max_examples=100)
@given(vitals, st.integers(-10, 90), st.lists(st.fractions(0, 200, max_denominator=60), min_size=1, max_size=6))
def test_any_split_of_time_gives_a_vital_the_same_value(vital: dict[str, Any], value: int, parts: list[Fraction]) -> None:  # fmt: skip
    definition = msgspec.convert(vital, Vital)
    state, at = VitalState(value, START), START
    for part in parts:
        at += timedelta(minutes=1) * part.numerator / part.denominator
        state = VitalState(*value_at(definition, state, at))
    assert state.value == value_at(definition, VitalState(value, START), at)[0]


ITEMS: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"gift": {"on": "gift", "award": {"coins": 4}, "rewards": [{"item": "tea", "quantity": 2}]}},
    "items": {
        "tea": {"price": {"coins": 3}, "stack": 5, "use": [{"currency": "coins", "value": 1}],
                "expiresAfter": {"duration": 20, "unit": "hours"}, "cooldown": {"duration": 2, "unit": "hours"}},
        "cup": {"price": {"coins": 5}},
    },
    "inventory": {"cap": 6},
}  # fmt: skip
ACTS = {
    "gift": ("gift", {}), "tea": ("$buy", {"item": "tea", "quantity": 2}), "cup": ("$buy", {"item": "cup"}), "use": ("$use", {"item": "tea"}),
}  # fmt: skip


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(tuple(ACTS)), st.integers(0, 8)), max_size=24))
def test_an_inventory_holds_what_was_received_less_what_was_used_and_what_expired(acts: list[tuple[str, int]]) -> None:
    scenario, at, decisions = Scenario(ITEMS), START, []
    coins, cups, used_at = 0, 0, datetime.min.replace(tzinfo=UTC)
    cold: list[datetime] = []  # when each tea expires
    told = Counter[str]()
    for number, (act, hours) in enumerate(acts, 1):
        at += timedelta(hours=hours)
        cold = sorted(end for end in cold if end > at)
        room = min(5 - len(cold), 6 - len(cold) - cups)
        type_, payload = ACTS[act]
        decisions.append(scenario.apply(event_of(number, type_, at, **payload)))
        reason = "PROCESSED"
        if act == "gift":
            coins, cold = coins + 4, cold + [at + timedelta(hours=20)] * min(room, 2)
            told["left"] += 2 - min(room, 2)
        elif act == "use":
            if at < used_at + timedelta(hours=2):
                reason = "COOLDOWN"
            elif not cold:
                reason = "NOT_OWNED"
            else:
                coins, cold, used_at = coins + 1, cold[1:], at
        else:
            needed, price = (2, 6) if act == "tea" else (1, 5)
            free = room if act == "tea" else 6 - len(cold) - cups
            if free < needed:
                reason = "INVENTORY_FULL"
            elif coins < price:
                reason = "INSUFFICIENT_BALANCE"
            elif act == "tea":
                coins, cold = coins - price, cold + [at + timedelta(hours=20)] * 2
            else:
                coins, cups = coins - price, cups + 1
        assert decisions[-1].reason.value == reason
    state = scenario.user()
    held = {name: cast(ItemState, s).units(at) for (kind, name), s in state.records.items() if kind is RecordKind.ITEM}
    assert (held.get("tea", 0), held.get("cup", 0), state.balances.get("coins", 0)) == (len(cold), cups, coins)
    left = sum(n.data["left"] for d in decisions for n in d.notices if n.type == "inventory.full")
    assert left == told["left"]
    assert books_balance(state, decisions)
