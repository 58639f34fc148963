"""League cohorts against counts that know nothing of the engine: any players, any program, any order, any way to die."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from conftest_api import App, Instance
from dying import dying
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ledger import misbooked
from test_leagues import MONDAY, WEEK, Played, World, coins, new_world, played_season, played_week, told

from questline.model import calendar
from questline.processing.rollover import Rollover
from questline.processing.season_ends import SeasonEnds
from questline.store.pool import connect

RULES: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp"}},
    "rules": {"task": {"on": "task", "award": {"XP": {"field": "points"}}}},
}
# What fails is shown as it was drawn: to shrink examples that each play weeks takes longer than a test may.
FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
Row = Any  # of league_members, with its user


@st.composite
def league_documents(draw: Any) -> dict[str, Any]:
    """A league of small cohorts; each tier says for itself how many leave it, and some say nothing."""
    size = draw(st.integers(2, 4))
    some = st.integers(0, size).flatmap(lambda up: st.tuples(st.just(up), st.integers(0, size - up)))
    promote, demote = draw(some)
    tiers = [
        {} if own is None else {"promote": own[0], "demote": own[1]}
        for own in draw(st.lists(st.none() | some, min_size=1, max_size=3))
    ]
    ties = draw(st.sampled_from(("first", "competition", "dense")))
    return {
        "currency": "XP",
        "tiers": tiers,
        "cohorts": {"size": size},
        "promote": promote,
        "demote": demote,
        "ties": ties,
    }


tasks = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=24)
ENDS = ("calm", "late", "stopped", "dies", "two at once", "two at once, and one dies")
weeks = st.lists(
    st.fixed_dictionaries(
        {
            "league": league_documents(),
            "tasks": tasks,
            "ends": st.sampled_from(ENDS),
            "statements": st.lists(st.integers(1, 30), min_size=1, max_size=4),  # that a process gets to before it dies
            "users": st.integers(4, 8),  # of a batch, in play and at the end: a cohort goes in whole
        }
    ),
    min_size=1,
    max_size=3,
)


class StopsAfter(asyncio.Event):
    """A service is told to stop when it has looked so often whether it is."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


async def end(world: World, how: str, statements: list[int], users: int) -> None:
    """End what is due in one way or another, and in the end wholly."""
    rollover = world.rollover(batch_users=users)
    for number in statements:
        if how == "stopped":
            await rollover.run_once(StopsAfter(number % 3))
        elif how == "dies":
            with dying(number), contextlib.suppress(ConnectionError, asyncpg.InterfaceError):
                await rollover.run_once()
        elif how == "two at once, and one dies":
            with dying(number):
                await asyncio.gather(rollover.run_once(), rollover.run_once(), return_exceptions=True)
    if how.startswith("two"):
        await asyncio.gather(rollover.run_once(), rollover.run_once())
    await rollover.run_once()


def counts(league: dict[str, Any], tier: int) -> tuple[int, int]:
    """How many ranks of a tier go up and down, as the document says it."""
    own = league["tiers"][tier - 1]
    up = 0 if tier == len(league["tiers"]) else own.get("promote", league["promote"])
    down = 0 if tier == 1 else own.get("demote", league["demote"])
    return up, down


def outcome(league: dict[str, Any], tier: int, mine: Row, cohort: Sequence[Row]) -> tuple[int, int, str]:
    """A member's (rank, next tier, outcome), by counting who is above and who is below."""
    above = {row["user"]: row["score"] for row in cohort if row["score"] > mine["score"]}
    below = {row["user"]: row["score"] for row in cohort if row["score"] < mine["score"]}
    if league["ties"] == "first":
        level = [row for row in cohort if row["score"] == mine["score"]]
        key = (mine["reached_at"], mine["user_id"])
        rank = 1 + len(above) + sum((row["reached_at"], row["user_id"]) < key for row in level)
        last = len(cohort)
    elif league["ties"] == "competition":
        rank, last = 1 + len(above), len(cohort)
    else:
        rank = 1 + len(set(above.values()))
        last = rank + len(set(below.values()))
    up, down = counts(league, tier)
    if rank <= up:
        return rank, tier + 1, "promoted"
    return (rank, tier - 1, "demoted") if rank > last - down else (rank, tier, "stayed")


