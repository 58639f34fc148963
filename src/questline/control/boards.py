"""Leaderboards as they are read."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from questline.control.board_pages import Wanted, pages
from questline.engine.compile import Program
from questline.engine.seasons import span_of, stored_name
from questline.model import calendar
from questline.model.contests import SeasonBoard
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.principal import Project
from questline.model.program import Board
from questline.store import boards as store
from questline.store.boards import Place, RankedEntry
from questline.store.pool import tenant_transaction

if TYPE_CHECKING:
    from questline.cache.ranks import Ranks

AROUND_MAX = 100  # neighbours on each side


class BoardScope(StrEnum):
    APP = "APP"
    GLOBAL = "GLOBAL"


class BoardNotFound(Exception):
    """The program has no board of that name and none that ranks it (404 `board-not-found`)."""


class BoardQueryInvalid(Exception):
    """A parameter does not fit the board; `parameter` names it (400 `invalid-parameter`)."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class LeaderboardQuery(msgspec.Struct, frozen=True):
    """What a caller asks of a leaderboard.

    `metric` is a board's name, or the track, currency or metric it ranks. `period_key` left out is the current one of
    the board's first period. `after` is the `next_cursor` of the page before. `user` (the customer's id) adds `me`;
    `around` > 0 adds that many neighbours above and below the user, in `around_me`.
    """

    metric: str
    scope: BoardScope | None = None  # None: the board's own
    period_key: str | None = None
    limit: int = PAGE_ITEMS_DEFAULT  # 1 .. PAGE_ITEMS_MAX
    after: str | None = None
    user: str | None = None
    around: int = 0


class LeaderboardEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One place; `app_id` tells the project apart on a GLOBAL board."""

    rank: int
    user_id: str
    display_name: str | None
    score: int
    reached_at: datetime
    app_id: str


class CohortView(msgspec.Struct, frozen=True, rename="camel"):
    """Which cohort of a league a page shows; `zone` is where the user's rank would lead: promotion, demotion or stay."""

    tier: int
    tier_title: str
    cohort: int
    promote: int
    demote: int
    zone: str | None


class LeaderboardPage(msgspec.Struct, frozen=True, rename="camel"):
    """A leaderboard's page, ready to be sent. `total` counts all entries of the period."""

    board: str
    metric: str  # what the board ranks
    scope: BoardScope
    period: str  # daily | weekly | monthly | yearly | all-time | season
    period_key: str
    ties: str  # first | competition | dense
    decimals: int  # a score is in units of 10 to the minus this
    total: int
    entries: list[LeaderboardEntry]
    next_cursor: str | None = None
    me: LeaderboardEntry | None = None
    around_me: list[LeaderboardEntry] = []
    league: CohortView | None = None  # of a league's cohort


class _Asked(msgspec.Struct, frozen=True):
    """The board and period that a query means; `stored` is the board's name in the database."""

    name: str
    stored: str
    board: Board | SeasonBoard
    kind: str
    key: str


async def leaderboard(
    pool: Any,
    project: Project,
    program: Program,
    query: LeaderboardQuery,
    now: datetime,
    ranks: "Ranks | None" = None,
) -> LeaderboardPage:
    """Return a page of a leaderboard as of `now` (aware; it only chooses the current period).

    `pool` holds connections that may take the tenant role; `ranks` are copies in Redis, None without it.
    Raises BoardNotFound and BoardQueryInvalid.
    """
    asked = _asked(program, query, now)
    name, board = asked.name, asked.board
    own_scope = board.scope if isinstance(board, Board) else "APP"
    scope = query.scope or BoardScope(own_scope)
    if scope is BoardScope.GLOBAL and own_scope != "GLOBAL":
        raise BoardQueryInvalid("scope", f"board {name!r} does not opt in to GLOBAL; set its scope in the program")
    bounded(query)
    after = None if query.after is None else place_of(query.after)

    async with _reading(pool, project, scope) as conn:
        apps = {project.id: project.app_id}
        if scope is BoardScope.GLOBAL:
            apps = await store.global_projects(conn, project.organization_id, name)
        wanted = Wanted(asked.stored, asked.key, board.ties, after, query.limit + 1, query.user, query.around)
        found = await pages(conn, ranks, project.id, list(apps), wanted)

    more = len(found.entries) > query.limit
    entries = found.entries[: query.limit]
    own = next((e for e in found.around if e.project_id == project.id and e.user == query.user), None)
    return LeaderboardPage(
        board=name,
        metric=board.ranks,
        scope=scope,
        period=asked.kind,
        period_key=asked.key,
        ties=board.ties,
        decimals=board.decimals,
        total=found.total,
        entries=[_entry(entry, apps) for entry in entries],
        next_cursor=cursor_of(_place_at(entries[-1])) if more else None,
        me=None if own is None else _entry(own, apps),
        around_me=[_entry(entry, apps) for entry in found.around] if query.around else [],
    )


