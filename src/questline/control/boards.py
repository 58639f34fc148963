"""Leaderboards as they are read."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from questline.engine.compile import Program
from questline.model import calendar
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.principal import Project
from questline.model.program import Board
from questline.store import boards as store
from questline.store.boards import Place, RankedEntry
from questline.store.pool import tenant_transaction

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


class LeaderboardPage(msgspec.Struct, frozen=True, rename="camel"):
    """A leaderboard's page, ready to be sent. `total` counts all entries of the period."""

    board: str
    metric: str  # what the board ranks
    scope: BoardScope
    period: str  # daily | weekly | monthly | yearly | all-time
    period_key: str
    ties: str  # first | competition | dense
    decimals: int  # a score is in units of 10 to the minus this
    total: int
    entries: list[LeaderboardEntry]
    next_cursor: str | None = None
    me: LeaderboardEntry | None = None
    around_me: list[LeaderboardEntry] = []


async def leaderboard(
    pool: Any, project: Project, program: Program, query: LeaderboardQuery, now: datetime
) -> LeaderboardPage:
    """Return a page of a leaderboard as of `now` (aware; it only chooses the current period).

    `pool` holds connections that may take the tenant role. Raises BoardNotFound and BoardQueryInvalid.
    """
    kind = _period_kind(query.period_key)
    name, board = _find(program, query.metric, kind)
    kind = kind or board.periods[0]
    if kind not in board.periods:
        raise BoardQueryInvalid(
            "periodKey", f"board {name!r} keeps {', '.join(board.periods)} periods, not {kind} ones"
        )
    key = query.period_key or calendar.period_key(kind, now, program.zone)
    scope = query.scope or BoardScope(board.scope)
    if scope is BoardScope.GLOBAL and board.scope != "GLOBAL":
        raise BoardQueryInvalid("scope", f"board {name!r} does not opt in to GLOBAL; set its scope in the program")
    if not 1 <= query.limit <= PAGE_ITEMS_MAX:
        raise BoardQueryInvalid("limit", f"limit must be from 1 to {PAGE_ITEMS_MAX}")
    if not 0 <= query.around <= AROUND_MAX:
        raise BoardQueryInvalid("around", f"around must be from 0 to {AROUND_MAX}")
    after = None if query.after is None else _place(query.after)

    async with _reading(pool, project, scope) as conn:
        apps = {project.id: project.app_id}
        if scope is BoardScope.GLOBAL:
            apps = await store.global_projects(conn, project.organization_id, name)
        sources = await store.find_sources(conn, list(apps), name, key)
        entries: list[RankedEntry] = []
        around: list[RankedEntry] = []
        total = 0
        if sources:
            total = await store.total(conn, sources)
            entries = await store.page_after(conn, sources, board.ties, after, query.limit + 1)
            if query.user is not None:
                around = await store.page_around(conn, sources, board.ties, project.id, query.user, query.around)

    more = len(entries) > query.limit
    entries = entries[: query.limit]
    own = next((e for e in around if e.project_id == project.id and e.user == query.user), None)
    return LeaderboardPage(
        board=name,
        metric=board.ranks,
        scope=scope,
        period=kind,
        period_key=key,
        ties=board.ties,
        decimals=board.decimals,
        total=total,
        entries=[_entry(entry, apps) for entry in entries],
        next_cursor=_cursor(entries[-1]) if more else None,
        me=None if own is None else _entry(own, apps),
        around_me=[_entry(entry, apps) for entry in around] if query.around else [],
    )


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


def _cursor(entry: RankedEntry) -> str:
    place = Place(entry.score, entry.reached_at, entry.user_id)
    return urlsafe_b64encode(msgspec.msgpack.encode(place)).rstrip(b"=").decode()


def _place(cursor: str) -> Place:
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
