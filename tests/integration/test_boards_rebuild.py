"""A rebuild gives the boards that processing had made, and the read model shows them."""

import itertools
import json
import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from questline.control import board_rebuild
from questline.control.boards import (
    BoardNotFound,
    BoardQueryInvalid,
    BoardScope,
    LeaderboardPage,
    LeaderboardQuery,
    leaderboard,
)
from questline.engine.compile import Program, compile_program
from questline.model.decision import BoardMode, BoardPoints
from questline.model.event import WaitingEvent
from questline.model.principal import Project
from questline.processing.apply import Applier
from questline.processing.programs import ProgramCache
from questline.store import board_rebuild as board_rebuild_rows
from questline.store import boards, standing, users
from questline.store.boards import BoardRows
from questline.store.ids import EventIds
from questline.store.pool import connect, open_pool

_numbers = itertools.count()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROGRAM: dict[str, Any] = {
    "timezone": "America/New_York",
    "currencies": {"xp": {"kind": "xp", "levels": {"curve": "sqrt", "base": 10}}, "coins": {"kind": "currency"}},
    "metrics": {
        "tasks": {"on": "task", "count": True},
        "effort": {"on": "task", "sum": "effort"},
        "best": {"on": "task", "max": "effort"},
        "latest": {"on": "task", "last": "effort"},
    },
    "rules": {"task": {"on": "task", "award": {"xp": {"field": "effort", "times": 3}, "coins": 1}}},
    "boards": {
        "xp": {"currency": "xp", "periods": ["weekly", "daily", "monthly", "yearly", "all-time"], "scope": "GLOBAL"},
        "coins": {"currency": "coins", "ties": "competition"},
        "tasks": {"metric": "tasks", "periods": ["weekly", "all-time"], "ties": "dense"},
        "effort": {"metric": "effort", "decimals": 2, "periods": ["all-time", "weekly"]},
        "whole effort": {"metric": "effort", "periods": ["daily", "yearly", "all-time"]},
        "best": {"metric": "best"},
        "latest": {"metric": "latest"},
    },
}


class Scene:
    """A project with a program, and a connection that applies events to it as a worker does."""

    def __init__(self, conn: Any, project: Project) -> None:
        self.conn = conn
        self.project = project
        self.program: Program = compile_program(PROGRAM, 1)
        self._applier = Applier(ProgramCache(), lambda: NOW, EventIds().new)
        self._ids = EventIds()

    async def apply(self, played: list[tuple[str, float, datetime]]) -> None:
        """Store and apply (user, effort, occurred at), in one batch."""
        events = [
            WaitingEvent(
                self._ids.new(),
                self.project.id,
                "task",
                user,
                json.dumps({"effort": effort}),
                at,
                NOW,
                None,
                None,
                0,
                0,
                0,
            )
            for user, effort, at in played
        ]
        await self.conn.executemany(
            "INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [(e.id, e.project_id, e.type, e.user, e.payload, e.occurred_at, e.received_at) for e in events],
        )
        async with self.conn.transaction():
            locked = await users.lock(self.conn, {(e.project_id, e.user): None for e in events})
            await self._applier.apply(self.conn, 0, events, locked)

    async def everything(self) -> list[Any]:
        rows = await self.conn.fetch(
            "SELECT p.board, p.period, e.user_id, e.lead, e.reached_at, e.rest FROM board_entries e"
            " JOIN board_periods p ON p.id = e.board_period WHERE e.project_id = $1 ORDER BY 1, 2, 3",
            self.project.id,
        )
        return [tuple(row) for row in rows]


async def make_scene(dsn: str, app_id: str, organization_slug: str) -> Scene:
    conn = await connect(dsn)
    organization = await conn.fetchval(
        "INSERT INTO organizations (slug, name) VALUES ($1, $1)"
        " ON CONFLICT (slug) DO UPDATE SET name = $1 RETURNING id",
        organization_slug,
    )
    number = await conn.fetchval(
        "INSERT INTO projects (organization_id, app_id, name, program_version) VALUES ($1, $2, $2, 1) RETURNING id",
        organization,
        app_id,
    )
    await conn.execute(
        "INSERT INTO program_versions (project_id, version, document) VALUES ($1, 1, $2)", number, json.dumps(PROGRAM)
    )
    return Scene(conn, Project(number, organization, app_id, app_id, "UTC", 1))


