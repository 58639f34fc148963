"""Boosts and tiers against plain arithmetic that knows nothing of the engine, and what `$evaluate` gives."""

from bisect import bisect_right
from datetime import timedelta
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any, cast
from uuid import UUID

from books import books_balance
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import START

from questline.model.event import Event
from questline.model.limits import BOOST_SPANS_MAX
from questline.model.records import RecordKind
from questline.model.tiers import TierState
from questline.testing.scenario import Scenario

HOURS = 12
ROUND = {
    "floor": floor, "ceil": ceil, "half_even": round, "half_up": lambda number: floor(number + Fraction(1, 2)),
}  # fmt: skip


def event_of(number: int, type_: str, hours: int, **payload: Any) -> Event:
    return Event(UUID(int=number), 1, type_, "ada", payload, START + timedelta(hours=hours))


hundredths = st.integers(0, 500).map(lambda n: n / 100)
plain = st.fixed_dictionaries({"by": hundredths})
timed = st.fixed_dictionaries(
    {"by": hundredths, "from": st.integers(0, HOURS // 2), "until": st.integers(1 + HOURS // 2, HOURS)}
)
bounded = st.fixed_dictionaries(
    {"by": hundredths},
    optional={
        "currencies": st.lists(st.sampled_from(("XP", "coins")), unique=True),
        "rules": st.lists(st.sampled_from(("a", "b")), unique=True),
        "until": st.integers(0, HOURS),
        "segment": st.just("gold"),
        "lasts": st.fixed_dictionaries({"duration": st.integers(1, 5), "unit": st.just("hours")}),
    },
)
boosts_drawn = st.lists(st.one_of(plain, timed, bounded), min_size=1, max_size=4)
boosting = st.fixed_dictionaries(
    {"stack": st.sampled_from(("multiply", "add", "highest"))}, optional={"max": hundredths}
)
awards = st.fixed_dictionaries({"value": st.integers(1, 99), "round": st.sampled_from(tuple(ROUND))})


def boosted(boosts: list[dict[str, Any]], more: dict[str, Any], award: dict[str, Any], *, backwards: bool) -> Scenario:
    """A program that declares the boosts in their order or backwards, each personal one given by an event of its name."""
    named = {f"boost-{n}": dict(one) for n, one in enumerate(boosts)}
    given_by = {
        name: {"on": name, "rewards": [{"boost": name}]} for name, one in named.items() if "lasts" in one
    }  # fmt: skip
    for one in named.values():
        one |= {at: (START + timedelta(hours=one[at])).isoformat() for at in ("from", "until") if at in one}
    document = {
        "currencies": {"XP": {"kind": "xp"}, "coins": {"kind": "currency"}},
        "segments": {"gold": {"when": {"field": "user.tier", "op": "eq", "value": "gold"}}},
        "rules": {"a": {"on": "a", "award": {"XP": award, "coins": award}}, "b": {"on": "b", "award": {"XP": award}}, **given_by},
        "boosts": dict(reversed(named.items())) if backwards else named,
        "boosting": more,
    }  # fmt: skip
    return Scenario(document)


def factor(holding: list[Fraction], more: dict[str, Any]) -> Fraction:
    if not holding:
        return Fraction(1)
    match more["stack"]:
        case "highest":
            found = max(holding)
        case "add":
            found = max(1 + sum(by - 1 for by in holding), Fraction(0))
        case _:
            found = prod(holding)
    return min(found, Fraction(str(more["max"]))) if "max" in more else found


@settings(max_examples=100)
@given(
    boosts_drawn,
    boosting,
    awards,
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(("a", "b", *(f"boost-{n}" for n in range(4)))), st.integers(0, HOURS)), min_size=2, max_size=12),
)  # fmt: skip
def test_what_a_rule_pays_is_its_amount_times_the_boosts_that_hold_stacked_as_declared_and_rounded_once(
    boosts: list[dict[str, Any]], more: dict[str, Any], award: dict[str, Any], gold: bool, acts: list[tuple[str, int]]
) -> None:
    acts.sort(key=lambda act: act[1])
    scenario, other = (boosted(boosts, more, award, backwards=backwards) for backwards in (False, True))
    for one in (scenario, other):
        one.user().attributes = {"tier": "gold" if gold else "none"}
    until: dict[str, int] = {}
    decisions, expected = [], {"XP": 0, "coins": 0}
    for number, (type_, hour) in enumerate(acts, 1):
        decisions.append(scenario.apply(event_of(number, type_, hour)))
        assert other.apply(event_of(number, type_, hour)).transfers == decisions[-1].transfers
        for name, one in ((f"boost-{n}", one) for n, one in enumerate(boosts)):
            if name == type_ and "lasts" in one:
                until[name] = max(until.get(name, hour), hour) + one["lasts"]["duration"]
        if type_ in "ab":
            for currency in ("XP", "coins") if type_ == "a" else ("XP",):
                holding = [
                    Fraction(str(one["by"]))
                    for n, one in enumerate(boosts)
                    if one.get("from", 0) <= hour < one.get("until", HOURS + 1)
                    and ("lasts" not in one or hour < until.get(f"boost-{n}", hour))
                    and ("segment" not in one or gold)
                    and currency in (one.get("currencies") or (currency,))
                    and type_ in (one.get("rules") or (type_,))
                ]
                expected[currency] += ROUND[award["round"]](award["value"] * factor(holding, more))
    state = scenario.user()
    assert {currency: state.balances.get(currency, 0) for currency in expected} == expected
    assert books_balance(state, decisions)


