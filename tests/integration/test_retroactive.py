"""An achievement for users who meet it already: looked at first, then awarded once, in batches that any worker goes on with."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from conftest_api import App, Instance, until
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import misbooked
from typer.testing import CliRunner

from questline.api import sweeps as shown_sweeps
from questline.assembly import now
from questline.cli import achievements, client
from questline.cli.main import app as command
from questline.processing.programs import ProgramCache
from questline.processing.sweeps import Sweeps
from questline.store import sweeps
from questline.store.ids import EventIds

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "XP": {"kind": "xp", "levels": {"curve": "linear", "base": 10}}},
    "items": {"medal": {"title": "Medal"}},
    "metrics": {"tasks": {"on": "task", "count": True}},
}
THREE: dict[str, Any] = {
    "title": "Three",
    "requirements": [{"metric": "tasks", "threshold": 3}],
    "rewards": [{"currency": "coins", "value": 100}, {"currency": "XP", "value": 10}, {"item": "medal"}],
}
LEVEL_TWO: dict[str, Any] = {"title": "Two", "requirements": [{"level": "XP", "threshold": 2}]}
PATH = "/v1/achievements/three/retroactive"


async def played(questline: Instance, users: int = 9) -> App:
    """A project whose users n have n tasks, and then the achievement."""
    app = await questline.app(PROGRAM)
    for n in range(1, users):  # one after another, so that sweeps come to them in this order
        await app.send("hello", f"u{n}", headers={"Prefer": "wait=10"})
    events = [{"type": "task", "userId": f"u{n}", "eventId": f"{n}-{k}"} for n in range(users) for k in range(n)]
    await app.post("/v1/events/batch", json={"events": events})
    await questline.drain()
    for name, definition in (("three", THREE), ("two", LEVEL_TWO)):
        assert (await app.put(f"/v1/achievements/{name}", json=definition)).status_code == 200
    return app


def service(questline: Instance, batch_users: int = 2) -> Sweeps:
    return Sweeps(questline.settings.dsn, ProgramCache(), now, EventIds().new, batch_users=batch_users)


async def unlocked(app: App, users: int = 9) -> list[str]:
    found = []
    for n in range(1, users):
        names = [a["achievement"] for a in (await app.profile(f"u{n}"))["achievements"] if a["unlocked"]]
        found += [f"u{n}"] if names == ["three", "two"] else []
    return found


async def test_a_preview_says_who_and_what_it_would_cost_and_changes_nothing(questline: Instance) -> None:
    app = await played(questline)
    whole = (await app.get(PATH)).json()
    expected = {"examined": 8, "found": 6, "cost": {"coins": 600, "XP": 60, "medal": 6}}
    assert {name: whole[name] for name in expected} == expected
    assert sorted(whole["sample"]) == [f"u{n}" for n in range(3, 9)]
    assert (whole["users"], whole["nextCursor"], whole["sweep"]) == (8, None, None)
    pages, cursor = [], "0"
    while cursor is not None:
        page = (await app.get(f"{PATH}?limit=3&cursor={cursor}")).json()
        pages.append(page["found"])
        cursor = page["nextCursor"]
    assert sum(pages) == 6
    assert await unlocked(app) == []
    assert (await app.get("/v1/achievements/four/retroactive")).status_code == 404
    assert (await app.get(f"{PATH}?limit=5001")).json()["parameter"] == "limit"
    assert (await app.get(f"{PATH}?cursor=x")).json()["parameter"] == "cursor"


async def test_a_post_with_preview_shows_the_same_and_starts_nothing(questline: Instance) -> None:
    app = await played(questline)
    looked = await app.post(f"{PATH}?preview=true")
    assert (looked.status_code, looked.json()) == (200, (await app.get(PATH)).json())
    assert (await app.post(f"{PATH}?preview=true&limit=3")).json()["examined"] == 3
    assert (await app.post(f"{PATH}?preview=true&limit=5001")).json()["parameter"] == "limit"
    assert (looked.json()["sweep"], await service(questline).run_once()) == (None, 0)
    assert (await app.post(f"{PATH}?preview=false")).status_code == 202


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_preview_counts_a_shared_stock_down_over_its_page(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(shown_sweeps, "SWEEP_BATCH_USERS", 2)  # the page is looked at in several batches
    app = await played(questline)
    rewards = {"badge": {"type": "badge", "stock": 3}, "code": {"type": "coupon", "grant": "claim"}}
    for name, reward in rewards.items():
        assert (await app.put(f"/v1/rewards/{name}", json=reward)).status_code == 200
    await app.post("/v1/coupons/code", json=["A1", "A2"])
    scarce = {**THREE, "rewards": [{"currency": "coins", "value": 100}, {"reward": "badge"}, {"reward": "code"}]}
    assert (await app.put("/v1/achievements/three", json=scarce)).status_code == 200
    seen = (await app.request(method, f"{PATH}?preview=true")).json()
    assert (seen["found"], seen["cost"]) == (6, {"coins": 600, "badge": 3, "code": 2})


async def test_an_award_goes_on_where_a_worker_stopped_and_pays_once(questline: Instance) -> None:
    app = await played(questline)
    started = await app.post(PATH)
    assert (started.status_code, started.json()["status"], started.json()["users"]) == (202, "running", 8)
    assert await service(questline).run_once(batches=2) == 2  # u1 .. u4; the worker goes away here
    half = (await app.get(f"{PATH}?limit=0")).json()["sweep"]
    assert (half["status"], half["examined"], half["sent"], half["progress"]) == ("running", 4, 2, 0.5)
    await app.post(PATH)  # asked again meanwhile: it is under way
    await asyncio.gather(*(service(questline).run_once() for _ in range(3)))
    await questline.drain()
    assert await unlocked(app) == [f"u{n}" for n in range(3, 9)]
    assert [await app.balance(f"u{n}", "coins") for n in (2, 3, 8)] == [0, 100, 100]
    sweep = (await app.get(f"{PATH}?limit=0")).json()["sweep"]
    assert (sweep["status"], sweep["examined"], sweep["sent"], sweep["progress"]) == ("finished", 8, 6, 1.0)
    history = (await app.get("/v1/users/u3/history")).json()["items"][0]
    assert (history["type"], history["reason"], history["programVersion"]) == ("$evaluate", "PROCESSED", 3)
    assert await misbooked(questline.owner) == []


async def test_a_worker_that_dies_within_a_batch_leaves_nothing_of_it(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await played(questline)
    await app.post(PATH)

    async def dies(*_: Any) -> None:
        raise ConnectionError("crashed")

    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "advance", dies)  # the batch's events are stored, and not committed
        with pytest.raises(ConnectionError):
            await service(questline, batch_users=5).run_once()
    assert await questline.owner.fetchval("SELECT count(*) FROM outbox") == 0
    assert await service(questline, batch_users=5).run_once() == 6
    await questline.drain()
    assert await unlocked(app) == [f"u{n}" for n in range(3, 9)]


async def test_an_award_asked_for_again_reaches_only_who_was_not_there_before(questline: Instance) -> None:
    app = await played(questline)
    await app.post(PATH)
    await service(questline).run_once()
    await questline.owner.execute("UPDATE metrics SET value = 3 WHERE value = 2 AND metric = 'tasks'")
    again = await app.post(PATH)
    assert (again.json()["status"], again.json()["examined"]) == ("running", 0)
    assert await service(questline).run_once() == 1  # u2; the events of the others are still to be applied
    await questline.drain()
    assert [await app.balance(f"u{n}", "coins") for n in (1, 2, 3)] == [0, 100, 100]
    await app.post(PATH)
    assert await service(questline).run_once() == 0


async def test_a_sweep_waits_while_the_queue_is_long(questline: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await played(questline)
    await app.post(PATH)
    monkeypatch.setattr("questline.processing.sweeps.SWEEP_BACKLOG_MAX", 3)
    assert await service(questline).run_once() == 4  # two batches, and then four of its own events wait
    assert await service(questline).run_once() == 0
    await questline.drain()
    assert await service(questline).run_once() == 2
    await questline.drain()


async def test_awards_of_two_projects_take_turns(questline: Instance) -> None:
    large, small = await played(questline, 9), await played(questline, 5)
    for app in (large, small):
        await app.post(PATH)
    await service(questline).run_once(batches=4)
    assert [(await app.get(f"{PATH}?limit=0")).json()["sweep"]["examined"] for app in (large, small)] == [4, 4]
    await service(questline).run_once()
    await questline.drain()


async def test_a_sweep_that_fails_keeps_none_of_the_others_waiting(questline: Instance) -> None:
    broken, sound = await played(questline), await played(questline)
    for app in (broken, sound):
        await app.post(PATH)
    await questline.owner.execute(
        """WITH broken AS (INSERT INTO program_versions (project_id, version, document)
                          SELECT id, 99, '{"rules": 5}' FROM projects WHERE app_id = $1 RETURNING project_id)
        UPDATE projects SET program_version = 99 WHERE id = (SELECT project_id FROM broken)""",
        broken.app_id,
    )
    await service(questline).run_once()
    await questline.drain()
    found = "SELECT finished_at IS NOT NULL FROM sweeps s JOIN projects p ON p.id = s.project_id WHERE p.app_id = $1"
    assert [await questline.owner.fetchval(found, app.app_id) for app in (broken, sound)] == [False, True]
    await questline.owner.execute("DELETE FROM sweeps WHERE finished_at IS NULL")


async def test_a_worker_does_it_without_being_asked_twice(questline: Instance) -> None:
    app = await played(questline)
    await app.post(PATH)

    async def is_done() -> bool:
        return len(await unlocked(app)) == 6

    async with questline.worker():
        await until(is_done)


@pytest.mark.parametrize("role", ["INGEST", "READONLY"])
async def test_only_an_admin_previews_and_awards(questline: Instance, role: str) -> None:
    app = await played(questline, 2)
    key = (await app.post("/v1/keys", json={"role": role})).json()["key"]
    assert [(await app.request(method, PATH, key=key)).status_code for method in ("GET", "POST")] == [403, 403]


async def test_the_command_line_previews_asks_and_watches(questline: Instance, monkeypatch: Any) -> None:
    app = await played(questline)
    loop = asyncio.get_running_loop()

    class Here:
        """The client's requests, answered by the instance of this process."""

        @classmethod
        def of(cls, url: str | None, key: str | None) -> "Here":
            return cls()

        def request(self, method: str, path: str, **more: Any) -> Any:
            answer = asyncio.run_coroutine_threadsafe(app.request(method, path, **more), loop).result(30)
            if answer.status_code >= 400:
                raise client.ClientError(answer.json()["detail"], answer.json())
            return answer

    monkeypatch.setattr(achievements, "Client", Here)
    runner = CliRunner()

    async def run(*words: str, **more: Any) -> Any:
        return await asyncio.to_thread(runner.invoke, command, ["achievements", *words], **more)

    def told(result: Any) -> list[str]:
        return [line for line in result.output.splitlines() if line and "correlation_id" not in line]

    seen = await run("preview", "three")
    assert (seen.exit_code, told(seen)[:4]) == (
        0, ["6 of 8 users meet three and do not have it", "  60 XP", "  600 coins", "  6 medal"],
    )  # fmt: skip
    assert (await run("award", "three", input="n\n")).exit_code == 1
    async with questline.worker():
        done = await run("award", "three", "--yes")
    assert (done.exit_code, told(done)[-1]) == (0, "6 users were sent three")
    await questline.drain()
    assert "0 of 8 users" in (await run("award", "three")).output
    assert (await run("preview", "four")).exit_code == 1


