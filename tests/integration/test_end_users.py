"""End users: who registers, logs in and refreshes, and what a token of theirs reaches, on every route there is."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from conftest_api import PROGRAM, TOKEN_KEYS, App, Instance, client_of

from questline.api.app import description
from questline.assembly import running_api
from questline.model.own import OWN_COMMANDS, OWN_READS
from questline.settings import Settings

PASSWORD = "correct horse"
SCHEMAS = description()["components"]["schemas"]
OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in description()["paths"].items()
    for method, operation in item.items()
]
EVENTS = {o["operationId"] for _, _, o in OPERATIONS if o["tags"] == ["events"] and "requestBody" in o}


class Client:
    """A client at an address of its own, of one project."""

    def __init__(self, questline: Instance, app: App) -> None:
        self.app = app
        self.http = client_of(questline)

    async def auth(self, what: str, **body: Any) -> httpx.Response:
        body = {"appId": self.app.app_id, **body} if what in ("register", "login") else body
        return await self.http.post(f"/v1/auth/{what}", json=body)

    async def register(self, login: str = "ada@example.com", **more: Any) -> dict[str, Any]:
        answer = await self.auth("register", email=login, password=PASSWORD, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def get(self, path: str, token: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={"Authorization": f"Bearer {token}", **headers})


async def client(questline: Instance, **settings: Any) -> Client:
    return Client(questline, await questline.app(PROGRAM, **settings))


async def token_of(app: App, user: str, **body: Any) -> str:
    answer = await app.post(f"/v1/users/{user}/token", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["accessToken"]


def body_of(operation: dict[str, Any], user: str) -> Any:
    """Return the example of an operation's body, about a user."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    example = SCHEMAS[content["schema"]["$ref"].rpartition("/")[2]]["examples"][0]
    return {**example, "userId": user} if "userId" in example else example


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_user_registers_once_logs_in_and_sees_what_is_theirs(questline: Instance) -> None:
    c = await client(questline)
    made = await c.register("Ada@Example.com", displayName="Ada", timezone="Europe/London")
    profile = (await c.get("/v1/me", made["accessToken"])).json()
    assert (profile["user"]["id"], profile["user"]["displayName"], profile["user"]["timezone"]) == (
        made["userId"], "Ada", "Europe/London",
    )  # fmt: skip
    taken = await c.auth("register", email="ada@example.COM", password="another one")
    assert (taken.status_code, taken.json()["code"]) == (409, "login-taken")
    again = await c.auth("login", email="ADA@example.com", password=PASSWORD)
    assert (again.status_code, again.json()["userId"], again.json()["tokenType"]) == (200, made["userId"], "Bearer")
    stored = await questline.owner.fetchval(
        "SELECT string_agg(c::text || s::text, '') FROM credentials c, user_sessions s"
    )
    assert not any(secret in stored for secret in (PASSWORD, made["refreshToken"], made["accessToken"]))
    assert "$argon2id$" in stored


async def test_nobody_learns_from_a_login_whether_it_is_known(questline: Instance) -> None:
    c = await client(questline)
    await c.register()
    wrong = await c.auth("login", email="ada@example.com", password="not the password")
    unknown = await c.auth("login", email="eve@example.com", password="not the password")
    without_id = [{k: v for k, v in a.json().items() if k != "correlationId"} for a in (wrong, unknown)]
    assert (wrong.status_code, without_id[0]) == (401, without_id[1])


async def test_of_many_who_register_one_login_at_once_one_does(questline: Instance) -> None:
    c = await client(questline)
    answers = await asyncio.gather(*(c.auth("register", username="ada", password=PASSWORD) for _ in range(5)))
    assert sorted(a.status_code for a in answers) == [201, 409, 409, 409, 409]
    users = await questline.owner.fetchval(
        "SELECT count(*) FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1", c.app.app_id
    )
    assert users == 1


async def test_a_refresh_token_is_good_for_once_and_a_second_use_ends_the_session(questline: Instance) -> None:
    c = await client(questline)
    first = await c.register()
    second = (await c.auth("refresh", refreshToken=first["refreshToken"])).json()
    third = (await c.auth("refresh", refreshToken=second["refreshToken"])).json()
    other = (await c.auth("login", email="ada@example.com", password=PASSWORD)).json()
    assert (await c.auth("refresh", refreshToken=first["refreshToken"])).status_code == 401
    assert (await c.auth("refresh", refreshToken=third["refreshToken"])).status_code == 401
    assert (await c.auth("refresh", refreshToken=other["refreshToken"])).status_code == 200
    assert len({first["accessToken"], first["refreshToken"], second["refreshToken"], third["refreshToken"]}) == 4


