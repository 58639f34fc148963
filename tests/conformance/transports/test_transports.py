"""What every transport promises, whatever carries the events: each is applied once, and a user's in their order."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from carriages import BROKERS, QUEUED, Installation
from conftest_api import App, until
from poison import Poison


def task(user: str, n: int) -> dict[str, Any]:
    return {"type": "task", "userId": user, "eventId": f"{user}-{n}", "payload": {"n": n}}


def due(users: Sequence[str], events: int) -> dict[str, list[str]]:
    """What should have been applied, in its order."""
    return {user: [f"{user}-{n}" for n in range(events)] for user in users}


async def send_one_by_one(app: App, user: str, numbers: range) -> None:
    for n in numbers:
        answer = await app.post("/v1/events", json=task(user, n))
        assert answer.status_code == 202, answer.text


async def send_batch(app: App, events: list[dict[str, Any]]) -> None:
    answer = await app.post("/v1/events/batch", json=events)
    assert answer.status_code == 202, answer.text


async def _is_taken(app: App, events: list[dict[str, Any]]) -> bool:
    """Whether a batch was accepted; what was accepted before is a duplicate."""
    return (await app.post("/v1/events/batch", json=events)).status_code == 202


async def status(app: App, event: str) -> str:
    return str((await app.get(f"/v1/events/{event}")).json()["status"])


async def test_every_event_of_every_way_in_is_applied_once_and_in_its_user_s_order(installation: Installation) -> None:
    app, users = await installation.app(), [f"u{n}" for n in range(12)]
    lines = "\n".join(
        f'{{"type":"task","userId":"{u}","eventId":"{u}-{n}","payload":{{"n":{n}}}}}'
        for n in range(40, 60)
        for u in users
    )
    async with installation.questline.worker():
        await asyncio.gather(*(send_one_by_one(app, user, range(20)) for user in users))
        await send_batch(app, [task(user, n) for n in range(20, 40) for user in users])
        await app.post("/v1/ingest/stream", content=lines, headers={"Content-Type": "application/x-ndjson"})
        await installation.until_ended(app, 60 * len(users))
    assert await installation.applied(app) == due(users, 60)
    assert await app.balance("u0", "coins") == 60


async def test_a_backlog_from_before_the_first_worker_is_applied_in_order(installation: Installation) -> None:
    app, users = await installation.app(), [f"u{n}" for n in range(300)]
    for n in range(10):
        await send_batch(app, [task(user, n) for user in users])
    async with installation.questline.worker():
        await installation.until_ended(app, 3_000)
    assert await installation.applied(app) == due(users, 10)


async def test_all_events_of_one_user_are_applied_in_order(installation: Installation) -> None:
    app = await installation.app()
    async with installation.questline.worker():
        for start in range(0, 2_000, 500):
            await send_batch(app, [task("ada", n) for n in range(start, start + 500)])
        await installation.until_ended(app, 2_000)
    assert await installation.applied(app) == due(["ada"], 2_000)


async def test_what_a_client_sends_again_is_applied_once(installation: Installation) -> None:
    app = await installation.app()
    async with installation.questline.worker():
        for _ in range(3):
            await asyncio.gather(*(send_batch(app, [task("ada", n) for n in range(50)]) for _ in range(3)))
        await installation.until_ended(app, 50)
        await send_one_by_one(app, "ada", range(50, 51))
        await installation.until_ended(app, 51)
    applied = await installation.applied(app)
    assert sorted(applied["ada"]) == sorted(due(["ada"], 51)["ada"])
    assert await app.balance("ada", "coins") == 51


async def test_two_workers_share_the_work_and_keep_every_user_s_order(installation: Installation) -> None:
    app, users = await installation.app(), [f"u{n}" for n in range(100)]
    owner = installation.questline.owner

    async def both_hold_partitions() -> bool:
        return await owner.fetchval("SELECT count(DISTINCT owner) FROM partition_leases WHERE expires_at >= now()") == 2

    async with installation.questline.worker(), installation.questline.worker():
        await until(both_hold_partitions)
        for n in range(10):
            await send_batch(app, [task(user, n) for user in users])
        await installation.until_ended(app, 1_000)
    assert await installation.applied(app) == due(users, 10)


async def test_a_worker_that_comes_and_one_that_goes_leave_nothing_undone(installation: Installation) -> None:
    app, users = await installation.app(), [f"u{n}" for n in range(100)]
    async with installation.questline.worker():
        for n in range(3):
            await send_batch(app, [task(user, n) for user in users])
        async with installation.questline.worker():
            for n in range(3, 6):
                await send_batch(app, [task(user, n) for user in users])
        for n in range(6, 10):
            await send_batch(app, [task(user, n) for user in users])
        await installation.until_ended(app, 1_000)
    assert await installation.applied(app) == due(users, 10)


async def test_what_a_worker_was_killed_over_is_applied_once_by_the_next(installation: Installation) -> None:
    app, users, owner = await installation.app(), [f"u{n}" for n in range(50)], installation.questline.owner

    async def a_batch_waits() -> bool:
        return await owner.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'transfers'::regclass)"
        )

    await send_batch(app, [task(user, n) for n in range(4) for user in users])
    with installation.worker_to_be_killed() as worker:
        async with owner.transaction():
            await owner.execute("LOCK TABLE transfers IN EXCLUSIVE MODE")
            await until(a_batch_waits)
            worker.kill()
            worker.wait()
    await send_batch(app, [task(user, n) for n in range(4, 8) for user in users])
    await installation.free_partitions()
    async with installation.questline.worker():
        await installation.until_ended(app, 400)
    assert await installation.applied(app) == due(users, 8)


async def test_connections_cut_in_mid_batch_lose_and_double_nothing(installation: Installation) -> None:
    app, users, owner = await installation.app(), [f"u{n}" for n in range(50)], installation.questline.owner

    async def cut() -> bool:
        return await owner.fetchval("""
            SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_locks
            WHERE NOT granted AND relation = 'transfers'::regclass""")

    await send_batch(app, [task(user, n) for n in range(6) for user in users])
    async with installation.questline.worker():
        async with owner.transaction():
            await owner.execute("LOCK TABLE transfers IN EXCLUSIVE MODE")
            await until(cut)
        await installation.until_ended(app, 300)
    assert await installation.applied(app) == due(users, 6)


async def test_a_poisoned_event_is_a_dead_letter_and_holds_up_nobody(
    installation: Installation, poison: Poison
) -> None:
    app, users = await installation.app(), [f"u{n}" for n in range(40)]
    id_ = (await app.post("/v1/events", json=task("u7", 0))).json()["eventId"]
    await poison.give(id_, "23514")
    await send_batch(app, [task(user, n) for n in range(1, 4) for user in users])
    async with installation.questline.worker():
        await installation.until_ended(app, 121)
        first = await status(app, "u7-0")
        await poison.heal()
        await app.post("/v1/admin/dlq/retry", json={})

        async def is_applied() -> bool:
            return await status(app, "u7-0") == "processed"

        await until(is_applied)
    assert first == "failed"
    expected = {user: [f"{user}-{n}" for n in range(1, 4)] for user in users}
    expected["u7"].append("u7-0")
    assert await installation.applied(app) == expected


async def test_a_parked_user_s_later_events_wait_in_order_and_nobody_else_s_do(
    installation: Installation, poison: Poison
) -> None:
    app, users, owner = await installation.app(), ["ada", "bob", "cid"], installation.questline.owner
    id_ = (await app.post("/v1/events", json=task("ada", 0))).json()["eventId"]
    await poison.give(id_, "40001")
    async with installation.questline.worker():

        async def ada_is_parked() -> bool:
            return await owner.fetchval("SELECT EXISTS (SELECT FROM parked_users)")

        await until(ada_is_parked)
        await owner.execute("UPDATE parked_users SET due_at = now() + interval '1 hour'")
        await send_batch(app, [task(user, n) for n in range(1, 9) for user in users])
        await send_batch(app, [task(user, 0) for user in users[1:]])
        await installation.until_ended(app, 18)
        waiting = await installation.applied(app)
        await poison.heal()
        await owner.execute("UPDATE parked_users SET due_at = now()")
        await installation.until_ended(app, 27)
    order = [*(str(n) for n in range(1, 9)), "0"]
    others = {user: [f"{user}-{n}" for n in order] for user in users[1:]}
    assert waiting == others
    assert await installation.applied(app) == {**due(["ada"], 9), **others}


@pytest.mark.parametrize("installation", QUEUED, indirect=True, scope="module")
async def test_a_command_comes_after_all_that_was_acknowledged_before_it(installation: Installation) -> None:
    app = await installation.app()
    async with installation.questline.worker():
        for start in range(0, 40, 10):
            await send_batch(app, [task("ada", n) for n in range(start, start + 10)])
            spent = await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 10})
            assert spent.status_code == 201, spent.text
        await send_one_by_one(app, "ada", range(40, 43))
        await installation.until_ended(app, 43)
    assert await installation.applied(app) == due(["ada"], 43)
    assert await app.balance("ada", "coins") == 3


async def test_projects_that_share_a_worker_are_kept_apart(installation: Installation) -> None:
    apps = [await installation.app() for _ in range(4)]
    async with installation.questline.worker():
        await asyncio.gather(*(send_batch(app, [task("ada", n) for n in range(100)]) for app in apps))
        for app in apps:
            await installation.until_ended(app, 100)
    assert [await installation.applied(app) for app in apps] == [due(["ada"], 100)] * 4


@pytest.mark.parametrize("installation", BROKERS, indirect=True, scope="module")
async def test_while_the_broker_is_gone_events_are_accepted_or_refused_and_what_was_accepted_is_applied(
    installation: Installation,
) -> None:
    app = await installation.app()
    async with installation.questline.worker():
        await send_batch(app, [task("ada", n) for n in range(20)])
        await installation.until_ended(app, 20)
        installation.broker.kill()
        answer = await app.post("/v1/events/batch", json=[task("ada", n) for n in range(20, 40)])
        installation.broker.start()
        installation.broker.wait_until_ready()
        assert answer.status_code in (202, 503)
        for first in (20, 40):
            await until(partial(_is_taken, app, [task("ada", n) for n in range(first, first + 20)]))
        await installation.until_ended(app, 60)
    assert await installation.applied(app) == due(["ada"], 60)
