"""The HTTP surface: who may do what, problems for everything that goes wrong, reads that add up."""

import asyncio
from typing import Any

import httpx
import pytest
from conftest_api import PROGRAM, Instance

from questline.assembly import running_api
from questline.settings import Settings

ROUTES: list[tuple[str, str, Any, set[str]]] = [
    # method, path, body, roles that may
    ("POST", "/v1/events", {"type": "t", "userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/events/batch", [{"type": "t", "userId": "u"}], {"ADMIN", "INGEST"}),
    ("POST", "/v1/events/track", {"type": "t", "userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/ingest/stream", {"type": "t", "userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/track", {"event": "t", "userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/identify", {"userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/page", {"userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/screen", {"userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/group", {"userId": "u", "groupId": "g"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/alias", {"userId": "u", "previousId": "v"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/batch", {"batch": []}, {"ADMIN", "INGEST"}),
    ("GET", "/v1/events", None, {"ADMIN", "INGEST", "READONLY"}),
    ("GET", "/v1/events/gone", None, {"ADMIN", "INGEST", "READONLY"}),
    ("POST", "/v1/users", {"id": "u"}, {"ADMIN"}),
    ("GET", "/v1/users/u/profile", None, {"ADMIN", "READONLY"}),
    ("GET", "/v1/users/u/history", None, {"ADMIN", "READONLY"}),
    ("GET", "/v1/users/u/rewards", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/rewards/g/claim", {"userId": "u"}, {"ADMIN", "INGEST"}),
    ("POST", "/v1/rewards/g/revoke", {}, {"ADMIN"}),
    ("POST", "/v1/store/mug/redeem", {"userId": "u"}, {"ADMIN", "INGEST"}),
    ("GET", "/v1/stocks", None, {"ADMIN", "READONLY"}),
    ("GET", "/v1/fulfilments", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/fulfilments/f/complete", {}, {"ADMIN"}),
    ("POST", "/v1/fulfilments/f/fail", {}, {"ADMIN"}),
    ("POST", "/v1/coupons/spring", ["A"], {"ADMIN"}),
    ("GET", "/v1/coupons/spring", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/users/u/block", {"reason": "r"}, {"ADMIN"}),
    ("POST", "/v1/users/u/unblock", {"reason": "r"}, {"ADMIN"}),
    ("POST", "/v1/users/u/password-reset", None, {"ADMIN"}),
    ("POST", "/v1/users/password-reset", {"email": "u@example.com"}, {"ADMIN"}),
    ("GET", "/v1/reviews", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/reviews/gone/approve", {}, {"ADMIN"}),
    ("POST", "/v1/reviews/gone/deny", {}, {"ADMIN"}),
    ("GET", "/v1/leaderboards?metric=xp", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/currency/spend", {"userId": "u", "currency": "coins", "amount": 1}, {"ADMIN", "INGEST"}),
    ("GET", "/v1/program", None, {"ADMIN", "READONLY"}),
    ("PUT", "/v1/program", PROGRAM, {"ADMIN"}),
    ("POST", "/v1/program/plan", PROGRAM, {"ADMIN", "READONLY"}),
    ("GET", "/v1/program/versions", None, {"ADMIN", "READONLY"}),
    ("GET", "/v1/program/versions/1", None, {"ADMIN", "READONLY"}),
    ("GET", "/v1/rules", None, {"ADMIN", "READONLY"}),
    ("POST", "/v1/rules", {"name": "n", "on": "x", "award": {"coins": 1}}, {"ADMIN"}),
    ("GET", "/v1/rules/task", None, {"ADMIN", "READONLY"}),
    ("PUT", "/v1/achievements/a", {"title": "A", "requirements": [{"metric": "tasks"}]}, {"ADMIN"}),
    ("DELETE", "/v1/rules/gift", None, {"ADMIN"}),
    ("GET", "/v1/signing-secrets", None, {"ADMIN"}),
    ("POST", "/v1/signing-secrets", {}, {"ADMIN"}),
    ("DELETE", "/v1/signing-secrets/s", None, {"ADMIN"}),
    ("GET", "/v1/keys", None, {"ADMIN"}),
    ("POST", "/v1/keys", {}, {"ADMIN"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "roles"), ROUTES, ids=[f"{r[0]} {r[1]}" for r in ROUTES])
async def test_a_role_means_something_on_every_route(
    questline: Instance, method: str, path: str, body: Any, roles: set[str]
) -> None:
    app = await questline.app(PROGRAM)
    for role in ("ADMIN", "INGEST", "READONLY"):
        key = (await app.post("/v1/keys", json={"role": role})).json()["key"]
        status = (await app.request(method, path, json=body, key=key)).status_code
        assert (status != 403) is (role in roles), (role, status)
        assert status not in (401, 500)
    assert (await questline.http.request(method, path, json=body)).status_code == 401
    assert (await app.request(method, path, json=body, key="sk_live_" + "0" * 64)).status_code == 401


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/", "/v1", "/v1/users", "/v1/users/u", "/v2/events"])
async def test_an_unknown_route_is_a_404_problem(questline: Instance, path: str) -> None:
    answer = await questline.http.get(path)
    assert (answer.status_code in (404, 405), answer.headers["content-type"]) == (True, "application/problem+json")
    assert answer.json()["code"] in ("not-found", "method-not-allowed")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/apps", b"{", 400), ("POST", "/v1/apps", b"[]", 422), ("POST", "/v1/apps", b'{"id":"x"}', 422),
        ("POST", "/v1/users", b"nope", 400), ("POST", "/v1/currency/spend", b'{"userId":"u","currency":"c","amount":0}', 422),
        ("PUT", "/v1/program", b"{", 400), ("PUT", "/v1/program", b'{"rulez":{}}', 422), ("GET", "/v1/leaderboards", b"", 400),
        ("GET", "/v1/leaderboards?metric=none", b"", 404), ("GET", "/v1/leaderboards?metric=xp&periodKey=x", b"", 400),
        ("GET", "/v1/leaderboards?metric=xp&limit=201", b"", 400), ("GET", "/v1/users/u/history?cursor=x", b"", 400),
        ("GET", "/v1/events?cursor=x", b"", 400), ("GET", "/v1/program/versions/99", b"", 404),
        ("DELETE", "/v1/keys/x", b"", 404), ("POST", "/v1/rules", b'{"on":"x"}', 422), ("GET", "/v1/rules/none", b"", 404),
        ("PATCH", "/v1/program", b"", 405), ("POST", "/v1/events/batch", b"7", 400), ("POST", "/v1/rules", b"[1]", 422),
    ],
)  # fmt: skip
async def test_every_error_is_a_problem_document(
    questline: Instance, method: str, path: str, content: bytes, status: int
) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.request(method, path, content=content, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert {"type", "title", "status", "code", "detail"} <= problem.keys()
    assert (problem["status"], "Traceback" in answer.text) == (status, False)


async def test_an_app_is_created_once_and_by_an_operator_outside_development(
    questline: Instance, database: Any
) -> None:
    body = {"id": "shop", "name": "Shop", "defaultTimezone": "Europe/Berlin", "webhookUrl": "https://example.com/hook"}
    first = await questline.http.post("/v1/apps", json=body)
    assert (first.status_code, first.json()["app"]["defaultTimezone"]) == (201, "Europe/Berlin")
    assert (await questline.http.post("/v1/apps", json=body)).json()["code"] == "app-taken"
    bad = {"id": "Bad Id", "name": "x", "defaultTimezone": "Mars/X", "settings": {"dedupeStrategy": "magic"}}
    errors = (await questline.http.post("/v1/apps", json=bad)).json()["errors"]
    assert [e["field"] for e in errors] == ["id", "defaultTimezone", "settings.dedupeStrategy"]
    async with running_api(Settings(dsn=database.app_dsn, admin_token="operator-of-the-tests")) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            answers = [
                await http.post("/v1/apps", json={"id": "two", "name": "2"}, headers=headers)
                for headers in ({}, {"X-Admin-Token": "guess"}, {"X-Admin-Token": "operator-of-the-tests"})
            ]
    assert [a.status_code for a in answers] == [401, 401, 201]


async def test_a_revoked_key_stops_within_two_seconds_in_every_process(questline: Instance, database: Any) -> None:
    app = await questline.app()
    made = (await app.post("/v1/keys", json={"role": "INGEST", "name": "till"})).json()
    async with running_api(Settings(dsn=database.app_dsn, dev=True)) as other:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=other), base_url="http://t") as http:
            headers = {"X-API-Key": made["key"]}
            body = {"type": "t", "userId": "u"}
            assert (await http.post("/v1/events", json=body, headers=headers)).status_code == 202
            assert (await app.request("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
            loop = asyncio.get_running_loop()
            revoked_at = loop.time()
            while (await http.post("/v1/events", json=body, headers=headers)).status_code == 202:
                assert loop.time() - revoked_at < 30  # it is remembered for a minute
                await asyncio.sleep(0.05)
    assert (await app.send("t", "u")).status_code == 202
    listed = (await app.get("/v1/keys")).json()["items"]
    assert [(k["name"], k["revokedAt"] is None) for k in listed] == [("till", False), ("bootstrap", True)]
    assert made["key"] not in (await app.get("/v1/keys")).text


async def test_a_profile_shows_levels_progress_and_hides_secrets(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    made = await app.post(
        "/v1/users",
        json={"id": "a:b ü", "displayName": "Ada", "timezone": "Asia/Tokyo", "attributes": {"tier": "gold"}},
    )
    again = await app.post("/v1/users", json={"id": "a:b ü", "attributes": {"tier": None, "x": 1}})
    assert (made.status_code, again.status_code, again.json()["attributes"]) == (201, 200, {"x": 1})
    for n in range(4):
        await app.send("task", "a:b ü", eventId=str(n), headers={"Prefer": "wait=5"})
    profile = await app.profile("a:b ü")
    assert profile["user"]["displayName"] == "Ada"
    assert profile["levels"] == [
        {"track": "XP", "title": "", "xp": 160, "level": 2, "levelXp": 100, "nextLevelXp": 400, "progress": 0.2}
    ]
    assert [(a["achievement"], a["unlocked"], a["progress"]) for a in profile["achievements"]] == [
        ("three", True, 1.0),
        ("told", False, 0.0),
    ]
    assert profile["streaks"][0]["activeNow"] is True
    assert (await app.get("/v1/users/nobody/profile")).status_code == 404


async def test_a_program_is_edited_by_parts_and_as_a_whole_without_lost_updates(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    added = await app.post("/v1/rules", json={"name": "new", "on": "x", "award": {"coins": 1}})
    assert (added.status_code, added.json()["version"]) == (201, 2)
    assert (await app.post("/v1/rules", json={"name": "new", "on": "x", "award": {"coins": 1}})).status_code == 409
    stale = await app.put("/v1/rules/new", json={"on": "y", "award": {"coins": 1}}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    fresh = await app.put("/v1/rules/new", json={"on": "y", "award": {"coins": 1}}, headers={"If-Match": '"2"'})
    assert fresh.json()["version"] == 3
    assert (await app.request("DELETE", "/v1/rules/new")).status_code == 204
    assert (await app.request("DELETE", "/v1/currencies/coins")).status_code == 422
    text = (await app.get("/v1/program", headers={"Accept": "application/yaml"})).text
    same = await app.put("/v1/program", content=text, headers={"Content-Type": "application/yaml"})
    assert (same.status_code, same.headers["etag"]) == (200, '"4"')
    versions = (await app.get("/v1/program/versions")).json()["items"]
    assert [v["version"] for v in versions] == [4, 3, 2, 1]
    both = await asyncio.gather(
        *(app.put(f"/v1/rules/r{n}", json={"on": "x", "award": {"coins": 1}}) for n in range(8))
    )
    assert sorted(b.json()["version"] for b in both) == list(range(5, 13))


async def test_every_program_error_comes_back_at_once_with_its_path(questline: Instance) -> None:
    app = await questline.app()
    answer = await app.put(
        "/v1/program", json={"rules": {"a": {"on": "x", "award": {"gold": 1}}}, "boards": {"b": {"metric": "m"}}}
    )
    assert (answer.status_code, [e["path"] for e in answer.json()["errors"]]) == (
        422,
        ["boards.b.metric", "rules.a.award.gold"],
    )


async def test_nobody_sees_another_projects_things(questline: Instance) -> None:
    mine, other = await questline.app(PROGRAM), await questline.app(PROGRAM)
    id_ = (await mine.send("task", "ada", eventId="secret", headers={"Prefer": "wait=5"})).json()["eventId"]
    key_id = (await mine.get("/v1/keys")).json()["items"][0]["id"]
    paths = [f"/v1/events/{id_}", "/v1/events/secret", "/v1/users/ada/profile", "/v1/users/ada/history",
             f"/v1/apps/{mine.app_id}", f"/v1/projects/{mine.app_id}/api-keys"]  # fmt: skip
    for path in paths:
        assert (await mine.get(path)).status_code == 200, path
        assert (await other.get(path)).status_code == 404, path
    assert (await other.request("DELETE", f"/v1/keys/{key_id}")).status_code == 404
    assert (await other.get("/v1/leaderboards?metric=xp")).json()["entries"] == []
    assert (await other.get("/v1/events")).json()["items"] == []
    spent = await other.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 1})
    assert spent.json()["code"] == "insufficient-balance"


async def test_health_readiness_metrics_and_the_openapi_document_are_public(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "u", headers={"Prefer": "wait=5"})
    assert (await questline.http.get("/health")).json() == {"status": "alive"}
    assert (await questline.http.get("/ready")).json()["dependencies"] == {"postgres": "ok", "migrations": "ok"}
    assert "questline_events_applied_total" in (await questline.http.get("/metrics")).text
    document = (await questline.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {"get", "post"} <= document["paths"]["/v1/events"].keys()


async def test_a_leaderboard_ranks_pages_and_finds_those_around(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    items = [{"type": "task", "userId": f"u{n}", "eventId": f"{n}-{k}"} for n in range(10) for k in range(n + 1)]
    await app.post("/v1/events/batch", json=items)
    await questline.drain()
    page = (await app.get("/v1/leaderboards?metric=XP&periodKey=all-time&limit=3&userId=u4&around=1")).json()
    assert [(e["rank"], e["userId"], e["score"]) for e in page["entries"]] == [
        (1, "u9", 400),
        (2, "u8", 360),
        (3, "u7", 320),
    ]
    assert (page["total"], page["me"]["rank"]) == (10, 6)
    assert [e["userId"] for e in page["aroundMe"]] == ["u5", "u4", "u3"]
    following = (
        await app.get(f"/v1/leaderboards?metric=XP&periodKey=all-time&limit=3&after={page['nextCursor']}")
    ).json()
    assert [e["rank"] for e in following["entries"]] == [4, 5, 6]


async def test_a_path_also_answers_without_the_prefix(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    assert (await app.post("/events", json={"type": "task", "userId": "u"})).status_code == 202
    assert (await app.get("/rules")).status_code == 200


async def test_a_log_line_names_correlation_and_project_and_no_secret(
    questline: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    app = await questline.app(PROGRAM)
    capsys.readouterr()
    answer = await app.get("/v1/rules", headers={"X-Correlation-Id": "corr-1"})
    logged = capsys.readouterr().out
    assert answer.headers["x-correlation-id"] == "corr-1"
    assert "corr-1" in logged
    assert app.app_id in logged
    assert app.key not in logged
