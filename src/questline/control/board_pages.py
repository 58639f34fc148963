"""A board's page and those around a user: from its copy where there is one that proves to be current, else from PostgreSQL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from questline.model.board_copies import Marks, Question, Stretch
from questline.store import board_copies, boards
from questline.store.board_copies import Confirmed, Known
from questline.store.boards import Place, RankedEntry, Source

if TYPE_CHECKING:
    from questline.cache.ranks import Ranks  # needs redis-py, which is optional


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of one board's period; `user` is the customer's id, `neighbours` those on each side."""

    board: str  # its stored name
    period: str
    ties: str
    after: Place | None
    limit: int
    user: str | None
    neighbours: int


class Pages(msgspec.Struct, frozen=True):
    """What the board holds, the page, and the user amid the neighbours; nobody where the user is not on the board."""

    total: int = 0
    entries: list[RankedEntry] = []
    around: list[RankedEntry] = []


async def pages(conn: Any, ranks: "Ranks | None", project_id: int, projects: Sequence[int], wanted: Wanted) -> Pages:
    """Return the pages as of this transaction's next statement, over all `projects`; the user is of `project_id`."""
    if ranks is None or list(projects) != [project_id]:
        sources = await boards.find_sources(conn, projects, wanted.board, wanted.period)
        return await _from_rows(conn, sources, project_id, wanted)
    known = await board_copies.sight(conn, project_id, wanted.board, wanted.period, wanted.user)
    if known is None:
        return Pages()
    await ranks.want(project_id, known.board_period, wanted.ties == "dense")
    found = await _from_copy(conn, ranks, project_id, known, wanted)
    ranks.meters.reads.labels("postgres" if found is None else "copy").inc()
    if found is not None:
        return found
    return await _from_rows(conn, [Source(project_id, known.board_period)], project_id, wanted)


async def _from_rows(conn: Any, sources: Sequence[Source], project_id: int, wanted: Wanted) -> Pages:
    if not sources:
        return Pages()
    total = await boards.total(conn, sources)
    entries = await boards.page_after(conn, sources, wanted.ties, wanted.after, wanted.limit)
    around: list[RankedEntry] = []
    if wanted.user is not None:
        around = await boards.page_around(conn, sources, wanted.ties, project_id, wanted.user, wanted.neighbours)
    return Pages(total, entries, around)


async def _from_copy(conn: Any, ranks: "Ranks", project_id: int, known: Known, wanted: Wanted) -> Pages | None:
    """Ask the copy between two looks at its marks; None: it is not there, or cannot be shown to be current."""
    if known.copy is None or not ranks.usable:
        return None
    after = wanted.after
    place = b"" if after is None else board_copies.place_of(after.score, after.reached_at, after.user_id)
    question = Question(wanted.ties, place, wanted.limit, known.user_id, wanted.neighbours)
    sight = await ranks.read(known.copy, question)
    if sight is None:
        return None
    users = {board_copies.user_of(place) for place in (*sight.page.places, *sight.around.places)}
    confirmed = await board_copies.confirm(conn, project_id, known.board_period, list(users))
    if confirmed.copy != known.copy or not is_current(sight.marks, known.marks, confirmed.marks):
        return None
    return Pages(
        sight.total,
        _ranked(sight.page, project_id, confirmed, wanted.ties),
        _ranked(sight.around, project_id, confirmed, wanted.ties),
    )


def is_current(copy: Marks, before: Marks, after: Marks) -> bool:
    """Tell whether a copy held all that was committed before it was asked, and nothing that never was."""
    return all(
        copy.get(shard, 0) in (before.get(shard, 0), after.get(shard, 0))
        for shard in copy.keys() | before.keys() | after.keys()
    )


def _ranked(stretch: Stretch, project_id: int, confirmed: Confirmed, ties: str) -> list[RankedEntry]:
    rows = []
    for place in stretch.places:
        user_id = board_copies.user_of(place)
        score, reached_at = board_copies.entry_of(place)
        user, display_name = confirmed.names.get(user_id, ("", None))
        rows.append(
            {
                "project_id": project_id,
                "user_id": user_id,
                "external_id": user,
                "display_name": display_name,
                "score": score,
                "reached_at": reached_at,
                "before": stretch.before,
                "above": stretch.above,
            }
        )
    return boards.ranked(rows, ties)