@pytest.fixture
async def scene(database: Any) -> AsyncIterator[Scene]:
    name = f"scene-{next(_numbers)}"
    made = await make_scene(database.app_dsn, name, name)
    yield made
    await made.conn.close()


@pytest.fixture
async def pool(database: Any) -> AsyncIterator[Any]:
    opened = await open_pool(database.app_dsn, max_size=2)
    yield opened
    await opened.close()


def activity(seed: int, events: int, people: int = 12) -> list[tuple[str, float, datetime]]:
    """Few efforts and few instants, so that there are ties; the hours lie on both sides of midnights and new years."""
    chance = random.Random(seed)
    start = datetime(2025, 12, 28, tzinfo=UTC)
    return [
        (
            f"u{chance.randrange(people)}",
            chance.choice([1, 2, 2.5, 0.9, 7]),
            start + timedelta(hours=chance.randrange(10) * 19 + chance.choice([0, 4, 5])),
        )
        for _ in range(events)
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_a_rebuild_of_untouched_boards_changes_nothing(scene: Scene, seed: int) -> None:
    played = activity(seed, 150)
    for start in range(0, len(played), 17):
        await scene.apply(played[start : start + 17])
    before = await scene.everything()
    assert {row[0] for row in before} == set(PROGRAM["boards"])
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []
    assert await board_rebuild.rebuild(scene.conn, scene.project, scene.program) == 0
    assert await scene.everything() == before
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []


async def test_writers_do_not_wait_for_a_comparison_which_sees_none_of_what_they_write(
    scene: Scene, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.apply(activity(5, 60))
    settle, writer = board_rebuild_rows.settle, Scene(await connect(database.app_dsn, gives_way=True), scene.project)

    async def settle_late(conn: Any) -> None:
        await settle(conn)
        await writer.apply(activity(6, 20))

    monkeypatch.setattr(board_rebuild_rows, "settle", settle_late)
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []
    monkeypatch.undo()
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []
    await writer.conn.close()


async def test_entries_of_periods_that_a_newer_program_has_no_more_are_no_damage(scene: Scene) -> None:
    await scene.apply(activity(5, 60))
    fewer = PROGRAM | {"boards": {name: board | {"periods": ["all-time"]} for name, board in PROGRAM["boards"].items()}}
    newer = compile_program(fewer, 2)
    assert await board_rebuild.compare(scene.conn, scene.project, newer) == []
    await scene.conn.execute("UPDATE board_entries SET lead = lead - 5")
    wrong = await board_rebuild.compare(scene.conn, scene.project, newer, limit=10_000)
    assert {difference.period for difference in wrong} == {"all-time"}


async def test_a_rebuild_mends_what_was_damaged(scene: Scene) -> None:
    await scene.apply(activity(9, 60))
    before = await scene.everything()
    await scene.conn.execute("UPDATE board_entries SET lead = lead - 5 WHERE user_id % 3 = 0")
    await scene.conn.execute("DELETE FROM board_entries WHERE user_id % 3 = 1")
    await scene.conn.execute("UPDATE board_counts SET entries = entries + 1 WHERE bucket % 2 = 0")
    found = await board_rebuild.compare(scene.conn, scene.project, scene.program)
    assert {type(difference).__name__ for difference in found} == {"WrongEntry", "WrongCount"}
    assert re.match(
        r"board \w+, [\w-]+, user u\d+: has (-?\d+ since [\d:TZ-]+|no entry), should have -?\d+ since", str(found[0])
    )
    assert await board_rebuild.rebuild(scene.conn, scene.project, scene.program) > 0
    assert await scene.everything() == before
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []


async def test_a_rebuild_takes_back_points_without_a_cause(scene: Scene) -> None:
    await scene.apply(activity(4, 20))
    before = await scene.everything()
    rows = BoardRows()
    rows.add(scene.project.id, 999_999, [BoardPoints("xp", "2019", BoardMode.ADD, 5, NOW)])
    async with scene.conn.transaction():
        await boards.add_points(scene.conn, 0, rows)
    assert len(await board_rebuild.compare(scene.conn, scene.project, scene.program)) == 1
    assert await board_rebuild.rebuild(scene.conn, scene.project, scene.program) == 1
    assert await scene.everything() == before


async def test_a_sum_of_fractions_is_ranked_by_its_floor_and_a_rebuild_agrees(scene: Scene) -> None:
    days = [NOW + timedelta(days=n) for n in range(3)]
    played = [("ann", 0.9, days[n % 3]) for n in range(15)]
    played += [("bob", effort, days[0]) for effort in (-0.5, 0.5) * 5]
    played += [("cid", 0.105, days[1])] * 2
    random.Random(3).shuffle(played)
    for start in range(0, len(played), 4):  # within a transaction and across several
        await scene.apply(played[start : start + 4])
    before = await scene.everything()
    scores = await scene.conn.fetch(
        "SELECT u.external_id, p.board, p.period, -e.lead FROM board_entries e JOIN board_periods p ON p.id = e.board_period"
        " JOIN users u ON u.id = e.user_id WHERE e.project_id = $1 AND p.board IN ('effort', 'whole effort') ORDER BY 1, 2, 3",
        scene.project.id,
    )
    year = "2026"
    assert [tuple(row) for row in scores if row[1] == "whole effort"] == [
        ("ann", "whole effort", year, 13), ("ann", "whole effort", "2026-11-21", 4), ("ann", "whole effort", "2026-11-22", 4),
        ("ann", "whole effort", "2026-11-23", 4), ("ann", "whole effort", "all-time", 13),
        ("bob", "whole effort", year, 0), ("bob", "whole effort", "2026-11-21", 0), ("bob", "whole effort", "all-time", 0),
        ("cid", "whole effort", year, 0), ("cid", "whole effort", "2026-11-22", 0), ("cid", "whole effort", "all-time", 0),
    ]  # fmt: skip
    assert ("cid", "effort", "2026-W47", 21) in [tuple(row) for row in scores]
    assert await board_rebuild.compare(scene.conn, scene.project, scene.program) == []
    assert await board_rebuild.rebuild(scene.conn, scene.project, scene.program) == 0
    await scene.conn.execute("DELETE FROM board_entries WHERE project_id = $1", scene.project.id)
    await board_rebuild.rebuild(scene.conn, scene.project, scene.program)
    assert await scene.everything() == before


async def test_an_entry_from_before_rests_were_kept_goes_on_and_a_rebuild_gives_it_its_rest(scene: Scene) -> None:
    daily = ("whole effort", "2026-11-21")

    async def entry() -> list[Any]:
        return [row[3:] for row in await scene.everything() if row[:2] == daily]

    await scene.apply([("ann", 0.9, NOW)] * 2)
    assert await entry() == [(-1, NOW, 800_000_000)]
    await scene.conn.execute("UPDATE board_entries SET rest = NULL WHERE project_id = $1", scene.project.id)
    await scene.apply([("ann", 0.6, NOW)])
    assert await entry() == [(-1, NOW, 600_000_000)]
    wrong = await board_rebuild.compare(scene.conn, scene.project, scene.program)
    assert [(w.score, w.rest, w.found_score, w.found_rest) for w in wrong if (w.board, w.period) == daily] == [
        (2, 400_000_000, 1, 600_000_000)
    ]
    await board_rebuild.rebuild(scene.conn, scene.project, scene.program)
    assert await entry() == [(-2, NOW, 400_000_000)]


async def test_a_blocked_users_entry_comes_back_with_its_rest(scene: Scene) -> None:
    await scene.apply([("ann", 0.9, NOW)])
    before = await scene.everything()
    user = before[0][2]
    for name in ("remove", "restore"):
        async with scene.conn.transaction():
            await scene.conn.execute(standing.SQL[name], [scene.project.id], [user], 0)
            if name == "remove":
                assert await scene.everything() == []
    assert await scene.everything() == before


def summary(page: LeaderboardPage) -> list[tuple[int, str, int]]:
    return [(entry.rank, entry.user_id, entry.score) for entry in page.entries]


async def test_a_leaderboard_shows_ranks_by_the_boards_ties(scene: Scene, pool: Any) -> None:
    day = timedelta(days=1)
    await scene.apply([("ann", 2, NOW), ("bob", 2, NOW - day), ("cid", 1, NOW), ("dee", 4, NOW), ("ann", 2, NOW - day)])

    async def board(**query: Any) -> list[tuple[int, str, int]]:
        return summary(await leaderboard(pool, scene.project, scene.program, LeaderboardQuery(**query), NOW))

    assert await board(metric="xp", period_key="all-time") == [
        (1, "ann", 12),
        (2, "dee", 12),
        (3, "bob", 6),
        (4, "cid", 3),
    ]
    assert await board(metric="coins") == [(1, "ann", 2), (2, "bob", 1), (2, "cid", 1), (2, "dee", 1)]
    assert await board(metric="tasks", period_key="all-time") == [
        (1, "ann", 2),
        (2, "bob", 1),
        (2, "cid", 1),
        (2, "dee", 1),
    ]
    assert await board(metric="effort") == [(1, "ann", 400), (2, "dee", 400), (3, "bob", 200), (4, "cid", 100)]
    assert await board(metric="xp", period_key="2026-11-20") == [(1, "ann", 6), (2, "bob", 6)]


async def test_a_period_left_out_is_the_current_one_of_the_projects_zone(scene: Scene, pool: Any) -> None:
    monday_utc_still_sunday_there = datetime(2026, 11, 23, 3, tzinfo=UTC)
    page = await leaderboard(
        pool, scene.project, scene.program, LeaderboardQuery(metric="xp"), monday_utc_still_sunday_there
    )
    assert (page.period, page.period_key, page.entries, page.total) == ("weekly", "2026-W47", [], 0)


async def test_pages_follow_each_other_and_the_caller_sees_themself(scene: Scene, pool: Any) -> None:
    await scene.apply([(f"u{n:02}", 1 + n % 5, NOW) for n in range(23)])
    seen: list[tuple[int, str, int]] = []
    after = None
    while True:
        query = LeaderboardQuery(metric="coins", limit=5, after=after, user="u07", around=2)
        page = await leaderboard(pool, scene.project, scene.program, query, NOW)
        assert page.total == 23
        assert page.me is not None
        assert page.me.user_id == "u07"
        assert len(page.around_me) == 5
        seen += summary(page)
        after = page.next_cursor
        if after is None:
            break
    whole = await leaderboard(pool, scene.project, scene.program, LeaderboardQuery(metric="coins", limit=200), NOW)
    assert seen == summary(whole)


async def test_a_global_board_ranks_the_organizations_projects_side_by_side(database: Any, pool: Any) -> None:
    first, second = await make_scene(database.app_dsn, "one", "both"), await make_scene(database.app_dsn, "two", "both")
    await first.apply([("ann", 1, NOW), ("bob", 3, NOW)])
    await second.apply([("ann", 2, NOW), ("bob", 3, NOW - timedelta(hours=1))])
    query = LeaderboardQuery(metric="xp", period_key="2026-11", user="ann", scope=BoardScope.GLOBAL)
    page = await leaderboard(pool, first.project, first.program, query, NOW)
    assert [(e.rank, e.app_id, e.user_id, e.score) for e in page.entries] == [
        (1, "two", "bob", 9),
        (2, "one", "bob", 9),
        (3, "two", "ann", 6),
        (4, "one", "ann", 3),
    ]
    assert page.total == 4
    assert page.me is not None
    assert (page.me.rank, page.me.app_id) == (4, "one")
    own = LeaderboardQuery(metric="xp", period_key="2026-11", scope=BoardScope.APP)
    assert (await leaderboard(pool, first.project, first.program, own, NOW)).total == 2
    await first.conn.close()
    await second.conn.close()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (LeaderboardQuery(metric="coins", period_key="2026-11"), "periodKey"),
        (LeaderboardQuery(metric="coins", period_key="yesterday"), "periodKey"),
        (LeaderboardQuery(metric="coins", scope=BoardScope.GLOBAL), "scope"),
        (LeaderboardQuery(metric="coins", limit=0), "limit"),
        (LeaderboardQuery(metric="coins", limit=201), "limit"),
        (LeaderboardQuery(metric="coins", around=-1), "around"),
        (LeaderboardQuery(metric="coins", after="nonsense"), "after"),
        (LeaderboardQuery(metric="coins", after="€"), "after"),
    ],
)
async def test_a_query_that_does_not_fit_names_its_parameter(
    scene: Scene, pool: Any, query: LeaderboardQuery, parameter: str
) -> None:
    with pytest.raises(BoardQueryInvalid) as caught:
        await leaderboard(pool, scene.project, scene.program, query, NOW)
    assert caught.value.parameter == parameter


async def test_an_unknown_board_is_not_found(scene: Scene, pool: Any) -> None:
    with pytest.raises(BoardNotFound, match="no board 'fame'"):
        await leaderboard(pool, scene.project, scene.program, LeaderboardQuery(metric="fame"), NOW)
