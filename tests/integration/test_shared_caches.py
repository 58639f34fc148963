"""Two API processes that share a Redis: exact limits, duplicates and keys known to both; and life without it."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest_api import SECRET_KEYS, App, Instance, until
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from test_signed_events import headers as signed
from test_signed_events import signed_app

from questline.assembly import running_api
from questline.model.rates import RateLimits
from questline.settings import CannotStart, Settings
from tests.harness.door import Door
from tests.services import free_port, running
from tests.services.redis import RedisServer

EVENT = {"type": "t", "userId": "u"}
GUESS = {"email": "ada@guessed.org", "password": "a guess at it"}
USER = {"appId": "none", "username": "ada", "password": "a guess at it"}
OPERATOR = {"X-Admin-Token": "a guess at the token"}
# Where guesses are made, with what; how many each process is sent, and how many tries are given to all together.
TRIES = [
    ("/v1/auth/register",       USER,                                      {},       5,  5),
    ("/v1/auth/login",          USER,                                      {},       8,  10),
    ("/v1/members/login",       GUESS,                                     {},       8,  10),
    ("/v1/organizations",       {"id": "x", "name": "x"},                  OPERATOR, 70, 120),
]  # fmt: skip


@asynccontextmanager
async def apis(dsn: str, redis_url: str, processes: int = 2, **settings: Any) -> AsyncIterator[list[httpx.AsyncClient]]:
    """As many APIs as are asked for, that have found Redis and the history of their database."""
    fixed = Settings(dsn=dsn, dev=True, redis_url=redis_url, pool_connections=3, secret_keys=SECRET_KEYS, **settings)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(processes):
            app = await stack.enter_async_context(running_api(fixed, lambda: 0.0))
            transport = httpx.ASGITransport(app=app)
            clients.append(await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://t")))
        yield clients


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, Redis is waited for: these tests are about what it says."""
    monkeypatch.setattr("questline.cache.redis.REDIS_DEADLINE_SECONDS", 10.0)


