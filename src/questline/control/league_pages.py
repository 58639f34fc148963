"""A cohort as a leaderboard's page."""

from datetime import datetime
from typing import Any

from questline.control.boards import (
    BoardNotFound,
    BoardQueryInvalid,
    BoardScope,
    CohortView,
    LeaderboardEntry,
    LeaderboardPage,
    LeaderboardQuery,
    bounded,
    cursor_of,
    place_of,
)
from questline.control.leagues import Standing, standing_of, week_now
from questline.engine.compile import Program
from questline.engine.leagues import counts_of, tier_of
from questline.model import calendar
from questline.model.contests import League
from questline.model.principal import Project
from questline.store import leagues as store
from questline.store import reads
from questline.store.boards import Place
from questline.store.leagues import CohortMember
from questline.store.pool import tenant_transaction


async def cohort_page(
    pool: Any, project: Project, program: Program, name: str, query: LeaderboardQuery, now: datetime
) -> LeaderboardPage:
    """Return the cohort of `query.user` in a league: this week's, or that of `query.period_key`.

    A user without a score in the week, or who waits for a seat, has none: the page is empty. Raises BoardNotFound and
    BoardQueryInvalid.
    """
    league = program.document.leagues.get(name)
    if league is None:
        raise BoardNotFound(f"the program has no league {name!r}")
    if query.user is None:
        raise BoardQueryInvalid("userId", "say whose cohort: userId=USER")
    bounded(query)
    number = _number(query.period_key)
    after = None if query.after is None else place_of(query.after)
    standing = user_id = None
    async with tenant_transaction(pool, project.id) as conn:
        found = await reads.user(conn, project.id, query.user)
        if found is not None:
            user_id = found[0].id
            if number is None:
                number, _ = week_now(program, league, found[0], now)
            week = await store.week_of_user(conn, project.id, user_id, name, number)
            standing = None if week is None else await standing_of(conn, project.id, league, week)
    if number is None:
        number = calendar.period_number("week", now, program.zone)
    return _page(project, name, league, calendar.week_key(number), standing, user_id, query, after)


def _number(key: str | None) -> int | None:
    if key is None:
        return None
    try:
        return calendar.week_of_key(key)
    except ValueError as error:
        raise BoardQueryInvalid("periodKey", str(error)) from error


def _page(
    project: Project,
    name: str,
    league: League,
    week: str,
    standing: Standing | None,
    user_id: int | None,
    query: LeaderboardQuery,
    after: Place | None,
) -> LeaderboardPage:
    places = [] if standing is None else standing.places
    own = next((index for index, place in enumerate(places) if place[1].user_id == user_id), None)
    begin = 0 if after is None else sum(_key(member) <= _place_key(after) for _, member, _ in places)
    entries = places[begin : begin + query.limit]
    near = [] if own is None or not query.around else places[max(own - query.around, 0) : own + query.around + 1]
    return LeaderboardPage(
        board=name,
        metric=league.ranks,
        scope=BoardScope.APP,
        period="weekly",
        period_key=week,
        ties=league.ties,
        decimals=league.decimals,
        total=len(places),
        entries=[_entry(project, rank, member) for rank, member, _ in entries],
        next_cursor=_cursor(entries[-1][1]) if begin + len(entries) < len(places) else None,
        me=None if own is None else _entry(project, *places[own][:2]),
        around_me=[_entry(project, rank, member) for rank, member, _ in near],
        league=None if standing is None else _view(league, standing, None if own is None else places[own][2]),
    )


def _view(league: League, standing: Standing, zone: str | None) -> CohortView:
    tier = min(standing.tier, len(league.tiers))
    promote, demote = counts_of(league, tier)
    return CohortView(tier, tier_of(league, tier).title, standing.cohort, promote, demote, zone)


def _entry(project: Project, rank: int, member: CohortMember) -> LeaderboardEntry:
    return LeaderboardEntry(rank, member.user, member.display_name, member.score, member.reached_at, project.app_id)


def _key(member: CohortMember) -> tuple[int, datetime, int]:
    return -member.score, member.reached_at, member.user_id


def _place_key(place: Place) -> tuple[int, datetime, int]:
    return -place.score, place.reached_at, place.user_id


def _cursor(member: CohortMember) -> str:
    return cursor_of(Place(member.score, member.reached_at, member.user_id))
