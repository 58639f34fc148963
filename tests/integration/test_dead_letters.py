"""Dead letters: seen, put back and applied once, or given up with a reason."""

import asyncio
from typing import Any

import httpx
from conftest_api import App, Instance, until
from poison import Poison

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"task": {"on": "task", "award": {"coins": 1}}},
}
FINAL = "23514"


async def bury(questline: Instance, app: App, poison: Poison, *users: str) -> list[str]:
    """Send an event of each user that PostgreSQL refuses for good, and return their ids."""
    ids = [(await app.send("task", user, eventId=f"dead-{user}")).json()["eventId"] for user in users]
    for id_ in ids:
        await poison.give(id_, FINAL)
    await questline.drain()
    return ids


async def settled(questline: Instance) -> None:
    """Run a worker until nothing waits, neither in the queue nor outside of it."""

    async def nothing_waits() -> bool:
        return not await questline.owner.fetchval("SELECT EXISTS (SELECT FROM outbox UNION ALL SELECT FROM retries)")

    async with questline.worker():
        await until(nothing_waits)


async def as_operator(
    questline: Instance, method: str, path: str, token: str = "operator-of-the-tests", **more: Any
) -> httpx.Response:
    return await questline.http.request(method, path, headers={"X-Admin-Token": token}, **more)


async def dead(app: App, query: str = "") -> list[str]:
    return [item["externalId"] for item in (await app.get(f"/v1/admin/dlq{query}")).json()["items"]]


async def test_a_key_sees_the_dead_letters_of_its_project_and_an_operator_those_of_all(
    questline: Instance, poison: Poison
) -> None:
    mine, other = await questline.app(PROGRAM), await questline.app(PROGRAM)
    await bury(questline, mine, poison, "ada", "bob")
    await bury(questline, other, poison, "eve")
    page = (await mine.get("/v1/admin/dlq?limit=1")).json()
    [letter] = page["items"]
    rest = (await mine.get(f"/v1/admin/dlq?cursor={page['nextCursor']}")).json()
    assert (letter["userId"], letter["reason"], letter["attempts"], letter["project"]) == (
        "bob",
        "STORE_ERROR",
        1,
        mine.app_id,
    )
    assert "the poison of" in letter["message"]
    assert ([item["userId"] for item in rest["items"]], rest["nextCursor"]) == (["ada"], None)
    assert await dead(mine, "?userId=ada&type=task&reasonCode=STORE_ERROR") == ["dead-ada"]
    assert await dead(mine, "?reasonCode=ENGINE_ERROR") == []
    every = (await as_operator(questline, "GET", "/v1/admin/dlq/reasons")).json()["items"]
    counts = {item["project"]: (item["reason"], item["events"]) for item in every}
    assert (counts[mine.app_id], counts[other.app_id]) == (("STORE_ERROR", 2), ("STORE_ERROR", 1))
    own = (await mine.get("/v1/admin/dlq/reasons")).json()["items"]
    assert [(item["project"], item["events"]) for item in own] == [(mine.app_id, 2)]


async def test_nobody_sees_to_the_dead_letters_of_another_project(questline: Instance, poison: Poison) -> None:
    mine, other = await questline.app(PROGRAM), await questline.app(PROGRAM)
    [id_] = await bury(questline, mine, poison, "ada")
    foreign = await other.post("/v1/admin/dlq/retry", json={"eventIds": [id_]})
    named = await other.post("/v1/admin/dlq/retry", json={"project": mine.app_id})
    wrong = await as_operator(questline, "GET", "/v1/admin/dlq", token="guess")
    assert (foreign.json()["done"], named.status_code, wrong.status_code) == (0, 403, 401)
    assert await dead(mine) == ["dead-ada"]


async def test_a_dead_letter_that_is_put_back_is_applied_once_however_often_that_is_asked(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    await bury(questline, app, poison, "ada", "bob")
    await poison.heal()
    answers = await asyncio.gather(
        *(app.post("/v1/admin/dlq/retry", json={}) for _ in range(4)),
        as_operator(questline, "POST", "/v1/admin/dlq/retry", json={"project": app.app_id}),
    )
    pending = (await app.get("/v1/events/dead-ada")).json()["status"]
    await settled(questline)
    await app.post("/v1/admin/dlq/retry", json={})
    await settled(questline)
    assert sum(answer.json()["done"] for answer in answers) == 2
    event = (await app.get("/v1/events/dead-ada")).json()
    assert (pending, event["status"]) == ("pending", "processed")
    assert [(a["number"], a["status"]) for a in event["attempts"]] == [(1, "failed"), (2, "processed")]
    assert [await app.balance(user, "coins") for user in ("ada", "bob")] == [1, 1]


async def test_what_fails_again_is_a_dead_letter_again_and_no_loop_goes_on_for_ever(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    await bury(questline, app, poison, "ada", "bob", "eve")
    first = (await app.post("/v1/admin/dlq/retry", json={"limit": 2})).json()
    await settled(questline)
    second = (await app.post("/v1/admin/dlq/retry", json={"failedBefore": first["failedBefore"]})).json()
    await settled(questline)
    assert [(a["done"], a["left"]) for a in (first, second)] == [(2, 1), (1, 0)]
    assert await dead(app) == ["dead-eve", "dead-bob", "dead-ada"]
    assert [a["number"] for a in (await app.get("/v1/events/dead-ada")).json()["attempts"]] == [1, 2]


async def test_a_discarded_one_stays_with_its_reason_and_is_retried_no_more(
    questline: Instance, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    [ada, _] = await bury(questline, app, poison, "ada", "bob")
    unsaid = await app.post("/v1/admin/dlq/discard", json={"eventIds": [ada]})
    done = (await app.post("/v1/admin/dlq/discard", json={"eventIds": [ada], "reason": "a load test"})).json()
    assert (unsaid.status_code, done["done"], done["left"]) == (422, 1, 0)
    assert (await dead(app), await dead(app, "?discarded=true")) == (["dead-bob"], ["dead-ada"])
    [letter] = (await app.get("/v1/admin/dlq?discarded=true")).json()["items"]
    assert letter["discarded"]["reason"] == "a load test"
    assert letter["discarded"]["by"].startswith("key:")
    assert (await app.post("/v1/admin/dlq/retry", json={"eventIds": [ada]})).json()["done"] == 0
    assert (await app.get("/v1/events/dead-ada")).json()["status"] == "failed"