@settings(max_examples=60)
@given(st.lists(st.integers(0, HOURS), min_size=1, max_size=8), st.integers(1, 12), st.integers(0, 4 * HOURS))
def test_a_personal_boost_lasts_as_long_as_all_it_was_given_for_where_one_begins_within_another(
    hours: list[int], lasts: int, look: int
) -> None:
    hours.sort()
    boosts = [{"by": 3, "lasts": {"duration": lasts, "unit": "hours"}}]
    scenario = boosted(boosts, {"stack": "add"}, {"value": 1}, backwards=False)
    for number, hour in enumerate(hours, 1):
        scenario.apply(event_of(number, "boost-0", hour))
    left = now = 0  # lived through hour by hour
    while now < max(look, hours[-1]):
        left = max(left + lasts * hours.count(now) - 1, 0)
        now += 1
    left += lasts * hours.count(now)
    scenario.apply(event_of(1_000, "b", now))
    assert scenario.user().balances == {"XP": 3 if left else 1}


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 3 * HOURS), min_size=1, max_size=BOOST_SPANS_MAX),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_a_personal_boost_holds_in_the_same_hours_in_whatever_order_it_was_given(
    hours: list[int], lasts: int, chance: Any
) -> None:
    boosts = [{"by": 3, "lasts": {"duration": lasts, "unit": "hours"}}]
    left, holds = 0, []  # lived through hour by hour
    for now in range(12 * HOURS):
        left += lasts * hours.count(now)
        holds.append(left > 0)
        left = max(left - 1, 0)
    shuffled = [*hours]
    chance.shuffle(shuffled)
    scenario = boosted(boosts, {"stack": "add"}, {"value": 1}, backwards=False)
    for number, hour in enumerate(shuffled, 1):
        scenario.apply(event_of(number, "boost-0", hour))
    found = [scenario.apply(event_of(1_000 + hour, "b", hour)).transfers[0].amount for hour in range(12 * HOURS)]
    assert found == [3 if held else 1 for held in holds]


steps_at = st.lists(st.integers(1, 200), unique=True, min_size=1, max_size=5).map(lambda found: [0, *sorted(found)])
ways = st.sampled_from(({"earned": "coins"}, {"balance": "coins"}, {"balance": "coins", "demote": True}))
acts_of_tiers = st.lists(
    st.tuples(st.sampled_from(("earn", "earn", "$spend", "$compensate")), st.integers(1, 150)), min_size=3, max_size=16
)