async def test_of_many_refreshes_with_one_token_at_once_one_succeeds_and_the_session_ends(questline: Instance) -> None:
    c = await client(questline)
    made = await c.register()
    answers = await asyncio.gather(*(c.auth("refresh", refreshToken=made["refreshToken"]) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7
    [good] = [a.json() for a in answers if a.status_code == 200]
    assert (await c.auth("refresh", refreshToken=good["refreshToken"])).status_code == 401


async def test_logging_out_ends_the_session_and_no_other(questline: Instance) -> None:
    c = await client(questline)
    one, two = await c.register(), (await c.auth("login", email="ada@example.com", password=PASSWORD)).json()
    assert (await c.auth("logout", refreshToken=one["refreshToken"])).status_code == 204
    assert (await c.auth("refresh", refreshToken=one["refreshToken"])).status_code == 401
    assert (await c.auth("refresh", refreshToken=two["refreshToken"])).status_code == 200
    for forged in ("", "qr_", "qr_AAAA", "qr_" + "A" * 86, one["refreshToken"][:-2] + "AA", "é"):
        assert (await c.auth("refresh", refreshToken=forged)).status_code == 401
        assert (await c.auth("logout", refreshToken=forged)).status_code == 401


async def test_an_address_registers_five_times_and_logs_in_ten_times_a_minute(questline: Instance) -> None:
    c = await client(questline)
    tries = await asyncio.gather(*(c.auth("register", username="user-1", password=PASSWORD) for _ in range(6)))
    assert sorted(a.status_code for a in tries) == [201] + [409] * 4 + [429]
    logins = await asyncio.gather(*(c.auth("login", username="user-1", password="x") for _ in range(11)))
    assert sorted(a.status_code for a in logins) == [401] * 10 + [429]
    assert [int(a.headers["Retry-After"]) > 0 for a in logins if a.status_code == 429] == [True]
    other = await client(questline)
    assert (await other.auth("login", username="user-1", password="x")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": PASSWORD}, "email"),
        ({"email": "a@b.c", "username": "ada", "password": PASSWORD}, "email"),
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"username": "a@b", "password": PASSWORD}, "username"),
        ({"email": "a@b.c", "password": "seven77"}, "password"),
        ({"email": "a@b.c", "password": PASSWORD, "timezone": "Mars/X"}, "timezone"),
    ],
)
async def test_what_cannot_be_registered_is_named(questline: Instance, body: dict[str, Any], field: str) -> None:
    c = await client(questline)
    answer = await c.auth("register", **body)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


