"""Web pages of other origins: what a browser may send, and what it may read."""

import pytest
from conftest_api import App, Instance, client_of

PAGE = "https://shop.example"


async def key_of(app: App, **about: str) -> str:
    return (await app.post("/v1/keys", json=about)).json()["key"]


@pytest.mark.parametrize(
    "path", ["/v1/events", "/events/batch", "/v1/users/u/profile", "/v1/currency/spend", "/v1/nothing"]
)
async def test_a_preflight_is_answered_without_a_key(questline: Instance, path: str) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    answer = await questline.http.options(path, headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert "*" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origins", "type_", "status", "readable"),
    [
        (None, "publishable", 202, True),
        (None, "secret", 202, False),
        ([PAGE], "publishable", 202, True),
        ([PAGE], "secret", 202, True),
        (["https://else.where"], "publishable", 403, True),  # the refusal may be read: it says what to do
        (["*"], "publishable", 202, True),
    ],
)
async def test_the_project_of_the_key_decides_for_the_page(
    questline: Instance, origins: list[str] | None, type_: str, status: int, readable: bool
) -> None:
    app = await questline.app(**({} if origins is None else {"corsOrigins": origins}))
    key = await key_of(app, type=type_, role="INGEST")
    body = {"type": "seen", "userId": "u"}
    answer = await app.request("POST", "/v1/events", key=key, json=body, headers={"Origin": PAGE})
    assert answer.status_code == status, answer.text
    assert (answer.headers.get("access-control-allow-origin") == PAGE) is readable
    assert "origin" in answer.headers["vary"].lower()
    if status == 403:
        assert answer.json()["code"] == "origin-not-allowed"
        assert (await app.get("/v1/events")).json()["items"] == []


async def test_reads_are_decided_as_events_are(questline: Instance) -> None:
    app = await questline.app(corsOrigins=[PAGE])
    assert (await app.get("/v1/events", headers={"Origin": PAGE})).headers["access-control-allow-origin"] == PAGE
    assert (await app.get("/v1/events", headers={"Origin": "https://else.where"})).status_code == 403
    assert "access-control-allow-origin" not in (await app.get("/v1/events")).headers


@pytest.mark.parametrize(("origins", "allowed"), [(None, True), ([PAGE], True), (["https://else.where"], False)])
async def test_a_page_lets_users_in_only_where_the_project_names_it(
    questline: Instance, origins: list[str] | None, allowed: bool
) -> None:
    app = await questline.app(**({} if origins is None else {"corsOrigins": origins}))
    http, page, key = client_of(questline), {"Origin": PAGE}, await key_of(app, type="publishable")
    body = {"username": "grace", "password": "correct horse"}
    at_home = (await http.post("/v1/auth/register", json=body | {"username": "home", "appId": app.app_id})).json()
    reset = (await app.post("/v1/users/password-reset", json={"username": "home"})).json()["token"]
    by_key, by_name = page | {"X-API-Key": key}, {"appId": app.app_id}
    refresh = {"refreshToken": at_home["refreshToken"]}
    sent = {
        "register": await http.post("/v1/auth/register", json=body, headers=by_key),
        "register by appId": await http.post(
            "/v1/auth/register", json=body | by_name | {"username": "hopper"}, headers=page
        ),
        "login": await http.post("/v1/auth/login", json=body | {"username": "home"}, headers=by_key),
        "login by appId": await http.post("/v1/auth/login", json=body | by_name | {"username": "home"}, headers=page),
        "refresh": await http.post("/v1/auth/refresh", json=refresh, headers=page),
        "reset": await http.post(
            "/v1/auth/reset", json={"token": reset, "newPassword": "battery staple"}, headers=page
        ),
    }
    done = {
        "register": 201,
        "register by appId": 201,
        "login": 200,
        "login by appId": 200,
        "refresh": 200,
        "reset": 204,
    }
    assert {name: a.status_code for name, a in sent.items()} == (done if allowed else dict.fromkeys(done, 403))
    if not allowed:
        assert {a.json()["code"] for a in sent.values()} == {"origin-not-allowed"}
        assert (await http.post("/v1/auth/logout", json=refresh, headers=page)).status_code == 403
        assert (
            await http.post("/v1/auth/refresh", json=refresh)
        ).status_code == 200  # a page that is not named changed nothing
        assert (
            await http.post("/v1/auth/reset", json={"token": reset, "newPassword": "battery staple"})
        ).status_code == 204


async def test_an_answer_without_a_key_is_anybodys_to_read(questline: Instance) -> None:
    answer = await questline.http.get("/openapi.json", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)


async def test_an_origin_with_bytes_that_no_origin_has_is_not_given_back(questline: Instance) -> None:
    answer = await questline.http.get("/health", headers=[(b"origin", b"https://a\x01b")])
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origins", ["https://a.example", [1], ["a.example"], ["https://a.example/path"], ["https://a"] * 101]
)
async def test_origins_that_are_none_are_refused(questline: Instance, origins: object) -> None:
    body = {"id": "origins", "name": "n", "settings": {"corsOrigins": origins}}
    answer = await questline.http.post("/v1/apps", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "settings.corsOrigins")
