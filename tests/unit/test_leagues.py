"""Leagues and seasons in memory: points, places, results, and the errors of their definitions."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from books import books_balance
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine.compile import compile_program
from questline.engine.decide import decide
from questline.engine.leagues import Member, Outcome, settle
from questline.engine.order import order_dependent
from questline.engine.validate import validate
from questline.model import calendar
from questline.model.contests import League, LeagueTier
from questline.model.event import Event
from questline.model.state import UserState
from questline.testing.scenario import Scenario

XP: dict[str, Any] = {"currencies": {"XP": {"kind": "xp"}, "coins": {"kind": "currency"}}}
AT = datetime(2026, 1, 5, tzinfo=UTC)
TIERS = [{"title": "Bronze"}, {"title": "Silver"}, {"title": "Gold"}]


def league(**more: Any) -> dict[str, Any]:
    return {"currency": "XP", "tiers": TIERS, "promote": 2, "demote": 1, **more}


def program(**more: Any) -> dict[str, Any]:
    return {**XP, "rules": {"task": {"on": "task", "award": {"XP": {"field": "points"}}}}, **more}


def points_of(document: dict[str, Any], at: str, *, zone: str | None = None) -> list[tuple[Any, ...]]:
    scenario = Scenario(document)
    scenario.user().timezone = zone
    played = scenario.play([(at, "task", {"points": 5})])
    return [(p.league, calendar.week_key(p.week), p.zone, p.points) for p in played[0].decision.league_points]


@pytest.mark.parametrize(
    ("zone_of", "at", "zone", "found"),
    [
        ("project", "2026-01-04T23:59Z", None,                 [("weekly", "2026-W01", "UTC", 5)]),
        ("project", "2026-01-05T00:00Z", None,                 [("weekly", "2026-W02", "UTC", 5)]),
        ("project", "2026-01-04T12:00Z", "Pacific/Kiritimati", [("weekly", "2026-W01", "UTC", 5)]),
        ("user",    "2026-01-04T12:00Z", "Pacific/Kiritimati", [("weekly", "2026-W02", "Pacific/Kiritimati", 5)]),
        ("user",    "2026-01-04T12:00Z", None,                 [("weekly", "2026-W01", "UTC", 5)]),
    ],
)  # fmt: skip
def test_a_week_is_of_the_projects_zone_or_of_the_users(
    zone_of: str, at: str, zone: str | None, found: list[tuple[Any, ...]]
) -> None:
    document = program(leagues={"weekly": league(cohorts={"size": 5, "zone": zone_of})})
    assert points_of(document, at, zone=zone) == found


@pytest.mark.parametrize(("settle_minutes", "late_minutes", "counts"), [(0, -1, True), (0, 0, False), (10, 9, True), (10, 10, False)])  # fmt: skip
def test_an_event_counts_that_was_received_before_its_week_closed(
    settle_minutes: int, late_minutes: int, counts: bool
) -> None:
    span = {"settle": {"duration": settle_minutes, "unit": "minutes"}} if settle_minutes else {}
    compiled = compile_program(program(leagues={"weekly": league(**span)}), 1)
    event = Event(
        UUID(int=1), 1, "task", "ada", {"points": 5}, AT - timedelta(hours=1),
        received_at=AT + timedelta(minutes=late_minutes),
    )  # fmt: skip
    assert bool(decide(compiled, UserState(1, "ada"), event).league_points) is counts


def test_the_ends_of_contests_do_not_score_in_leagues() -> None:
    winner = [{"from": 1, "rewards": [{"currency": "XP", "value": 100}]}]
    document = program(leagues={"weekly": league(tiers=[{"rewards": winner}])})
    result = {"league": "weekly", "week": "2026-W01", "cohort": 0, "members": 2, "rank": 1, "score": 9, "outcome": "stayed", "before": 1, "after": 1}  # fmt: skip
    [played] = Scenario(document).play([("2026-01-05T00:01Z", "$league_result", result)])
    assert played.effects == ("XP +100 league:weekly:2026-W01:1", "league weekly - → 1 stayed")
    assert played.decision.league_points == ()
    assert [(n.type, n.data["rank"]) for n in played.decision.notices] == [("league.stayed", 1)]


members = st.lists(
    st.builds(Member, st.integers(1, 10_000), st.integers(-3, 6), st.integers(0, 3).map(lambda n: AT + timedelta(hours=n))),
    max_size=30,
    unique_by=lambda m: m.user_id,
)  # fmt: skip
leagues = st.builds(
    League,
    tiers=st.integers(1, 4).map(lambda n: (LeagueTier(),) * n),
    ties=st.sampled_from(["first", "competition", "dense"]),
    promote=st.integers(0, 6),
    demote=st.integers(0, 6),
)


@given(members, leagues, st.integers(1, 4))
def test_places_are_those_of_a_naive_count(found: list[Member], definition: League, tier: int) -> None:
    tier = min(tier, len(definition.tiers))
    places = {place.user_id: place for place in settle(definition, tier, found)}
    assert len(places) == len(found)
    last = len({m.score for m in found}) if definition.ties == "dense" else len(found)
    for member in found:
        place = places[member.user_id]
        above = [m for m in found if m.score > member.score]
        if definition.ties == "first":
            key = (member.reached_at, member.user_id)
            rank = 1 + len(above) + sum(m.score == member.score and (m.reached_at, m.user_id) < key for m in found)
        else:
            rank = 1 + (len({m.score for m in above}) if definition.ties == "dense" else len(above))
        up = rank <= definition.promote and tier < len(definition.tiers)
        down = not up and rank > last - definition.demote and tier > 1
        outcome = Outcome.PROMOTED if up else Outcome.DEMOTED if down else Outcome.STAYED
        assert (place.rank, place.outcome, place.tier) == (rank, outcome, tier + up - down)


@given(members, leagues, st.integers(1, 4), st.randoms())
def test_places_do_not_depend_on_the_order_members_are_read_in(
    found: list[Member], definition: League, tier: int, chance: Any
) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert settle(definition, tier, shuffled) == settle(definition, tier, found)


SEASON: dict[str, Any] = {
    "start": "2026-01-10",
    "end": "2026-01-20",
    "reset": {"coins": "zero"},
    "boards": {
        "xp": {"currency": "XP", "rewards": [{"from": 1, "to": 2, "rewards": [{"currency": "coins", "value": 50}]}]},
        "tasks": {"metric": "tasks"},
        "best": {"metric": "best"},
    },
}
METRICS = {"tasks": {"on": "task", "count": True}, "best": {"on": "task", "max": "points"}}


def test_a_season_counts_what_happened_within_it() -> None:
    scenario = Scenario(program(metrics=METRICS, seasons={"winter": SEASON}, timezone="Europe/Berlin"))
    days = ("2026-01-09T22:59Z", "2026-01-09T23:00Z", "2026-01-15T00:00Z", "2026-01-19T22:59Z", "2026-01-19T23:00Z")
    scenario.play([(day, "task", {"points": 5 - n}) for n, day in enumerate(days)])
    assert scenario.boards == {
        ("winter/xp", "winter", "ada"): 9,
        ("winter/tasks", "winter", "ada"): 3,
        ("winter/best", "winter", "ada"): 4,
    }


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 20 * 24), st.integers(0, 30)), min_size=1, max_size=15),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_a_season_is_what_happened_within_it_in_any_order_and_its_end_takes_and_then_gives(
    tasks: list[tuple[int, int]], rank: int, chance: Any
) -> None:
    rules = {"task": {"on": "task", "award": {"XP": {"field": "points"}, "coins": 3}}}
    scenario = Scenario({**program(metrics=METRICS, seasons={"winter": SEASON}), "rules": rules})
    chance.shuffle(tasks)
    rows = [(AT + timedelta(hours=hour), "task", {"points": points}) for hour, points in tasks]
    decisions = [one.decision for one in scenario.play(rows)]
    within = [points for hour, points in tasks if 5 * 24 <= hour < 15 * 24]  # 10 to 19 January
    expected = {"winter/tasks": len(within), "winter/best": max(within, default=0), "winter/xp": sum(within)}
    assert {board: score for (board, _, _), score in scenario.boards.items()} == {
        board: score for board, score in expected.items() if within and (score or board == "winter/best")
    }
    held = 3 * len(tasks)
    payload = {"season": "winter", "places": [{"board": "xp", "rank": rank, "score": 1}], "reset": {"coins": 9}}
    end = Event(UUID(int=1 << 70), 1, "$season_result", "ada", payload, AT + timedelta(days=16))
    decisions.append(scenario.apply(end))
    assert scenario.user().balances["coins"] == held - min(held, 9) + (50 if rank <= 2 else 0)
    assert books_balance(scenario.user(), decisions)


def test_a_seasons_end_takes_what_was_there_and_then_gives() -> None:
    scenario = Scenario(program(seasons={"winter": SEASON}, metrics=METRICS))
    scenario.user().balances["coins"] = 30
    place = {"board": "xp", "rank": 2, "score": 9}
    table = [
        ({"season": "winter", "places": [place], "reset": {"coins": 20}}, ("coins -20 season:winter:reset", "coins +50 season:winter:xp:2")),
        ({"season": "winter", "places": [{**place, "rank": 3}], "reset": {"coins": 99}}, ("coins -60 season:winter:reset",)),
        ({"season": "winter", "places": [], "reset": {"XP": 5}}, ()),
        ({"season": "gone", "places": [place], "reset": {}}, ("refused INVALID_COMMAND",)),
    ]  # fmt: skip
    played = scenario.play([("2026-01-20T00:01Z", "$season_result", row[0]) for row in table])
    assert [one.effects for one in played] == [row[1] for row in table]
    assert [n.type for n in played[0].decision.notices] == ["season.reset", "season.ended"]


BLOCKED = [
    ("keep",   ("coins -20 season:winter:reset", "coins +50 season:winter:xp:2"), ["season.reset", "season.ended"]),
    ("remove", ("coins -20 season:winter:reset",),                               ["season.reset"]),
]  # fmt: skip


@pytest.mark.parametrize(("standing", "effects", "notices"), BLOCKED)
def test_a_seasons_end_takes_from_blocked_users_and_gives_to_those_whose_standing_was_kept(
    standing: str, effects: tuple[str, ...], notices: list[str]
) -> None:
    scenario = Scenario(program(seasons={"winter": SEASON}, metrics=METRICS))
    scenario.user().balances["coins"] = 30
    scenario.play([("2026-01-19T00:00Z", "$block", {"reason": "a bot", "standing": standing})])
    payload = {"season": "winter", "places": [{"board": "xp", "rank": 2, "score": 9}], "reset": {"coins": 20}}
    played = scenario.play([("2026-01-20T00:01Z", "$season_result", payload)])[0]
    assert (played.effects, [n.type for n in played.decision.notices]) == (effects, notices)


RESULT = {
    "league": "weekly", "week": "2026-W02", "cohort": 1, "members": 9, "rank": 1, "score": 5, "outcome": "promoted",
    "before": 1, "after": 2,
}  # fmt: skip


@pytest.mark.parametrize(("standing", "given"), [("keep", 50), ("remove", 0)])
def test_who_is_blocked_after_a_week_was_settled_stands_as_it_says_and_is_given_as_the_block_says(
    standing: str, given: int
) -> None:
    tier = {"rewards": [{"from": 1, "rewards": [{"currency": "coins", "value": 50}]}]}
    scenario = Scenario(program(leagues={"weekly": league(tiers=[tier, {}], promote=1)}))
    scenario.play([("2026-01-12T00:00Z", "$block", {"reason": "a bot", "standing": standing})])
    played = scenario.play([("2026-01-12T00:01Z", "$league_result", RESULT)])[0]
    assert played.effects[-1] == "league weekly - → 2 promoted"
    assert scenario.user().balances.get("coins", 0) == given


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"seasons": {"2026-W01": {"start": "2026-01-10", "end": "2026-01-20"}}}, "seasons.2026-W01", "choose another name"),
        ({"seasons": {"s": {"start": "2026-01-10", "end": "2026-01-10"}}}, "seasons.s.end", "after start"),
        ({"seasons": {"s": {"start": "2026-01-10", "end": "2026-01-32"}}}, "seasons.s.end", "is no time"),
        ({"seasons": {"s": {"start": "2026-01-10T00:00:00", "end": "2026-01-20"}}}, "seasons.s.start", "is no time"),
        ({"seasons": {"s": {"start": "2026-01-10", "end": "2026-01-20", "reset": {"gold": "zero"}}}}, "seasons.s.reset.gold", "no currency"),
        ({"seasons": {"s": {"start": "2026-01-10", "end": "2026-01-20", "boards": {"b": {}}}}}, "seasons.s.boards.b", "exactly one currency or metric"),
        ({"seasons": {"s": {"start": "2026-01-10", "end": "2026-01-20", "boards": {"b": {"currency": "XP", "rewards": [
            {"from": 1, "to": 3, "rewards": []}, {"from": 3, "rewards": []}]}}}}}, "seasons.s.boards.b.rewards", "rank 3 lies in two ranges"),
        ({"leagues": {"l": {"currency": "XP", "tiers": []}}}, "leagues.l.tiers", ""),
        ({"leagues": {"l": {"tiers": [{}]}}}, "leagues.l", "exactly one currency or metric"),
        ({"leagues": {"l": league(metric="m")}}, "leagues.l", "exactly one currency or metric"),
        ({"leagues": {"l": league(cohorts={"size": 2})}}, "leagues.l.tiers[1]", "promotes 2 and demotes 1 of cohorts of 2"),
        ({"leagues": {"l": {"metric": "m", "tiers": [{}]}}, "metrics": {"m": {"on": "e", "last": "x"}}}, "leagues.l.metric", "no score of a span of time"),
        ({"leagues": {"l": league(tiers=[{"rewards": [{"from": 2, "to": 1, "rewards": []}]}])}}, "leagues.l.tiers[0].rewards[0].to", "must not be below"),
    ],
)  # fmt: skip
def test_an_error_of_a_season_or_a_league_names_its_path(document: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate({**XP, **document}) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True], validate({**XP, **document})


def test_a_plan_says_that_seats_depend_on_the_order() -> None:
    compiled = compile_program(program(leagues={"weekly": league()}), 1)
    assert order_dependent(compiled.document)["leagues.weekly"] == "who scores first in a week is seated first"
