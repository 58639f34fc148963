"""Events that fail are tried again; their users wait, and nobody else. The faults are PostgreSQL's own."""

import asyncio
from typing import Any

from conftest_api import App, Instance, until
from poison import Poison

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {
        "first": {"on": "task", "award": {"coins": 1}},
        "second": {"on": "task", "when": {"field": "balance.coins", "op": "gte", "value": 2}, "award": {"coins": 10}},
    },
}
SCHEDULE = (1, 5, 30, 120, 600)


async def tries_of(questline: Instance, app: App) -> int:
    """How many tries of the project's parked user failed; 0 while nobody is parked."""
    return (
        await questline.owner.fetchval(
            "SELECT tries FROM parked_users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1", app.app_id
        )
        or 0
    )


async def hurry(questline: Instance) -> None:
    await questline.owner.execute("UPDATE parked_users SET due_at = now()")


async def park(questline: Instance, app: App, poison: Poison, code: str = "40001") -> str:
    """Send an event of ada's that fails, and return its id as soon as she is parked."""
    answer = await app.send("task", "ada", eventId="bad")
    await poison.give(answer.json()["eventId"], code)
    async with questline.worker():
        await until(lambda: tries_of(questline, app))
    return answer.json()["eventId"]


async def status(app: App, event_id: str) -> str:
    return (await app.get(f"/v1/events/{event_id}")).json()["status"]


async def test_an_event_that_keeps_failing_is_tried_by_the_schedule_and_then_a_dead_letter(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    id_ = (await app.send("task", "ada", eventId="bad")).json()["eventId"]
    await poison.give(id_, "40001")
    waits = []
    async with questline.worker():
        for tries in range(1, len(SCHEDULE) + 1):

            async def tried(wanted: int = tries) -> bool:
                return await tries_of(questline, app) == wanted

            await until(tried)
            waits.append(
                await questline.owner.fetchval(
                    "SELECT extract(epoch FROM p.due_at - a.at)::float FROM parked_users p JOIN attempts a USING (event_id) "
                    "WHERE event_id = $1 ORDER BY number DESC LIMIT 1",
                    id_,
                )
            )
            await hurry(questline)

        async def is_dead() -> bool:
            return await status(app, "bad") == "failed"

        await until(is_dead)
    assert all(0.8 * seconds <= wait <= 1.2 * seconds for wait, seconds in zip(waits, SCHEDULE, strict=True)), waits
    event = (await app.get("/v1/events/bad")).json()
    assert event["reason"] == "RETRY_EXHAUSTED"
    assert [(a["number"], a["status"], a["reason"]) for a in event["attempts"]] == [
        *((number, "retried", "TRANSIENT_ERROR") for number in range(1, 6)),
        (6, "failed", "RETRY_EXHAUSTED"),
    ]
    assert all("the poison of" in a["message"] and a["durationUs"] > 0 for a in event["attempts"])


async def test_later_events_of_the_user_wait_in_order_and_nobody_else_does(questline: Instance, poison: Poison) -> None:
    app = await questline.app(PROGRAM)
    await park(questline, app, poison)
    await questline.owner.execute("UPDATE parked_users SET due_at = now() + interval '1 hour'")  # until it is hurried
    await app.post("/v1/events/batch", json=[{"type": "task", "userId": u, "eventId": u} for u in ("ada", "bob")])
    async with questline.worker():

        async def bob_is_done() -> bool:
            return await status(app, "bob") == "processed"

        await until(bob_is_done)
        await until(questline._is_drained)
        pending = (await app.get("/v1/events?status=pending")).json()["items"]
        mine = (await app.get("/v1/events?userId=ada")).json()["items"]
        await poison.heal()
        await hurry(questline)

        async def ada_is_done() -> bool:
            return await status(app, "ada") == "processed"

        await until(ada_is_done)
    assert [e["eventId"] for e in pending] == [e["eventId"] for e in mine] == ["ada", "bad"]
    bad = (await app.get("/v1/events/bad")).json()
    assert [(a["number"], a["status"]) for a in bad["attempts"]] == [(1, "retried"), (2, "processed")]
    assert await app.balance("ada", "coins") == 12  # the second rule of `ada` saw what `bad` had given
    assert await questline.owner.fetchval("SELECT count(*) FROM users WHERE parked") == 0
    assert await questline.owner.fetchval("SELECT count(*) FROM parked_users") == 0


async def test_what_comes_while_the_user_is_let_go_is_neither_lost_nor_overtaken(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app({**PROGRAM, "metrics": {"last": {"on": "task", "last": "n"}}})
    await park(questline, app, poison)
    await poison.heal()

    async def send_all() -> None:
        for n in range(60):
            await app.send("task", "ada", {"n": n}, eventId=f"n{n}")
            if n == 20:
                await hurry(questline)

    async with questline.worker(), questline.worker():
        await send_all()

        async def all_done() -> bool:
            return await questline.owner.fetchval(
                "SELECT NOT EXISTS (SELECT FROM outbox UNION ALL SELECT FROM retries)"
            )

        await until(all_done)
    order = await questline.owner.fetch(
        "SELECT e.external_id FROM transfers t JOIN events e ON e.id = t.event_id JOIN projects p ON p.id = e.project_id "
        "WHERE p.app_id = $1 AND t.rule = 'rule:first' ORDER BY t.ctid",
        app.app_id,
    )
    assert [row[0] for row in order] == ["bad", *(f"n{n}" for n in range(60))]


async def test_a_command_of_a_parked_user_is_turned_away_unstored_and_works_later_under_its_key(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "ada", headers={"Prefer": "wait=5"})
    spend = {"userId": "ada", "currency": "coins", "amount": 1}
    done = await app.post("/v1/currency/spend", json=spend, headers={"Idempotency-Key": "before"})
    await park(questline, app, poison)
    turned, again, other = await asyncio.gather(
        app.post("/v1/currency/spend", json=spend, headers={"Idempotency-Key": "during"}),
        app.post("/v1/currency/spend", json=spend, headers={"Idempotency-Key": "before"}),
        app.send("task", "bob", headers={"Prefer": "wait=5"}),
    )
    assert (turned.status_code, turned.json()["code"]) == (503, "user-parked")
    assert turned.headers["retry-after"] in (
        "1",
        "2",
    )  # the first wait of the schedule, with its jitter, in whole seconds
    assert (again.status_code, again.json()["duplicate"], other.status_code) == (201, True, 200)
    waited = await app.send("task", "ada", eventId="waited", headers={"Prefer": "wait=5"})
    assert (waited.status_code, waited.json()["status"]) == (202, "accepted")
    await poison.heal()
    await hurry(questline)
    async with questline.worker():

        async def goes_through() -> bool:
            answer = await app.post("/v1/currency/spend", json=spend, headers={"Idempotency-Key": "during"})
            return answer.status_code == 201

        await until(goes_through)
    assert done.status_code == 201
    assert await app.balance("ada", "coins") == 1 - 1 + 1 + 11 - 1


async def test_a_full_disk_is_nobodys_fault(questline: Instance, poison: Poison) -> None:
    app = await questline.app(PROGRAM)
    id_ = (await app.send("task", "ada", eventId="full")).json()["eventId"]
    await poison.give(id_, "53100")
    async with questline.worker():
        await until(poison.given_twice)
        parked = await questline.owner.fetchval("SELECT count(*) FROM attempts WHERE event_id = $1", id_)
        await poison.heal()

        async def done() -> bool:
            return await status(app, "full") == "processed"

        await until(done)
    assert parked == 0
    assert [a["number"] for a in (await app.get("/v1/events/full")).json()["attempts"]] == [1]
