"""Limits of requests, as callers meet them."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from conftest_api import App, Instance, until

from questline.assembly import running_api
from questline.model.limits import STREAM_GROUP_EVENTS
from questline.model.rates import RateLimits, RouteClass
from questline.settings import Settings
from questline.store import api_processes
from questline.store.ids import EventIds
from questline.store.pool import Pool

OPERATOR = "an-operators-token"
EVENT = {"type": "t", "userId": "u"}


@asynccontextmanager
async def limited(
    dsn: str, client: str = "192.0.2.1", clock: Callable[[], float] = lambda: 0.0, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """An API of its own that goes by the limits given; unless a clock is given, no time passes for them.

    The settings have twice as much, because the module's instance lives too and has its share.
    """
    shared = {name: _twice(value) if name.startswith("rate_limit") else value for name, value in settings.items()}
    fixed = Settings(dsn=dsn, pool_connections=2, rate_limit_seconds=1, admin_token=OPERATOR, **shared)
    async with running_api(fixed, clock) as app:
        transport = httpx.ASGITransport(app=app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
            yield http


async def statuses(
    http: httpx.AsyncClient, app: App, times: int, method: str, path: str, body: Any = None
) -> list[int]:
    headers = {"X-API-Key": app.key}
    return [(await http.request(method, path, json=body, headers=headers)).status_code for _ in range(times)]


async def test_each_class_of_route_has_a_limit_of_its_own(questline: Instance, database: Any) -> None:
    app = await questline.app()
    limits = RateLimits(ingest=3, command=2, read=1, write=1)
    async with limited(database.app_dsn, rate_limits_key=limits) as http:
        spend = {"userId": "u", "currency": "c", "amount": 1}
        assert (await statuses(http, app, 4, "POST", "/v1/events", EVENT)).count(429) == 1
        assert (await statuses(http, app, 3, "POST", "/v1/currency/spend", spend)).count(429) == 1
        assert (await statuses(http, app, 2, "GET", "/v1/program")).count(429) == 1
        assert (await statuses(http, app, 2, "PUT", "/v1/program", {})).count(429) == 1


async def test_a_refusal_says_which_limit_it_was_and_when_to_come_back(questline: Instance, database: Any) -> None:
    app = await questline.app()
    async with limited(database.app_dsn, rate_limits_key=RateLimits(ingest=2)) as http:
        for _ in range(3):
            answer = await http.post("/v1/events", json=EVENT, headers={"X-API-Key": app.key})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate-limited")
    assert answer.json()["detail"] == "this key may make 2 events a second; come back in 1 s"
    assert (answer.headers["retry-after"], answer.headers["ratelimit-policy"]) == ("1", '"key";q=2;w=1')
    assert answer.headers["ratelimit"] == '"key";r=0;t=1'
    assert answer.headers.get_list("ratelimit") == ['"key";r=0;t=1']


@pytest.mark.parametrize(("method", "path", "body"), [("POST", "/v1/events", EVENT), ("GET", "/v1/events", None)])
async def test_every_answer_says_what_is_left(
    questline: Instance, database: Any, method: str, path: str, body: Any
) -> None:
    app = await questline.app()
    limits = {"rate_limits_key": RateLimits(ingest=5, read=5), "rate_limits_project": RateLimits(ingest=9, read=9)}
    async with limited(database.app_dsn, **limits) as http:
        answer = await http.request(method, path, json=body, headers={"X-API-Key": app.key})
    assert answer.headers["ratelimit-policy"] == '"key";q=5;w=1, "project";q=9;w=1'
    assert answer.headers["ratelimit"] == '"key";r=4;t=1, "project";r=8;t=1'


async def test_all_keys_of_a_project_share_its_limit_and_another_project_has_its_own(
    questline: Instance, database: Any
) -> None:
    app, other = await questline.app(), await questline.app()
    key = (await app.post("/v1/keys", json={"role": "INGEST"})).json()["key"]
    second = App(questline, app.app_id, key)
    async with limited(database.app_dsn, rate_limits_project=RateLimits(ingest=4)) as http:
        assert await statuses(http, app, 3, "POST", "/v1/events", EVENT) == [202, 202, 202]
        assert await statuses(http, second, 2, "POST", "/v1/events", EVENT) == [202, 429]
        assert await statuses(http, other, 1, "POST", "/v1/events", EVENT) == [202]


async def test_a_batch_counts_its_events_and_a_refused_one_stores_none(questline: Instance, database: Any) -> None:
    app = await questline.app()
    batch = [{**EVENT, "eventId": str(n)} for n in range(4)]
    async with limited(database.app_dsn, rate_limits_key=RateLimits(ingest=4)) as http:
        assert await statuses(http, app, 1, "POST", "/v1/events/batch", batch) == [202]
        refused = [{**EVENT, "eventId": f"more-{n}"} for n in range(2)]
        assert await statuses(http, app, 1, "POST", "/v1/events/track", {"events": refused}) == [429]
    assert len((await app.get("/v1/events")).json()["items"]) == 4


async def test_a_stream_is_slowed_to_its_limit_and_not_refused(questline: Instance, database: Any) -> None:
    app = await questline.app()
    lines = b"".join(b'{"type":"t","userId":"u","eventId":"%d"}\n' % n for n in range(STREAM_GROUP_EVENTS + 1))
    limits = RateLimits(ingest=STREAM_GROUP_EVENTS * 2 // 3)
    async with limited(database.app_dsn, clock=time.monotonic, rate_limits_key=limits) as http:
        started = time.monotonic()
        answer = await http.post("/v1/ingest/stream?results=errors", content=lines, headers={"X-API-Key": app.key})
    assert answer.json() == {"summary": {"accepted": STREAM_GROUP_EVENTS + 1, "duplicate": 0, "rejected": 0}}
    assert (
        time.monotonic() - started > 0.5
    )  # the first group took more than the bucket held; the second waited for that


async def test_an_operator_grants_one_project_limits_of_its_own(questline: Instance, database: Any) -> None:
    app = await questline.app()
    grant = f"/v1/apps/{app.app_id}/rate-limits"
    operator = {"X-Admin-Token": OPERATOR}
    async with limited(database.app_dsn, rate_limits_key=RateLimits(ingest=1, read=1)) as http:
        own = {"key": {"ingest": 6}, "project": {"read": 4}}  # of which this process has half
        assert (await http.put(grant, json=own, headers={"X-API-Key": app.key})).status_code == 401
        set_ = await http.put(grant, json=own, headers=operator)
        assert (set_.status_code, set_.json()["rateLimits"]) == (200, own)
        assert (await statuses(http, app, 4, "POST", "/v1/events", EVENT)) == [202, 202, 202, 429]
        assert (await statuses(http, app, 2, "GET", "/v1/events")) == [200, 429]  # the key's own limit is as it was
        assert (await http.put(grant, json={"key": {"ingest": -1}}, headers=operator)).status_code == 422
        assert (await http.put("/v1/apps/none/rate-limits", json={}, headers=operator)).status_code == 404
        assert (await http.put(grant, json={}, headers=operator)).json()["rateLimits"] is None


async def test_an_address_that_names_no_key_or_wrong_ones_is_held_off_and_a_right_key_is_not(
    questline: Instance, database: Any
) -> None:
    app = await questline.app()
    async with limited(database.app_dsn, rate_limit_address=4) as http:
        assert await statuses(http, app, 1, "GET", "/v1/events") == [200]
        wrong = App(questline, app.app_id, "sk_live_" + "0" * 64)
        assert await statuses(http, wrong, 6, "GET", "/v1/events") == [401] * 4 + [429] * 2
        assert (await http.get("/openapi.json")).status_code == 429
        assert (await http.post("/v1/events", json=EVENT)).status_code == 429
        assert (await http.get("/health")).status_code == 200
        assert await statuses(http, app, 1, "GET", "/v1/events") == [200]


@pytest.mark.parametrize("junk", [{"X-API-Key": "junk"}, {"Authorization": "Bearer eyJ.x.y"}])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ready", 200),
        ("GET", "/docs", 200),
        ("GET", "/metrics", 200),
        ("OPTIONS", "/v1/events", 204),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/program", 405),
        ("POST", "/v1/apps", 401),
        ("GET", "/v1/organizations", 401),
        ("GET", "/v1/me", 401),
        ("POST", "/v1/auth/refresh", 401),
        ("GET", "/v1/program?a=%00", 400),
    ],
)
async def test_a_key_that_nobody_has_hides_no_address(
    questline: Instance, database: Any, method: str, path: str, status: int, junk: dict[str, str]
) -> None:
    body = {"refreshToken": "qr_" + "x" * 60} if "refresh" in path else {"id": "x", "name": "x"}
    async with limited(database.app_dsn, rate_limit_address=4) as http:
        given = {"json": body} if method == "POST" else {}
        answers = [await http.request(method, path, headers=junk, **given) for _ in range(6)]
        assert [a.status_code for a in answers] == [status] * 4 + [429] * 2
        assert all("retry-after" in a.headers and a.json()["code"] == "rate-limited" for a in answers[4:])
        assert (await http.get("/health", headers=junk)).status_code == 200


async def test_who_says_who_they_are_is_counted_for_no_address_whatever_the_answer(
    questline: Instance, database: Any
) -> None:
    app = await questline.app()
    reader = (await app.post("/v1/keys", json={"role": "READONLY"})).json()["key"]
    async with limited(database.app_dsn, rate_limit_address=2) as http:
        for _ in range(4):
            for method, path, key, status in [
                ("GET", "/v1/program", reader, 200),
                ("GET", "/v1/users/nobody/profile", reader, 404),
                ("PUT", "/v1/program", reader, 403),
                ("GET", "/v1/users/nobody/history?limit=x", reader, 400),
                ("POST", "/v1/keys", app.key, 400),
            ]:
                answer = await http.request(method, path, headers={"X-API-Key": key}, content=b"{")
                assert answer.status_code == status, (path, answer.text)


async def test_the_address_behind_a_trusted_proxy_is_counted_and_not_the_proxys(database: Any) -> None:
    async with limited(database.app_dsn, "10.0.0.1", rate_limit_address=2, trusted_proxies=("10.0.0.0/8",)) as http:
        asked = [("198.51.100.1", 200), ("198.51.100.1", 200), ("198.51.100.1", 429), ("198.51.100.2", 200)]
        for address, status in asked:
            answer = await http.get("/openapi.json", headers={"X-Forwarded-For": f"9.9.9.9, {address}"})
            assert answer.status_code == status


async def test_processes_share_a_limit_and_a_dead_ones_share_returns_within_seconds(
    questline: Instance, database: Any, pool: Pool
) -> None:
    app = await questline.app()
    dead = EventIds().new()
    before = await api_processes.announce(pool, dead, 600.0)

    async with limited(database.app_dsn, rate_limits_key=RateLimits(read=60)) as http:

        async def share() -> int:
            answer = await http.get("/v1/events", headers={"X-API-Key": app.key})
            found = re.match(r'"key";q=(\d+)', answer.headers.get("ratelimit-policy", ""))
            return int(found[1]) if found else 0

        assert before == 2  # the module's own instance
        assert await share() == 120 // 3
        await api_processes.announce(pool, dead, 0.1)  # and never again
        await until(lambda: _is(share, 120 // 2))
    assert await api_processes.announce(pool, dead, 0.0) == 2  # the one above left at its end


def _twice(limit: Any) -> Any:
    return 2 * limit if isinstance(limit, int) else RateLimits(*(2 * getattr(limit, class_) for class_ in RouteClass))


async def _is(asked: Any, value: int) -> bool:
    return bool(await asked() == value)