async def test_the_project_is_named_by_a_key_or_by_its_id_and_may_be_closed(questline: Instance) -> None:
    c, closed = await client(questline), await client(questline, registration="closed")
    publishable = (await c.app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    body = {"email": "ada@example.com", "password": PASSWORD}
    by_key = await c.http.post("/v1/auth/register", json=body, headers={"X-API-Key": publishable})
    assert by_key.status_code == 201
    assert (await c.auth("login", **body)).json()["userId"] == by_key.json()["userId"]
    assert (await c.http.post("/v1/auth/login", json=body)).json()["detail"].startswith("say which project")
    assert (await c.http.post("/v1/auth/login", json={**body, "appId": "nobodys"})).status_code == 401
    mixed = {**body, "appId": closed.app.app_id}
    assert (await c.http.post("/v1/auth/login", json=mixed, headers={"X-API-Key": publishable})).status_code == 403
    assert (await closed.auth("register", **body)).status_code == 403
    assert (await closed.auth("login", **body)).status_code == 401


async def test_me_creates_a_user_once_however_many_look_at_once(questline: Instance) -> None:
    c = await client(questline)
    token = await token_of(c.app, "new one")
    answers = await asyncio.gather(*(c.get("/v1/me", token) for _ in range(12)))
    assert {a.status_code for a in answers} == {200}
    assert {a.json()["user"]["id"] for a in answers} == {"new one"}
    assert len({a.json()["user"]["createdAt"] for a in answers}) == 1


async def test_a_token_reaches_its_own_user_on_every_route_and_nothing_else(questline: Instance) -> None:
    c = await client(questline)
    for user in ("ada", "bob"):
        await c.app.send("task", user, eventId=f"of-{user}", headers={"Prefer": "wait=5"})
    token = await token_of(c.app, "ada")
    reached = set()
    for method, path, operation in OPERATIONS:
        name = operation["operationId"]
        if operation["security"] == [] or name in EVENTS or operation["security"][0] == {"operator": []}:
            continue
        for user in ("ada", "bob"):
            filled = re.sub(
                r"{(\w+)}", lambda found, user=user: {"userId": user, "number": "1"}.get(found[1], "x"), path
            )
            query = f"?userId={user}&metric=xp" if "{userId}" not in path and method == "GET" else ""
            body = body_of(operation, user) if method != "GET" else None
            answer = await c.http.request(method, filled + query, json=body, headers=bearer(token))
            allowed = name in ("getOwnProfile", "changeOwnPassword") or (
                user == "ada" and (name in OWN_READS or (name in OWN_COMMANDS and OWN_COMMANDS[name].by_default))
            )
            assert (answer.status_code not in (401, 403)) is allowed, (name, user, answer.text)
            assert answer.status_code < 500
            if allowed and answer.status_code != 404:
                reached.add(name)
    assert reached >= set(OWN_READS) - {"getStanding", "getProgress"}


async def test_a_user_does_what_is_their_own_and_the_project_says_what_that_is(questline: Instance) -> None:
    c = await client(questline, userCommands={"spend": False, "reportProgress": True})
    await c.app.send("gift", "ada", {"amount": 100}, headers={"Prefer": "wait=5"})
    token = await token_of(c.app, "ada")

    async def post(path: str, **body: Any) -> httpx.Response:
        return await c.http.post(path, json={"userId": "ada", **body}, headers=bearer(token))

    bought = await post("/v1/items/coffee/buy")
    assert (bought.status_code, "guards" in bought.json()["outcome"]) == (200, False)
    assert (await post("/v1/check-in")).status_code == 200
    assert (await post("/v1/achievements/told/progress", value=3)).status_code == 200
    spent = await post("/v1/currency/spend", currency="coins", amount=1)
    assert (spent.status_code, "userCommands.spend" in spent.json()["detail"]) == (403, True)
    assert await c.app.balance("ada", "coins") == 99


async def test_a_token_sends_events_of_its_own_user_and_of_types_that_browsers_may(questline: Instance) -> None:
    c = await client(questline)
    token = await token_of(c.app, "ada")
    cases = [("task", "ada", 202), ("task", "bob", 403), ("purchase", "ada", 403)]
    for type_, user, status in cases:
        answer = await c.http.post("/v1/events", json={"type": type_, "userId": user}, headers=bearer(token))
        assert answer.status_code == status, answer.text
    batch = {"events": [{"type": type_, "userId": user} for type_, user, _ in cases]}
    answer = (await c.http.post("/v1/events/batch", json=batch, headers=bearer(token))).json()
    assert [r["status"] for r in answer["results"]] == ["accepted", "rejected", "rejected"]


EVENT = {"type": "check_in", "userId": "ada"}
CLOUD = {"specversion": "1.0", "id": "1", "source": "/a", "type": "check_in", "subject": "ada"}
TRACKED = {"type": "track", "event": "check_in", "userId": "ada"}
WAYS_IN: list[tuple[str, str, Any, int]] = [
    ("/v1/events", "application/json", EVENT, 403),
    ("/v1/events", "application/cloudevents+json", CLOUD, 403),
    ("/v1/events/track", "application/json", EVENT, 403),
    ("/v1/events/batch", "application/json", {"events": [EVENT]}, 202),
    ("/v1/ingest/stream", "application/x-ndjson", EVENT, 200),
    ("/v1/track", "application/json", TRACKED, 403),
    ("/v1/batch", "application/json", {"batch": [TRACKED]}, 200),
]


@pytest.mark.parametrize(("path", "form", "body", "status"), WAYS_IN)
async def test_who_may_not_check_in_may_not_send_it_as_an_event_either_by_any_way_in(
    questline: Instance, path: str, form: str, body: Any, status: int
) -> None:
    c = await client(questline, userCommands={"checkIn": False})
    page = (await c.app.post("/v1/keys", json={"type": "publishable"})).json()["key"]

    async def send(headers: dict[str, str]) -> httpx.Response:
        return await c.http.post(path, content=json.dumps(body), headers={"Content-Type": form, **headers})

    for key in (bearer(await token_of(c.app, "ada")), {"X-API-Key": page}):
        answer = await send(key)
        assert (answer.status_code, "userCommands.checkIn" in answer.text) == (status, True), answer.text
    answer = await send({"X-API-Key": c.app.key})
    assert (answer.is_success, "accepted" in answer.text) == (True, True)


async def test_a_publishable_key_beside_a_token_must_be_of_the_same_project(questline: Instance) -> None:
    one, two = await client(questline), await client(questline)
    token = await token_of(one.app, "ada")
    keys = [(await c.app.post("/v1/keys", json={"type": "publishable"})).json()["key"] for c in (one, two)]
    statuses = [(await one.get("/v1/me", token, **{"X-API-Key": key})).status_code for key in keys]
    assert statuses == [200, 403]
    alone = await one.http.get("/v1/me", headers={"X-API-Key": keys[0]})
    assert alone.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/me", None),
        ("POST", "/v1/check-in", {"userId": "ada"}),
        ("POST", "/v1/events", {"userId": "ada", "type": "look"}),
    ],
)
async def test_a_project_named_beside_a_token_must_be_the_tokens(
    questline: Instance, method: str, path: str, body: Any
) -> None:
    app, other = await questline.app(PROGRAM), await questline.app()
    token = await token_of(app, "ada")
    for named, refused in ((app.app_id, False), (other.app_id, True), ("none", True)):
        headers = {**bearer(token), "X-Tenant-Id": named}
        answer = await questline.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code == 403) is refused, answer.text
        assert not refused or answer.json()["code"] == "tenant-mismatch"


