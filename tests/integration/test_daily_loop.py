"""The daily loop over HTTP: the shipped template, races, repeats."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from conftest_api import App, Instance

from questline import templates

USER = {"userId": "ada"}


async def start(questline: Instance) -> App:
    app = await questline.app()
    answer = await app.put(
        "/v1/program", content=templates.text("daily-loop"), headers={"Content-Type": "application/yaml"}
    )
    assert answer.status_code == 200, answer.text
    return app


async def rich(app: App, user: str, loyalty: int = 1_000) -> None:
    """Let a user have loyalty by a rule of its own."""
    await app.post("/v1/rules", json={"name": "gift", "on": "gift", "award": {"loyalty": loyalty}})
    assert (await app.send("gift", user, headers={"Prefer": "wait=5"})).json()["status"] == "processed"


async def test_the_template_plays_a_day(questline: Instance) -> None:
    app = await start(questline)
    first = (await app.post("/v1/check-in", json=USER)).json()
    again = await app.post("/v1/check-in", json=USER)
    assert (first["status"], first["outcome"]["balances"]) == ("processed", {"loyalty": 5})
    assert (again.status_code, again.json()["code"]) == (409, "already-checked-in")
    await rich(app, "ada")
    bought = await app.post("/v1/items/coffee/buy", json={**USER, "quantity": 2})
    used = await app.post("/v1/items/coffee/use", json=USER)
    assert (bought.status_code, used.status_code) == (200, 200)
    profile = await app.profile("ada")
    assert {v["vital"]: v["value"] for v in profile["vitals"]} == {"energy": 85, "fatigue": 12}
    assert [(i["item"], i["units"]) for i in profile["items"]] == [("coffee", 1)]
    inventory = (await app.get("/v1/inventory?userId=ada")).json()
    assert (inventory["units"], inventory["cap"], inventory["by"]) == (1, 5, "units")
    notices = (await app.get("/v1/users/ada/notices")).json()["items"]
    assert [n["type"] for n in notices] == ["item.used", "item.bought"]
    history = (await app.get("/v1/users/ada/history")).json()["items"][0]
    assert [c["name"] for c in history["changes"] if c["kind"] == "vital"] == ["energy", "fatigue"]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/check-in", {}, {200: 1, 409: 63}),
        ("/v1/items/rest/buy", {}, {200: 5, 409: 59}),
        ("/v1/items/coffee/use", {}, {200: 3, 409: 61}),
    ],
)
async def test_64_at_once_are_all_answered_and_take_effect_as_often_as_they_may(
    questline: Instance, path: str, body: dict[str, Any], expected: dict[int, int]
) -> None:
    app = await start(questline)
    await rich(app, "ada", 100)
    if path.endswith("use"):
        await app.post("/v1/items/coffee/buy", json={**USER, "quantity": 3})
    answers = await asyncio.gather(*(app.post(path, json={**USER, **body}) for _ in range(64)))
    assert Counter(answer.status_code for answer in answers) == expected
    units = (await app.get("/v1/inventory?userId=ada")).json()["units"]
    assert units == (5 if path.endswith("buy") else 0)
    if path.endswith("buy"):
        assert await app.balance("ada", "loyalty") == 100 - 5 * 16


@pytest.mark.parametrize("path", ["/v1/check-in", "/v1/items/rest/buy"])
async def test_a_repeat_under_a_key_gets_the_first_answer(questline: Instance, path: str) -> None:
    app = await start(questline)
    await rich(app, "ada", 16)
    answers = [await app.post(path, json=USER, headers={"Idempotency-Key": "once"}) for _ in range(3)]
    outcomes = [answer.json() for answer in answers]
    assert [o.pop("duplicate") for o in outcomes] == [False, True, True]
    assert outcomes[1:] == outcomes[:1] * 2


async def test_a_refusal_is_replayed_under_its_key_and_a_new_key_tries_again(questline: Instance) -> None:
    app = await start(questline)
    await app.send("hello", "ada", headers={"Prefer": "wait=5"})
    poor = await app.post("/v1/items/rest/buy", json=USER, headers={"Idempotency-Key": "k"})
    await rich(app, "ada")
    again = await app.post("/v1/items/rest/buy", json=USER, headers={"Idempotency-Key": "k"})
    new = await app.post("/v1/items/rest/buy", json=USER, headers={"Idempotency-Key": "k2"})
    assert [(a.status_code, a.json().get("code")) for a in (poor, again, new)] == [
        (409, "insufficient-balance"), (409, "insufficient-balance"), (200, None),
    ]  # fmt: skip


async def test_an_unknown_item_is_a_404_and_a_wrong_body_names_its_field(questline: Instance) -> None:
    app = await start(questline)
    missing = await app.post("/v1/items/sword/buy", json=USER)
    wrong = await app.post("/v1/items/rest/buy", json={"userId": "ada", "quantity": "two"})
    other = await app.get("/v1/items/rest/buy")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown-item")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "quantity")
    assert other.status_code == 405


async def test_a_check_in_sent_as_an_event_is_the_same_check_in(questline: Instance) -> None:
    app = await start(questline)
    await app.send("check_in", "ada")
    await questline.drain()
    assert (await app.post("/v1/check-in", json=USER)).status_code == 409
    assert await app.balance("ada", "loyalty") == 5


async def test_a_user_who_changes_their_zone_checks_in_no_second_time(questline: Instance) -> None:
    app = await start(questline)
    token = (await app.post("/v1/users/ada/token", json={})).json()["accessToken"]
    mine = {"Authorization": f"Bearer {token}"}
    found = []
    for zone in ("Pacific/Kiritimati", "UTC", "Etc/GMT+12"):
        change = {"type": "$profile_update", "userId": "ada", "payload": {"timezone": zone}}
        assert (await questline.http.post("/v1/events", json=change, headers=mine)).status_code == 202
        await questline.drain()
        answer = await questline.http.post("/v1/check-in", json={"userId": "ada"}, headers=mine)
        found.append(answer.json().get("code", "taken"))
    assert found == ["taken", "already-checked-in", "already-checked-in"]