def check(league: dict[str, Any], rows: Sequence[Row], played: Sequence[Played], tiers: dict[str, int]) -> None:
    """Hold a settled week against what was played and the tiers that the week before has left users in."""
    scores, reached = Counter[str](), dict[str, datetime]()
    for user, points, at in played:
        scores[user] += points
        reached[user] = max(at, reached.get(user, at))
    top = len(league["tiers"])
    assert sorted((row["user"], row["score"], row["reached_at"]) for row in rows) == sorted(
        (user, score, reached[user]) for user, score in scores.items()
    )
    assert {row["user"]: row["tier"] for row in rows} == {user: min(tiers.get(user, 1), top) for user in scores}
    cohorts = defaultdict(list)
    for row in rows:
        cohorts[row["tier"], row["cohort"]].append(row)
    sizes = defaultdict(list)
    for (tier, number), cohort in sorted(cohorts.items()):
        assert number == len(sizes[tier])  # one after the other
        sizes[tier].append(len(cohort))
        found = [(row["rank"], row["next_tier"], row["outcome"]) for row in cohort]
        assert found == [outcome(league, tier, row, cohort) for row in cohort]
        if league["ties"] == "first":
            up, down = counts(league, tier)
            ended = Counter(row["outcome"] for row in cohort)
            assert ended["promoted"] == min(up, len(cohort))
            assert ended["demoted"] == min(down, len(cohort) - ended["promoted"])
    size = league["cohorts"]["size"]
    assert all(found == [size] * (len(found) - 1) + [found[-1]] and found[-1] <= size for found in sizes.values())
    assert all(1 <= row["next_tier"] <= top for row in rows)