def bounded(query: LeaderboardQuery) -> None:
    """Raise BoardQueryInvalid where a page is asked for that is too large, or none."""
    if not 1 <= query.limit <= PAGE_ITEMS_MAX:
        raise BoardQueryInvalid("limit", f"limit must be from 1 to {PAGE_ITEMS_MAX}")
    if not 0 <= query.around <= AROUND_MAX:
        raise BoardQueryInvalid("around", f"around must be from 0 to {AROUND_MAX}")


def _asked(program: Program, query: LeaderboardQuery, now: datetime) -> _Asked:
    """Return the board and period a query means: of a season where it names one, or where only a season has the board."""
    seasons = program.document.seasons
    if query.period_key in seasons:
        return _of_season(program, query.period_key, query.metric)
    kind = _period_kind(query.period_key)
    try:
        name, board = _find(program, query.metric, kind)
    except BoardNotFound:
        running = _running(program, query.metric, now) if query.period_key is None else None
        if running is None:
            raise
        return _of_season(program, running, query.metric)
    kind = kind or board.periods[0]
    if kind not in board.periods:
        raise BoardQueryInvalid(
            "periodKey", f"board {name!r} keeps {', '.join(board.periods)} periods, not {kind} ones"
        )
    return _Asked(name, name, board, kind, query.period_key or calendar.period_key(kind, now, program.zone))


def _of_season(program: Program, season: str, metric: str) -> _Asked:
    boards = program.document.seasons[season].boards
    ranking = [metric] if metric in boards else [name for name, board in boards.items() if board.ranks == metric]
    if not ranking:
        raise BoardNotFound(f"the season {season!r} has no board {metric!r}, and no board that ranks it")
    name = ranking[0]
    return _Asked(name, stored_name(season, name), boards[name], "season", season)


def _running(program: Program, metric: str, now: datetime) -> str | None:
    """Return the season that began last of those that run now and have such a board."""
    found = []
    for name, season in program.document.seasons.items():
        start, end = span_of(season, program.zone)
        if start <= now < end and any(metric in (board, one.ranks) for board, one in season.boards.items()):
            found.append((start, name))
    return max(found)[1] if found else None


def _find(program: Program, metric: str, kind: str | None) -> tuple[str, Board]:
    """Return the board of that name, else the first that ranks it (and keeps periods of that kind, if one does)."""
    named = program.boards.get(metric)
    if named is not None:
        return metric, named
    ranking = [(name, board) for name, board in program.boards.items() if board.ranks == metric]
    if not ranking:
        raise BoardNotFound(
            f"the program has no board {metric!r}, and no board ranks a metric or currency of that name"
        )
    return next(((name, board) for name, board in ranking if kind in board.periods), ranking[0])


def _period_kind(key: str | None) -> str | None:
    if key is None:
        return None
    try:
        return calendar.period_of_key(key)
    except ValueError as error:
        raise BoardQueryInvalid("periodKey", str(error)) from error


def _reading(pool: Any, project: Project, scope: BoardScope) -> AbstractAsyncContextManager[Any]:
    """A GLOBAL board is read in the role the process logged in as: it names each project it reads."""
    if scope is BoardScope.APP:
        return tenant_transaction(pool, project.id)
    acquired: AbstractAsyncContextManager[Any] = pool.acquire()
    return acquired


def _entry(entry: RankedEntry, apps: dict[int, str]) -> LeaderboardEntry:
    return LeaderboardEntry(
        rank=entry.rank,
        user_id=entry.user,
        display_name=entry.display_name,
        score=entry.score,
        reached_at=entry.reached_at,
        app_id=apps[entry.project_id],
    )


def _place_at(entry: RankedEntry) -> Place:
    return Place(entry.score, entry.reached_at, entry.user_id)


def cursor_of(place: Place) -> str:
    """Return the text that stands for a place, for the page after it."""
    return urlsafe_b64encode(msgspec.msgpack.encode(place)).rstrip(b"=").decode()


def place_of(cursor: str) -> Place:
    """Return the place that a cursor stands for; raises BoardQueryInvalid."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        place = msgspec.msgpack.decode(raw, type=Place)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BoardQueryInvalid(
            "after", "this is not a cursor of this leaderboard; leave it out to start over"
        ) from error
    if place.reached_at.tzinfo is None or max(abs(place.score), abs(place.user_id)) >= 2**63:
        raise BoardQueryInvalid("after", "this is not a cursor of this leaderboard; leave it out to start over")
    return place