@pytest.fixture
async def own_redis(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    with running(RedisServer(tmp_path)) as server:
        yield server


async def send(http: httpx.AsyncClient, app: App, body: Any = EVENT, path: str = "/v1/events") -> httpx.Response:
    return await http.post(path, json=body, headers={"X-API-Key": app.key})


async def metric(http: httpx.AsyncClient, name: str, **labels: str) -> float:
    text = (await http.get("/metrics")).text
    found = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
    return sum(s.value for s in found if labels.items() <= s.labels.items())


async def redis_of(http: httpx.AsyncClient) -> str:
    answer = await http.get("/ready")
    assert answer.status_code == 200
    return str(answer.json()["dependencies"]["redis"])


# ── what is shared


async def test_processes_give_a_limit_once(
    questline: Instance, database: Any, redis_server: RedisServer, patient: None
) -> None:
    app = await questline.app()
    limits = RateLimits(ingest=10)
    async with apis(database.app_dsn, redis_server.url, rate_limits_key=limits, rate_limit_seconds=1) as (one, two):
        answers = await asyncio.gather(*(send(http, app) for _ in range(20) for http in (one, two)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(429)) == (10, 30)
    assert {answer.headers["RateLimit-Policy"] for answer in answers if answer.status_code == 202} == {'"key";q=10;w=1'}


@pytest.mark.parametrize(("path", "body", "headers", "each", "all_together"), TRIES)
async def test_processes_give_tries_at_what_can_be_guessed_once(
    database: Any,
    redis_server: RedisServer,
    patient: None,
    path: str,
    body: Any,
    headers: Any,
    each: int,
    all_together: int,
) -> None:
    async with apis(database.app_dsn, redis_server.url) as both:
        answers = await asyncio.gather(
            *(http.post(path, json=body, headers=headers) for _ in range(each) for http in both)
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(429), {*statuses} - {429} <= {401, 404}) == (2 * each - all_together, True)
    assert {int(a.headers["Retry-After"]) for a in answers if a.status_code == 429} == {60 // all_together or 1}


async def test_without_redis_a_process_still_refuses_guesses_beyond_its_share(
    database: Any, own_redis: RedisServer
) -> None:
    async with apis(database.app_dsn, own_redis.url, 1) as (http,):
        assert (await http.post("/v1/members/login", json=GUESS)).status_code == 401
        own_redis.kill()
        statuses = [(await http.post("/v1/members/login", json=GUESS)).status_code for _ in range(12)]
    assert statuses == sorted(statuses)
    assert 1 <= statuses.count(401) <= 10


async def test_a_duplicate_is_known_to_the_other_process(
    questline: Instance, database: Any, redis_server: RedisServer, patient: None
) -> None:
    app = await questline.app()
    async with apis(database.app_dsn, redis_server.url) as (one, two):
        known = await _seen(one, two, app)
        again = (await send(two, app, known)).json()
        assert again["duplicate"]
        assert again["eventId"] == (await send(questline.http, app, known)).json()["eventId"]
        assert (await send(two, app, {**known, "userId": "another"})).status_code == 409
        before = await metric(two, "questline_duplicates_total", layer="cache")
        batch = (await send(two, app, [known, {**known, "eventId": "new"}, known], "/v1/events/batch")).json()
        assert [item["status"] for item in batch["results"]] == ["duplicate", "accepted", "duplicate"]
        assert await metric(two, "questline_duplicates_total", layer="cache") == before + 2


async def test_a_replay_is_refused_by_the_other_process_before_the_database_is_asked(
    questline: Instance, database: Any, redis_server: RedisServer, patient: None
) -> None:
    app = await signed_app(questline)
    async with apis(database.app_dsn, redis_server.url) as (one, two):
        await _seen(one, two, await questline.app())
        for path, body in (
            ("/v1/events", b'{"type":"t","userId":"u"}'),
            ("/v1/events/batch", b'[{"type":"t","userId":"u"}]'),
        ):
            sent = {"X-API-Key": app.key, "content-type": "application/json", **signed(body)}
            assert (await one.post(path, content=body, headers=sent)).status_code in (200, 202)

            async def is_known(path: str = path, body: bytes = body, sent: dict[str, str] = sent) -> bool:
                before = await metric(two, "questline_cache_looked_up_total", cache="seen", result="hit")
                answer = await two.post(path, content=body, headers=sent)
                assert (answer.status_code, answer.json()["detail"]) == (401, "Replay detected")
                return await metric(two, "questline_cache_looked_up_total", cache="seen", result="hit") > before

            await until(is_known)


async def test_a_key_is_known_to_the_other_process_until_it_is_revoked_anywhere(
    questline: Instance, database: Any, redis_server: RedisServer, patient: None
) -> None:
    app = await questline.app()
    async with apis(database.app_dsn, redis_server.url) as (one, two):
        await _seen(one, two, await questline.app())
        made = (await app.post("/v1/keys", json={"type": "secret", "role": "INGEST"})).json()
        key = {"X-API-Key": made["key"]}
        async with Redis.from_url(redis_server.url) as redis:
            kept = len(await redis.keys("*:keys:*"))
            assert (await one.post("/v1/events", json=EVENT, headers=key)).status_code == 202

            async def is_kept() -> bool:
                return len(await redis.keys("*:keys:*")) > kept

            await until(is_kept)
        hits = await metric(two, "questline_cache_looked_up_total", cache="keys", result="hit")
        assert (await two.post("/v1/events", json=EVENT, headers=key)).status_code == 202
        assert await metric(two, "questline_cache_looked_up_total", cache="keys", result="hit") == hits + 1
        await app.request("DELETE", f"/v1/keys/{made['id']}")

        async def is_refused() -> bool:
            answers = [await http.post("/v1/events", json=EVENT, headers=key) for http in (one, two)]
            return [answer.status_code for answer in answers] == [401, 401]

        await until(is_refused)
        async with apis(database.app_dsn, redis_server.url, 1) as (new,):
            assert (await new.post("/v1/events", json=EVENT, headers=key)).status_code == 401


async def _seen(one: httpx.AsyncClient, two: httpx.AsyncClient, app: App) -> dict[str, Any]:
    """Return an event that the second process knows of by Redis: it has begun then, and knows its database's history."""
    numbers = itertools.count()
    found: dict[str, Any] = {}

    async def is_known() -> bool:
        found.update(EVENT, eventId=f"known-{next(numbers)}")
        await send(one, app, found)
        before = await metric(two, "questline_duplicates_total", layer="cache")
        assert (await send(two, app, found)).json()["duplicate"]
        return await metric(two, "questline_duplicates_total", layer="cache") > before

    await until(is_known)
    return found


# ── without it


def frozen(server: RedisServer) -> None:
    server.freeze()


def killed(server: RedisServer) -> None:
    server.kill()


@pytest.mark.parametrize(("lose", "fault_questions"), [(killed, 40), (frozen, 40)])
async def test_ingest_goes_on_without_redis_and_uses_it_again(
    questline: Instance,
    database: Any,
    own_redis: RedisServer,
    lose: Callable[[RedisServer], None],
    fault_questions: int,
) -> None:
    """All answers are right, whatever is done to Redis under load; and few questions wait for it in vain."""
    app = await questline.app()
    limits = RateLimits(ingest=100_000)
    async with apis(database.app_dsn, own_redis.url, rate_limits_key=limits) as (one, two):
        load = Load(app, (one, two))
        async with load.running():
            await load.at_least(200)
            lose(own_redis)
            await until(lambda: _says(one, "degraded: it gives no answer, and is done without"))
            faults = await metric(one, "questline_redis_faults_total")
            await load.at_least(400)
            assert await metric(one, "questline_redis_faults_total") - faults < fault_questions
            assert await metric(one, "questline_redis_usable") == 0
            own_redis.thaw() if lose is frozen else own_redis.start()
            await until(lambda: _says(one, "ok"))
            await load.at_least(400)
        assert load.statuses == {202}
        assert load.sent == await _stored(questline, app)


async def test_connections_that_are_cut_again_and_again_cost_no_answer(
    questline: Instance, database: Any, own_redis: RedisServer
) -> None:
    app = await questline.app()
    port = free_port()
    door = Door.of_port(port, own_redis.port)
    door.open()
    async with apis(database.app_dsn, f"redis://127.0.0.1:{port}", rate_limits_key=RateLimits(ingest=100_000)) as both:
        load = Load(app, tuple(both))
        async with load.running():
            for _ in range(5):
                await until(lambda: _says(both[0], "ok"))
                await load.at_least(50)
                door.cut(random.Random(1), 1.0)
        assert load.statuses == {202}
        assert load.sent == await _stored(questline, app)
    door.close()


async def test_a_redis_that_was_never_there_is_no_reason_not_to_start(questline: Instance, database: Any) -> None:
    app = await questline.app()
    async with apis(database.app_dsn, f"redis://127.0.0.1:{free_port()}", 1) as (http,):
        assert (await send(http, app)).status_code == 202
        await until(lambda: _says(http, "degraded: it gives no answer, and is done without"))


async def test_a_url_that_is_none_stops_the_start_with_a_word_about_it(database: Any) -> None:
    with pytest.raises(CannotStart, match="QUESTLINE_REDIS_URL cannot be used"):
        async with apis(database.app_dsn, "localhost:6379", 1):
            pass


class Load:
    """Clients that send each event twice, to two processes, and remember what they were answered."""

    def __init__(self, app: App, clients: Sequence[httpx.AsyncClient]) -> None:
        self.app = app
        self.clients = clients
        self.sent: set[str] = set()
        self.statuses: set[int] = set()
        self._answers = 0
        self._stop = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        sending = [asyncio.create_task(self._send(number)) for number in range(8)]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*sending)

    async def at_least(self, more: int) -> None:
        """Wait until so many more were answered."""
        until_answers = self._answers + more

        async def are_answered() -> bool:
            return self._answers >= until_answers

        await until(are_answered)

    async def _send(self, number: int) -> None:
        for n in itertools.count():
            event_id = f"{number}-{n}"
            answers = [await send(http, self.app, {**EVENT, "eventId": event_id}) for http in self.clients]
            self.statuses |= {answer.status_code for answer in answers}
            assert [answer.json()["duplicate"] for answer in answers] == [False, True]
            self.sent.add(answers[0].json()["eventId"])
            self._answers += 2
            if self._stop:
                return


async def _stored(questline: Instance, app: App) -> set[str]:
    rows = await questline.owner.fetch(
        "SELECT e.id FROM events e JOIN projects p ON p.id = e.project_id WHERE p.app_id = $1", app.app_id
    )
    return {str(row[0]) for row in rows}


async def _says(http: httpx.AsyncClient, state: str) -> bool:
    return await redis_of(http) == state
