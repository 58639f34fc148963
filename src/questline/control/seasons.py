"""Seasons as a user's profile shows them: places in those that run, and in those that have ended."""

from datetime import datetime
from typing import Any

import msgspec

from questline.engine.compile import Program
from questline.engine.seasons import span_of, stored_name
from questline.model.state import UserState
from questline.store import boards, seasons


class SeasonPlace(msgspec.Struct, frozen=True, rename="camel"):
    """A place on one of the season's boards."""

    board: str
    rank: int
    score: int


class SeasonView(msgspec.Struct, frozen=True, rename="camel"):
    """A season that runs (`ended` false: places as of now) or has its results (places for good)."""

    season: str
    title: str
    start: datetime
    end: datetime
    ended: bool
    places: list[SeasonPlace]


async def views(conn: Any, program: Program, project_id: int, user: UserState, now: datetime) -> list[SeasonView]:
    """Return the program's seasons that have begun, for a user, as of `now`."""
    found = []
    if not program.document.seasons:
        return []
    ends = await seasons.ends(conn, project_id)
    results = await seasons.results_of_user(conn, project_id, ends, user.id)
    for name, season in program.document.seasons.items():
        start, end = span_of(season, program.zone)
        if now < start:
            continue
        ended = name in ends
        places = [SeasonPlace(p["board"], p["rank"], p["score"]) for p in results.get(name, ())]
        if not ended:
            for board, definition in season.boards.items():
                place = await _place(conn, project_id, name, board, definition.ties, user.user)
                places += [] if place is None else [place]
        found.append(SeasonView(name, season.title, start, end, ended, places))
    return found


async def _place(conn: Any, project_id: int, season: str, board: str, ties: str, user: str) -> SeasonPlace | None:
    sources = await boards.find_sources(conn, [project_id], stored_name(season, board), season)
    around = await boards.page_around(conn, sources, ties, project_id, user, 0) if sources else []
    return SeasonPlace(board, around[0].rank, around[0].score) if around else None