@settings(max_examples=100)
@given(steps_at, ways, acts_of_tiers, st.integers(0, 2))
def test_a_tier_is_the_step_that_the_balance_or_the_earnings_reach_and_leads_down_only_where_it_may(
    ats: list[int], way: dict[str, Any], acts: list[tuple[str, int]], bonus: int
) -> None:
    steps = [
        {"name": f"step-{n}", "at": at, "rewards": [{"currency": "gems", "value": n}] if n else []}
        for n, at in enumerate(ats)
    ]
    achievements = {"bonus": {"title": "b", "requirements": [{"metric": "times", "threshold": 2}], "rewards": [{"currency": "coins", "value": 40}]}}  # fmt: skip
    scenario = Scenario(
        {
            "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
            "metrics": {"times": {"on": "earn", "count": True}},
            "rules": {"earn": {"on": "earn", "award": {"coins": {"field": "n"}}}},
            "achievements": achievements if bonus else {},
            "tiers": {"club": {"steps": steps, **way}},
        }
    )
    decisions, earned, held, owed, times = [], 0, 0, 0, 0
    step = best = 0
    for number, (type_, n) in enumerate(acts, 1):
        payload = {"currency": "coins", "amount": n, "n": n, "event": str(number), "amounts": {"coins": -n}}
        decisions.append(scenario.apply(event_of(number, type_, 0, **payload)))
        peaks = []
        if type_ == "earn":
            times += 1
            for amount in (n, *((40,) if bonus and times == 2 else ())):
                earned, held, paid = earned + amount, held + amount, min(owed, held + amount)
                held, owed = held - paid, owed - paid
                peaks.append(held)
        elif type_ == "$compensate":
            taken = min(held, n)
            held, owed = held - taken, owed + n - taken
        elif held >= n:
            held -= n
        amount = earned if "earned" in way else max((held, *peaks))
        reached = bisect_right(ats, amount) - 1
        step = reached if way.get("demote") else max(step, reached)
        best = max(best, step)
        state = cast(TierState, scenario.user().records.get((RecordKind.TIER, "club"), TierState(0, 0, 0)))
        assert (state.step, state.best, state.earned) == (step, best, earned if "earned" in way else 0)
    user = scenario.user()
    told = [
        (n.type, n.data["before"], n.data["after"]) for d in decisions for n in d.notices if n.type.startswith("tier.")
    ]
    assert all(("down" in type_) == (before > after) for type_, before, after in told)
    assert {type_ for type_, _, _ in told} <= {"tier.up", *(("tier.down",) if way.get("demote") else ())}
    assert (user.balances.get("coins", 0), user.debts.get("coins", 0)) == (held, owed)
    assert user.balances.get("gems", 0) == best * (best + 1) // 2  # each step pays once
    assert books_balance(user, decisions)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), max_size=10), st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_tier_by_earnings_ends_on_the_same_step_in_any_order(amounts: list[int], spends: int, chance: Any) -> None:
    steps = [{"name": f"step-{at}", "at": at} for at in (0, 50, 100, 200)]
    ends = []
    for _ in range(2):
        scenario = Scenario(
            {
                "currencies": {"coins": {"kind": "currency"}},
                "rules": {"earn": {"on": "earn", "award": {"coins": {"field": "n"}}}},
                "tiers": {"club": {"steps": steps, "earned": "coins"}},
            }
        )
        acts = [("earn", n) for n in amounts] + [("$spend", 5)] * spends
        chance.shuffle(acts)
        for number, (type_, n) in enumerate(acts, 1):
            scenario.apply(event_of(number, type_, 0, n=n, currency="coins", amount=n))
        ends.append(scenario.user().records.get((RecordKind.TIER, "club")))
    assert ends[0] == ends[1]
    assert ends[0] is None or cast(TierState, ends[0]).earned == sum(amounts)


REQUIREMENTS = st.sampled_from(
    (
        {"requirements": [{"metric": "tasks", "threshold": 3}], "rewards": [{"currency": "coins", "value": 9}]},
        {"requirements": [{"metric": "tasks", "threshold": 2}], "repeatable": True, "rewards": [{"currency": "coins", "value": 9}]},
        {"requirements": [{"metric": "tasks"}], "tiers": [{"threshold": n, "rewards": [{"currency": "coins", "value": n}]} for n in (1, 4, 6)]},
        {"requirements": [{"level": "XP", "threshold": 2}, {"streak": "daily", "threshold": 2}], "rewards": [{"currency": "XP", "value": 10}]},
    )
)  # fmt: skip


@settings(max_examples=80)
@given(
    REQUIREMENTS,
    st.lists(st.integers(0, 6), max_size=9),
    st.lists(st.integers(0, 6), max_size=3),
    st.integers(1, 3),
)
def test_an_achievement_given_afterwards_pays_what_it_would_have_paid_all_along_and_once(
    achievement: dict[str, Any], days: list[int], later: list[int], evaluations: int
) -> None:
    program: dict[str, Any] = {
        "currencies": {"coins": {"kind": "currency"}, "XP": {"kind": "xp", "levels": {"curve": "linear", "base": 20}}},
        "metrics": {"tasks": {"on": "task", "count": True}},
        "rules": {"task": {"on": "task", "award": {"XP": 7}}},
        "streaks": {"daily": {"on": "task"}},
    }
    achievements = {"achievements": {"late": {"title": "Late", **achievement}}}
    afterwards, always = Scenario(program), Scenario({**program, **achievements})
    decisions = []
    for number, day in enumerate(days, 1):
        decisions.append(afterwards.apply(event_of(number, "task", 24 * day)))
        always.apply(event_of(number, "task", 24 * day))
    there = Scenario({**program, **achievements})
    there.users = afterwards.users
    for n in range(evaluations):  # a sweep sends one event; that another, of its own key, comes too changes nothing
        decisions.append(there.apply(event_of(1_000 + n, "$evaluate", 200, achievement="late", version=1)))
        assert n == 0 or not decisions[-1].transfers
    for number, day in enumerate(later, len(days) + 1):
        decisions.append(there.apply(event_of(number, "task", 24 * day)))
        always.apply(event_of(number, "task", 24 * day))
    found, wanted = there.user(), always.user()
    assert (found.balances, found.levels) == (wanted.balances, wanted.levels)
    unlocked = [{n: (a.tier, a.times) for n, a in state.achievements.items()} for state in (found, wanted)]
    assert unlocked[0] == unlocked[1]
    assert books_balance(found, decisions)