@settings(max_examples=4)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=7),
    st.integers(1, 4),
    st.lists(st.sampled_from(("go on", "stop", "die", "ask again")), max_size=6),
)
async def test_in_whatever_batches_it_goes_however_often_it_stops_dies_or_is_asked_for_an_award_ends_as_if_given_at_once(
    questline: Instance, tasks: list[int], batch_users: int, acts: list[str]
) -> None:
    app = await questline.app(PROGRAM)
    done = [(n, k) for n, count in enumerate(tasks) for k in range(count)]
    events = [{"type": "task", "userId": f"u{n}", "eventId": f"{n}-{k}"} for n, k in done]
    await app.post("/v1/events/batch", json=[{"type": "hello", "userId": f"u{n}"} for n in range(len(tasks))] + events)
    await questline.drain()
    for name, definition in (("three", THREE), ("two", LEVEL_TWO)):
        await app.put(f"/v1/achievements/{name}", json=definition)
    await app.post(PATH)
    for act in acts:
        if act == "ask again":
            await app.post(PATH)
        elif act == "die":
            await dying(questline, batch_users)
        else:
            await service(questline, batch_users).run_once(batches=1 if act == "stop" else None)
    await service(questline, batch_users).run_once()
    await questline.drain()
    await app.post(PATH)  # once more, when all have it
    assert await service(questline, batch_users).run_once() == 0
    rows = await questline.owner.fetch(
        """SELECT u.external_id, b.currency, b.amount FROM balances b JOIN users u ON u.id = b.user_id
        JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1 AND b.amount > 0""",
        app.app_id,
    )
    expected = {
        (f"u{n}", *paid) for n, count in enumerate(tasks) if count >= 3 for paid in (("coins", 100), ("XP", 10))
    }
    assert {tuple(row) for row in rows} == expected
    assert await misbooked(questline.owner) == []


async def dying(questline: Instance, batch_users: int) -> None:
    """A worker that stores a batch's events and dies before it commits, where there is a batch left."""

    async def dies(*_: Any) -> None:
        raise ConnectionError("crashed")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweeps, "advance", dies)
        with suppress(ConnectionError):
            await service(questline, batch_users).run_once(batches=1)