async def test_what_guards_say_of_a_user_is_not_shown_to_them(questline: Instance) -> None:
    c = await client(questline)
    held = {**PROGRAM, "guards": {"burst": {"kind": "rate", "on": "task", "times": 1, "window": {"duration": 1, "unit": "hours"}, "action": "flag", "score": 7}}}  # fmt: skip
    assert (await c.app.put("/v1/program", json=held)).status_code == 200
    for n in range(3):
        await c.app.send("task", "ada", eventId=str(n), headers={"Prefer": "wait=5"})
    token = await token_of(c.app, "ada")
    assert (await c.app.profile("ada"))["suspicion"] > 0
    assert (await c.get("/v1/me", token)).json()["suspicion"] == 0
    for path in ("notices", "history"):
        shown = [(await get(f"/v1/users/ada/{path}")).text for get in (c.app.get, lambda p: c.get(p, token))]
        assert ["guard" in text for text in shown] == [True, False], shown


async def test_x_user_id_names_a_user_in_development_alone(questline: Instance, database: Any) -> None:
    c = await client(questline)
    publishable = (await c.app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    headers = {"X-API-Key": publishable, "X-User-Id": "ada"}
    assert (await c.http.get("/v1/me", headers=headers)).json()["user"]["id"] == "ada"
    assert (await c.http.get("/v1/users/bob/profile", headers=headers)).status_code == 403
    settings = Settings(dsn=database.app_dsn, admin_token="an operator's token", token_keys=TOKEN_KEYS)
    async with running_api(settings) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            assert (await http.get("/v1/me", headers=headers)).status_code == 401
            token = await token_of(c.app, "ada")
            assert (await http.get("/v1/me", headers=bearer(token))).status_code == 200


async def test_without_a_key_no_token_is_made_and_the_answer_says_what_to_set(
    questline: Instance, database: Any
) -> None:
    c = await client(questline)
    async with running_api(Settings(dsn=database.app_dsn, dev=True)) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            answer = await http.post("/v1/users/ada/token", json={}, headers={"X-API-Key": c.app.key})
    assert (answer.status_code, answer.json()["code"]) == (501, "not-configured")
    assert "QUESTLINE_TOKEN_KEYS" in answer.json()["detail"]
