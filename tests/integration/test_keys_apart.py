"""Dedupe keys of servers, of pages and of users by themselves: none of them takes another's."""

from typing import Any

import httpx
import pytest
from conftest_api import PROGRAM, App, Instance

NAMES: list[dict[str, Any]] = [
    {"idempotencyKey": "order-1001"},
    {"eventId": "order-1001"},
    {"eventId": "order-1001", "idempotencyKey": "k-1"},
    {"occurredAt": "2026-11-20T12:00:00Z"},
]


async def page_key(app: App) -> dict[str, str]:
    return {"X-API-Key": (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]}


async def token(app: App, user: str) -> dict[str, str]:
    made = (await app.post(f"/v1/users/{user}/token", json={})).json()
    return {"Authorization": f"Bearer {made['accessToken']}"}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("strategy", ["full", "intent"])
@pytest.mark.parametrize("first", ["server", "page"])
async def test_what_a_page_sends_never_takes_the_key_of_what_a_server_sends(
    questline: Instance, names: dict[str, Any], strategy: str, first: str
) -> None:
    app = await questline.app(PROGRAM, dedupeStrategy=strategy)
    senders = {"server": {"X-API-Key": app.key}, "page": await page_key(app)}
    order = sorted(senders, key=lambda sender: sender != first)

    async def send(sender: str, amount: int) -> httpx.Response:
        return await app.send("gift", "ada", {"amount": amount}, headers=senders[sender], **names)

    sent = {sender: await send(sender, 5) for sender in order}
    assert [(a.status_code, a.json()["duplicate"]) for a in sent.values()] == [(202, False)] * 2
    again = {sender: await send(sender, 5) for sender in order}
    assert {s: a.json()["eventId"] for s, a in again.items()} == {s: a.json()["eventId"] for s, a in sent.items()}
    assert [a.json()["duplicate"] for a in again.values()] == [True, True]
    if "occurredAt" not in names:
        assert [(await send(sender, 6)).status_code for sender in order] == [409, 409]
    for name in names.values():
        found = await app.get(f"/v1/events/{name}")
        assert found.status_code == 404 or found.json()["id"] == sent["server"].json()["eventId"]
    await questline.drain()
    assert await app.balance("ada", "coins") == 10


async def test_an_event_of_a_page_is_found_by_its_names(questline: Instance) -> None:
    app = await questline.app()
    names = {"eventId": "mine", "idempotencyKey": "k:1"}
    by_page = (await app.send("t", "u", headers=await page_key(app), **names)).json()["eventId"]
    for name in (by_page, "mine", "k:1"):
        assert (await app.get(f"/v1/events/{name}")).json()["id"] == by_page
    by_server = (await app.send("t", "u", **names)).json()["eventId"]
    for name in ("mine", "k:1"):
        assert (await app.get(f"/v1/events/{name}")).json()["id"] == by_server


COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/check-in", {"userId": "{user}"}),
    ("/v1/currency/spend", {"userId": "{user}", "currency": "coins", "amount": 1}),
    ("/v1/users/{user}/streaks/weekly/target", {"days": 7}),
]


@pytest.mark.parametrize(("path", "body"), COMMANDS)
async def test_a_user_who_commands_by_themselves_takes_no_key_of_another_nor_of_the_server(
    questline: Instance, path: str, body: dict[str, Any]
) -> None:
    program = PROGRAM | {"streaks": {"weekly": {"on": "task", "every": "week", "days": 3, "personal": True}}}
    app = await questline.app(program)
    for user in ("ann", "bob", "cyd"):
        await app.send("task", user, headers={"Prefer": "wait=10"})

    async def command(user: str, caller: dict[str, str]) -> httpx.Response:
        filled = {name: value.format(user=user) if isinstance(value, str) else value for name, value in body.items()}
        headers = caller | {"Idempotency-Key": "2026-11-21"}
        return await questline.http.post(path.format(user=user), json=filled, headers=headers)

    callers = [("ann", await token(app, "ann")), ("bob", await token(app, "bob")), ("cyd", {"X-API-Key": app.key})]
    sent = [await command(*caller) for caller in callers]
    assert [(a.is_success, a.json().get("duplicate")) for a in sent] == [(True, False)] * 3, [a.text for a in sent]
    again = [await command(*caller) for caller in callers]
    assert [(a.is_success, a.json().get("duplicate")) for a in again] == [(True, True)] * 3


PAYING = PROGRAM | {
    "rules": {
        "gold": {
            "on": "purchase",
            "when": {"field": "user.plan", "op": "eq", "value": "gold"},
            "award": {"coins": 1_000},
        },
        "buy": {"on": "purchase", "award": {"coins": 10}},
    }
}


@pytest.mark.parametrize("sender", ["page", "user"])
async def test_what_a_page_or_a_user_says_of_themselves_pays_nothing(questline: Instance, sender: str) -> None:
    app = await questline.app(PAYING)
    mine = {"attributes": {"plan": "free"}, "timezone": "Europe/London", "displayName": "Ada"}
    assert (await app.post("/v1/users", json={"id": "ada"} | mine)).status_code == 201
    headers = await page_key(app) if sender == "page" else await token(app, "ada")
    traits = {"plan": "gold", "timezone": "Pacific/Kiritimati", "displayName": "Me", "shoe": 41}
    message = {"userId": "ada", "traits": traits, "messageId": "m"}
    assert (await questline.http.post("/v1/identify", json=message, headers=headers)).status_code == 200
    await questline.drain()
    await app.send("purchase", "ada", headers={"Prefer": "wait=10"})
    user = (await app.profile("ada"))["user"]
    changed = {} if sender == "page" else {"timezone": "Pacific/Kiritimati", "displayName": "Me"}
    expected = mine | changed | {"attributes": {"plan": "free", "shoe": 41}}
    assert {name: user[name] for name in expected} == expected
    assert await app.balance("ada", "coins") == 10
    event = (await app.get("/v1/events/m")).json()
    assert event["sentWith"] == ("publishable" if sender == "page" else "user")
    assert "attributes plan: left out" in event["decision"]["message"]


async def test_a_visitors_event_is_never_taken_for_one_of_the_user_that_it_turns_out_to_be(questline: Instance) -> None:
    app = await questline.app(PAYING)
    await app.post("/v1/users", json={"id": "ada", "displayName": "Ada"})
    await app.post("/v1/track", json={"event": "t", "userId": "ada", "anonymousId": "mallory"})
    headers = await token(app, "mallory")
    message = {"anonymousId": "mallory", "traits": {"displayName": "HACKED"}}
    await questline.http.post("/v1/identify", json=message, headers=headers)
    await questline.drain()
    assert (await app.profile("ada"))["user"]["displayName"] == "Ada"