@settings(max_examples=25, phases=FOUND)
@given(weeks)
async def test_every_week_ends_once_as_a_count_of_each_cohort_says_however_its_end_is_disturbed(
    database: Any, drawn: list[dict[str, Any]]
) -> None:
    async with new_world(database) as world:
        tiers: dict[str, int] = {}
        expected: dict[tuple[str, str], Any] = {}
        ahead: list[Played] = []  # of this week, played before the last one had its results
        league: dict[str, Any] = {}
        for number, week in enumerate(drawn):
            if not ahead:  # else users sit already as the league was then
                league = week["league"]
                await world.put_program({**RULES, "leagues": {"weekly": league}})
            played = played_in(number, week)
            await world.play(played[len(ahead) :], batch=week["users"])
            ahead = []
            if week["ends"] == "late" and number + 1 < len(drawn):
                following = played_in(number + 1, drawn[number + 1])
                ahead = following[: 1 + len(following) // 2]
                await world.play(ahead, batch=week["users"])
            world.now = MONDAY + (number + 1) * WEEK + timedelta(minutes=1)
            await end(world, week["ends"], week["statements"], week["users"])
            await world.drain()
            rows = await world.members(number)
            check(league, rows, played, tiers)
            tiers |= {row["user"]: row["next_tier"] for row in rows}
            key = calendar.week_key(calendar.period_number("week", MONDAY + number * WEEK, UTC))
            expected |= {(user, key): result for user, result in told(rows).items()}
        settled = [await world.members(number) for number in range(len(drawn))], await world.notices()
        assert await world.rollover().run_once() == 0
        await world.drain()
        assert ([await world.members(number) for number in range(len(drawn))], await world.notices()) == settled
        announced = [(user, data["week"], data) for user, type_, data in settled[1] if type_.startswith("league.")]
        assert len(announced) == len(expected)
        assert {
            (user, key): (d["before"], d["rank"], d["after"], d["outcome"]) for user, key, d in announced
        } == expected
        assert await standings(world) == tiers
        assert await misbooked(world.owner) == []


def played_in(number: int, week: dict[str, Any]) -> list[Played]:
    start = MONDAY + number * WEEK
    return [(f"u{user}", points, start + timedelta(hours=hours)) for user, points, hours in week["tasks"]]


async def standings(world: World) -> dict[str, int]:
    rows = await world.owner.fetch(
        "SELECT external_id, tier FROM league_standings s JOIN users u ON u.id = s.user_id WHERE s.project_id = $1",
        world.project_id,
    )
    return dict(rows)


@settings(max_examples=10, phases=FOUND)
@given(
    league_documents(),
    tasks,
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    st.integers(0, 30),
    st.randoms(use_true_random=False),
)
async def test_scores_sent_in_any_order_and_any_number_of_times_end_a_week_in_the_same_way(
    questline: Instance, league: dict[str, Any], drawn: Any, again: list[int], cut: int, chance: random.Random
) -> None:
    """Who is seated where is the order of who joined; so all join first, and in one order."""
    now = datetime.now(UTC)
    start = calendar.week_start(calendar.period_number("week", now, UTC) - 1, UTC)
    settle = {"duration": 8, "unit": "days"}  # so that last week is open, and nothing of it lies in the future
    program = {**RULES, "leagues": {"weekly": {**league, "settle": settle}}}
    users = sorted({user for user, _, _ in drawn})
    facts = [(user, 1, 0) for user in users] + drawn
    items = [
        {"type": "task", "userId": f"u{user}", "eventId": str(number), "payload": {"points": points},
         "occurredAt": (start + timedelta(hours=hours)).isoformat()}
        for number, (user, points, hours) in enumerate(facts)
    ]  # fmt: skip
    rest = items[len(users) :]
    mixed = rest + [items[number % len(items)] for number in again]
    chance.shuffle(mixed)
    found = []
    for parts in ([rest], [mixed[:cut], mixed[cut:]]):
        app = await questline.app(program)
        for item in items[: len(users)]:
            answer = await app.post("/v1/events", json=item, headers={"Prefer": "wait=10"})
            assert answer.json()["status"] == "processed"
        found.append(await ended(app, parts, now + timedelta(days=30)))
    assert found[0] == found[1]
    assert [user for user, *_ in found[0][0]] == sorted(f"u{user}" for user in users)
    assert await misbooked(questline.owner) == []


async def ended(app: App, parts: list[list[dict[str, Any]]], later: datetime) -> Any:
    """Send parts one after the other, end the week, and return what it came to for each user and what they were told."""
    owner = app.instance.owner
    project_id = await owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    conn = await connect(app.instance.settings.dsn)
    world = World(app.instance.settings.dsn, owner, conn, project_id)
    world.now = later
    for part in parts:
        if part:
            assert (await app.post("/v1/events/batch", json=part)).status_code < 300
            await world.drain()
    await world.rollover(batch_users=5).run_once()
    await world.drain()
    await conn.close()
    rows = await owner.fetch(
        """SELECT u.external_id, tier, cohort, score, reached_at, rank, outcome, next_tier
        FROM league_members m JOIN users u ON u.id = m.user_id WHERE m.project_id = $1 ORDER BY 1""",
        project_id,
    )
    notices = [(user, type_, data) for user, type_, data in await world.notices() if type_.startswith("league.")]
    return [tuple(row) for row in rows], sorted(notices, key=str)


async def test_a_weeks_end_that_dies_behind_any_statement_is_gone_on_with_and_told_once(database: Any) -> None:
    async with new_world(database) as world:
        _, expected = await played_week(world, 60)
        assert await die_behind_every_statement(world.rollover(batch_users=25)) > 30
        await world.drain()
        assert told(await world.members()) == expected
        assert sorted(user for user, _, _ in await world.notices()) == sorted(expected)
        assert await misbooked(world.owner) == []


async def test_a_seasons_end_that_dies_behind_any_statement_is_gone_on_with_and_paid_once(database: Any) -> None:
    async with new_world(database) as world:
        expected = await played_season(world)
        assert await die_behind_every_statement(world.season_ends(batch_users=25)) > 25
        await world.drain()
        assert await coins(world) == expected
        assert await misbooked(world.owner) == []


async def die_behind_every_statement(service: Rollover | SeasonEnds) -> int:
    """Let a service die behind each statement of each of its transactions in turn; return how often it died."""
    behind = 1
    for deaths in itertools.count():
        with dying(behind) as death, contextlib.suppress(ConnectionError, asyncpg.InterfaceError):
            await service.run_once()
        if not death.came:
            return deaths
        behind = 1 if "COMMIT;" in death.ran else behind + 1
    raise AssertionError
