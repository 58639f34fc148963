"""What goes wrong is said in full, as JSON, and never by a closed connection."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from conftest_api import PROGRAM, Instance

from questline.api.auth import KeyRing
from questline.api.problems import Problem
from questline.assembly import running_api
from questline.settings import Settings

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/v1/apps", {}, ["id", "name"]),
        ("/v1/apps", {"id": 5, "name": "", "colour": "red"}, ["id", "name", "colour"]),
        ("/v1/apps", {"id": "a\n", "name": "x", "defaultTimezone": "Mars/X"}, ["id", "defaultTimezone"]),
        ("/v1/apps", {"id": "a", "name": 1, "settings": {"trustedTypes": 1}}, ["name", "settings.trustedTypes"]),
        ("/v1/apps", {"id": "a", "name": "x", "webhookUrl": "ftp://x"}, ["webhookUrl"]),
        ("/v1/keys", {"role": "GOD", "type": "x", "name": "n" * 300}, ["type", "role", "name"]),
        ("/v1/users", {"displayName": 1, "attributes": []}, ["id", "displayName", "attributes"]),
        ("/v1/currency/spend", {"amount": 0, "currency": 1}, ["userId", "currency", "amount"]),
        ("/v1/currency/spend", [], [""]),
    ],
)  # fmt: skip
async def test_every_field_that_is_wrong_is_named_at_once(
    questline: Instance, path: str, body: Any, fields: list[str]
) -> None:
    app = await questline.app()
    answer = await app.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert [e["field"] for e in answer.json()["errors"]] == fields


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/apps", {"id": "nul", "name": "\0"}, "name"),
        ("/v1/apps", {"id": "nul", "name": "n", "settings": {"a": [{"b": "\0"}]}}, "settings.a[0].b"),
        ("/v1/keys", {"name": "\0"}, "name"),
        ("/v1/users", {"id": "a\0b"}, "id"),
        ("/v1/users", {"id": "a", "attributes": {"k\0": 1}}, "attributes"),
    ],
)
async def test_a_nul_character_is_refused_where_it_stands(
    questline: Instance, path: str, body: Any, field: str
) -> None:
    app = await questline.app()
    answer = await app.post(path, json=body)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


@pytest.mark.parametrize(
    "path",
    ["/v1/users/a%00b/profile", "/v1/events/%00", "/v1/events?type=%00", "/v1/leaderboards?metric=XP&userId=%00"],
)
async def test_a_nul_character_in_a_path_or_query_is_a_bad_request(questline: Instance, path: str) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)


@pytest.mark.parametrize(
    "path", ["/v1/apps", "/v1/users", "/v1/keys", "/v1/rules", "/v1/program/plan", "/v1/currency/spend"]
)
@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"id":"\xff"}', b"[" * 50_000], ids=["empty", "cut", "not UTF-8", "deep"]
)
async def test_a_body_that_is_no_json_is_a_bad_request(questline: Instance, path: str, body: bytes) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM), answer.text


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_an_empty_body_does_not_empty_the_program(questline: Instance, media: str) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.put("/v1/program", content=b" \n", headers={"Content-Type": media})
    assert answer.status_code == 400
    assert (await app.get("/v1/program")).json() == PROGRAM


async def test_a_body_over_its_limit_is_413(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for method, path, size in (("PUT", "/v1/program", 1_100_000), ("POST", "/v1/users", 9_000_000)):
        answer = await app.request(method, path, content=b'{"id":"' + b"x" * size + b'"}')
        assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("/v1/events?limit=x", "limit"), ("/v1/leaderboards?metric=XP&scope=NOPE", "scope"),
        ("/v1/leaderboards?metric=XP&around=x", "around"), ("/v1/program/versions?cursor=x", "cursor"),
    ],
)  # fmt: skip
async def test_a_parameter_that_is_wrong_is_named_as_the_client_wrote_it(
    questline: Instance, query: str, parameter: str
) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.get(query)
    assert (answer.status_code, answer.json()["code"], answer.json()["parameter"]) == (
        400,
        "invalid-parameter",
        parameter,
    )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/events", "GET, HEAD, OPTIONS, POST"), ("DELETE", "/v1/events/batch", "OPTIONS, POST"),
        ("GET", "/v1/ingest/stream", "OPTIONS, POST"), ("GET", "/currency/spend", "OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"), ("DELETE", "/v1/program", "GET, HEAD, OPTIONS, PUT"),
    ],
)  # fmt: skip
async def test_a_wrong_method_is_405_and_says_which_are_right(
    questline: Instance, method: str, path: str, allowed: str
) -> None:
    answer = await questline.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"], answer.json()["code"]) == (405, allowed, "method-not-allowed")


async def test_head_answers_as_get_without_a_body(questline: Instance) -> None:
    get, head = [await questline.http.request(method, "/health") for method in ("GET", "HEAD")]
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", get.headers["content-length"])


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/rules", "/v1/events", "/health"])
async def test_each_answer_carries_a_correlation_id(questline: Instance, path: str) -> None:
    given = await questline.http.get(path, headers={"X-Correlation-Id": "mine"})
    made = await questline.http.get(path)
    assert (given.headers["x-correlation-id"], len(made.headers["x-correlation-id"])) == ("mine", 36)


async def test_a_refused_event_carries_the_callers_correlation_id(questline: Instance) -> None:
    app = await questline.app()
    answer = await app.post("/v1/events", json={"type": "t"}, headers={"X-Correlation-Id": "mine"})
    assert (answer.status_code, answer.headers["x-correlation-id"]) == (422, "mine")


async def test_a_database_out_of_reach_is_503_with_retry_after(database: Any) -> None:
    """The key of the first request is looked up anew, so nothing can be answered from memory."""
    settings = Settings(dsn=database.app_dsn, dev=True)
    async with running_api(settings) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            key = (await http.post("/v1/apps", json={"id": "gone", "name": "Gone"})).json()["bootstrapApiKey"]
            owner = await asyncpg.connect(database.owner_dsn)
            await owner.execute("ALTER ROLE questline_app CONNECTION LIMIT 0")
            try:
                await owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'questline_app'"
                )
                for method, path in (("GET", "/v1/program"), ("POST", "/v1/events"), ("POST", "/v1/events/batch")):
                    body = {"type": "t", "userId": "u"}
                    answer = await http.request(method, path, json=body, headers={"X-API-Key": key})
                    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), (path, answer.text)
                    assert answer.headers["content-type"] == PROBLEM
            finally:
                await owner.execute("ALTER ROLE questline_app CONNECTION LIMIT -1")
                await owner.close()


async def test_a_caller_who_leaves_takes_nobody_along_who_waits_for_the_same_key() -> None:
    async def find(*_: Any) -> None:
        asked.set()
        await answered.wait()

    asked, answered = asyncio.Event(), asyncio.Event()
    ring = KeyRing(find)
    leaving, staying = [asyncio.create_task(ring.principal([(b"x-api-key", b"k")])) for _ in range(2)]
    await asked.wait()
    leaving.cancel()
    answered.set()
    results = await asyncio.gather(leaving, staying, return_exceptions=True)
    assert [type(r) for r in results] == [asyncio.CancelledError, Problem]
