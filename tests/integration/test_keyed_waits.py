"""Requests under an idempotency key wait for their turn for a bounded time, whoever has all turns."""

import asyncio

import pytest
from conftest_api import Instance, until, within

from questline.api import keyed

METRIC = {"name": "tasks", "on": "task", "count": True}


async def test_a_keyed_request_behind_slow_ones_of_another_project_is_turned_away_in_time(
    questline: Instance, database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await questline.app(), await questline.app()
    monkeypatch.setattr(keyed, "POOL_WAIT_SECONDS", 0.2)
    slow = []

    async def all_turns_are_taken() -> bool:
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        mine = "NOT granted AND datname = current_database()"
        return await questline.owner.fetchval(f"{waiting} WHERE {mine}") >= 2

    async with questline.owner.transaction():
        await questline.owner.execute("LOCK TABLE program_versions IN ACCESS EXCLUSIVE MODE")
        for n in range(3):
            body = {**METRIC, "name": f"m{n}"}
            slow.append(asyncio.create_task(first.post("/v1/metrics", json=body, headers={"Idempotency-Key": f"k{n}"})))
        await until(all_turns_are_taken)
        async with within(30, "an answer"):
            answer = await second.post("/v1/metrics", json=METRIC, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")
    assert sorted([(await task).status_code for task in slow]) == [201, 201, 503]
    again = await second.post("/v1/metrics", json=METRIC, headers={"Idempotency-Key": "k"})
    assert again.status_code == 201
