"""Leaderboards as they are read, and the rebuild of their projection from the ledger and the events."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.principal import Project


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

    `metric` is a board's name, or the track, currency or metric it ranks. `period_key` left out is the board's own
    current period. `after` is the `next_cursor` of the page before. `user` (the customer's id) adds `me`;
    `around` > 0 adds that many neighbours above and below the user, in `around_me`.
    """

    metric: str
    scope: BoardScope | None = None  # None: the board's own
    period_key: str | None = None
    limit: int = PAGE_ITEMS_DEFAULT  # 1 .. PAGE_ITEMS_MAX
    after: str | None = None
    user: str | None = None
    around: int = 0


class LeaderboardEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=False):
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
    total: int
    entries: list[LeaderboardEntry]
    next_cursor: str | None = None
    me: LeaderboardEntry | None = None
    around_me: list[LeaderboardEntry] = []


async def leaderboard(
    pool: Any, project: Project, program: Any, query: LeaderboardQuery, now: datetime
) -> LeaderboardPage:
    """Return a page of a leaderboard as of `now` (aware; it only chooses the current period).

    `program` is the project's compiled program. Raises BoardNotFound and BoardQueryInvalid.
    """
    raise NotImplementedError
