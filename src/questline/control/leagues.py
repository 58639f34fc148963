"""Leagues as they are read: where a user stands in each, and the cohort they are in."""

from datetime import datetime
from typing import Any

import msgspec

from questline.engine import leagues as engine
from questline.engine.compile import Program
from questline.engine.leagues import Member, Outcome
from questline.model import calendar
from questline.model.contests import League
from questline.model.state import UserState
from questline.store import leagues as store
from questline.store.leagues import CohortMember, UserWeek

_RESULTS_SHOWN = 10
_ZONES = {Outcome.PROMOTED: "promotion", Outcome.DEMOTED: "demotion", Outcome.STAYED: "stay"}


class LeagueResult(msgspec.Struct, frozen=True, rename="camel"):
    """What a week came to; `rank` is null where the user was blocked."""

    week: str
    tier: int
    cohort: int
    score: int
    rank: int | None
    outcome: str  # promoted | demoted | stayed


class LeagueView(msgspec.Struct, frozen=True, rename="camel"):
    """Where a user stands in a league this week, and how weeks ended, the latest first.

    Without a score this week there is no cohort, rank and zone; with one there is a cohort as soon as the week before has
    its result. `zone` is where the rank would lead now: promotion, demotion or stay.
    """

    league: str
    title: str
    tier: int
    tier_title: str
    tiers: int
    week: str
    ends_at: datetime
    cohort: int | None
    members: int | None
    rank: int | None
    score: int | None
    zone: str | None
    results: list[LeagueResult]


class Standing(msgspec.Struct, frozen=True):
    """A cohort in rank order, blocked users left out; `places` are (rank, member, zone)."""

    tier: int
    cohort: int
    places: list[tuple[int, CohortMember, str]]

    def of(self, user_id: int) -> tuple[int, CohortMember, str] | None:
        """Return a user's place; None: they are not ranked."""
        return next((place for place in self.places if place[1].user_id == user_id), None)


async def views(conn: Any, program: Program, project_id: int, user: UserState, now: datetime) -> list[LeagueView]:
    """Return a user's standing in every league, as of `now`."""
    leagues = program.document.leagues
    if not leagues:
        return []
    weeks = await store.weeks_of_user(conn, project_id, user.id, leagues, _RESULTS_SHOWN + 1)
    return [
        await _view(conn, program, project_id, user, now, name, league, weeks.get(name, []))
        for name, league in leagues.items()
    ]


async def _view(
    conn: Any,
    program: Program,
    project_id: int,
    user: UserState,
    now: datetime,
    name: str,
    league: League,
    weeks: list[UserWeek],
) -> LeagueView:
    number, zone = week_now(program, league, user, now)
    current = next((week for week in weeks if week.week == number), None)
    place = standing = None
    if current is not None:
        standing = await standing_of(conn, project_id, league, current)
        place = None if standing is None else standing.of(user.id)
    tier = min(_tier(current, weeks), len(league.tiers))
    return LeagueView(
        league=name,
        title=league.title,
        tier=tier,
        tier_title=engine.tier_of(league, tier).title,
        tiers=len(league.tiers),
        week=calendar.week_key(number),
        ends_at=calendar.week_start(number + 1, calendar.zone(zone if current is None else current.zone)),
        cohort=None if standing is None else standing.cohort,
        members=None if standing is None else len(standing.places),
        rank=None if place is None else place[0],
        score=None if current is None else current.score,
        zone=None if place is None else place[2],
        results=[
            LeagueResult(calendar.week_key(w.week), w.tier, w.cohort, w.score, w.rank, w.outcome)
            for w in weeks[: _RESULTS_SHOWN + 1]
            if w.outcome is not None and w.tier is not None and w.cohort is not None
        ][:_RESULTS_SHOWN],
    )


def week_now(program: Program, league: League, user: UserState, now: datetime) -> tuple[int, str]:
    """Return (week, zone) of a user's events that happen now."""
    scores = program.league_scores
    if scores is None:
        raise LookupError("the program has no league")
    user_zone = calendar.zone_in_force(user.timezone, user.zone_history, now, program.timezone)
    number, zone, _ = scores.week_of(league, now, user_zone)
    return number, zone


def _tier(current: UserWeek | None, weeks: list[UserWeek]) -> int:
    if current is not None and current.tier is not None:
        return current.tier
    return next((week.next_tier for week in weeks if week.next_tier is not None), 1)


async def standing_of(conn: Any, project_id: int, league: League, week: UserWeek) -> Standing | None:
    """Return the cohort of a user's week; None while they wait for a seat."""
    if week.tier is None or week.cohort is None:
        return None
    members = await store.cohort(conn, project_id, week.league_week, week.tier, week.cohort)
    by_id = {member.user_id: member for member in members}
    ranked = engine.ranked(league.ties, (Member(m.user_id, m.score, m.reached_at) for m in members if not m.blocked))
    last = engine.last_rank(league.ties, ranked)
    tier = min(week.tier, len(league.tiers))
    places = [
        (rank, by_id[member.user_id], _ZONES[engine.outcome_of(league, tier, rank, last)]) for rank, member in ranked
    ]
    return Standing(week.tier, week.cohort, places)
