"""The way to Redis: nobody waits long for it, and it is used again by itself."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest_api import until
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from questline.cache.fanout import GAP
from questline.cache.meters import CacheMeters
from questline.cache.redis import Gone, RedisClient
from questline.cache.redis_fanout import RedisFanOut
from questline.cli.redis_findings import examine_redis
from questline.model.limits import HISTORY_HOLDS_SECONDS, REDIS_ASKED_AT_ONCE
from questline.store.history import History, installation_of
from questline.store.pool import open_pool
from tests.services import running
from tests.services.redis import RedisServer

DEADLINE_SECONDS = 1.0  # twenty times what it is for users: this machine does other things as well


@pytest.fixture
async def server(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    with running(RedisServer(tmp_path)) as own:
        yield own


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    opened = RedisClient(server.url, CacheMeters(CollectorRegistry()), deadline_seconds=DEADLINE_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
async def patient(server: RedisServer) -> AsyncIterator[RedisClient]:
    """A client that waits, however busy the machine is."""
    opened = RedisClient(server.url, CacheMeters(CollectorRegistry()), deadline_seconds=10)
    yield opened
    await opened.close()


async def test_a_question_is_answered(patient: RedisClient) -> None:
    await patient.ask("test", lambda redis: redis.set("a", b"1"))
    assert await patient.ask("test", lambda redis: redis.get("a")) == b"1"


async def test_a_frozen_redis_costs_one_deadline_and_then_nothing(client: RedisClient, server: RedisServer) -> None:
    await _ping(client)
    server.freeze()
    started = time.perf_counter()
    with pytest.raises(Gone, match="no answer within"):
        await _ping(client)
    waited = time.perf_counter() - started
    for _ in range(100):
        with pytest.raises(Gone, match="breaker is open"):
            await _ping(client)
    assert waited < 30 * DEADLINE_SECONDS
    server.thaw()
    await _back(client)
    await _ping(client)


async def test_a_killed_redis_is_used_again_by_itself_once_it_is_back(client: RedisClient, server: RedisServer) -> None:
    told: list[bool] = []
    client.tells(told.append)
    await _ping(client)
    server.kill()
    with pytest.raises(Gone):
        await _ping(client)
    server.start()
    await _back(client)
    await _ping(client)
    assert told == [False, True]


async def test_a_redis_that_takes_no_writes_stays_out_of_use_until_it_does(
    client: RedisClient, server: RedisServer
) -> None:
    async with Redis.from_url(server.url) as operator:
        await operator.config_set("maxmemory", 1)
        with pytest.raises(Gone, match="maxmemory"):
            await client.ask("test", lambda redis: redis.set("a", 1))
        refused = (await operator.info("errorstats"))["errorstat_OOM"]["count"]

        async def is_probed() -> bool:
            return bool((await operator.info("errorstats"))["errorstat_OOM"]["count"] > refused)

        await until(is_probed)
        assert not client.usable
        await operator.config_set("maxmemory", 0)
    await _back(client)


async def test_more_questions_at_once_than_connections_are_all_answered(patient: RedisClient) -> None:
    many = REDIS_ASKED_AT_ONCE * 4
    answers = await asyncio.gather(*(patient.ask("test", lambda redis: redis.incr("n")) for _ in range(many)))
    assert sorted(answers) == list(range(1, many + 1))


async def test_a_process_that_stood_still_itself_does_not_blame_redis(client: RedisClient) -> None:
    await _ping(client)
    asked = asyncio.Event()

    async def question(redis: Redis) -> Any:
        asking = asyncio.ensure_future(redis.ping())
        asked.set()
        return await asking

    asking = asyncio.ensure_future(client.ask("test", question))
    await asked.wait()
    _stand_still(2 * DEADLINE_SECONDS)
    assert await asking


async def test_a_caller_who_leaves_takes_no_connection_along(patient: RedisClient) -> None:
    for _ in range(4 * REDIS_ASKED_AT_ONCE):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await _ping(patient)
    await _ping(patient)
    assert patient.usable


async def test_each_database_has_a_name_and_a_history(any_database: Any, database: Any) -> None:
    names = set()
    for dsn in (any_database.app_dsn, database.app_dsn, database.owner_dsn):
        pool = await open_pool(dsn, max_size=1)
        names.add(await installation_of(pool))
        history = History(pool)
        assert history.line is None
        await history.ask()
        assert history.line == "00000001"
        await pool.close()
    assert len(names) == len({any_database.app_dsn, database.app_dsn})


async def test_a_history_is_believed_for_a_moment_and_not_once_it_is_doubted(pool: Any) -> None:
    now = [1000.0]
    history = History(pool, lambda: now[0])
    await history.ask()
    now[0] += HISTORY_HOLDS_SECONDS - 0.1
    assert history.line == "00000001"
    now[0] += 0.2
    assert history.line is None
    await history.ask()
    history.doubt()
    assert history.line is None
    await history.ask()
    assert history.line == "00000001"


async def test_a_moment_lies_between_what_the_server_said_before_and_after(pool: Any) -> None:
    history = History(pool)
    before = await pool.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    await history.ask()
    moment = history.now()
    after = await pool.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    assert before - 1 < moment.earliest < after
    assert before < moment.latest < after + 1
    assert moment.earliest < moment.latest


async def test_who_subscribed_is_told_a_gap_when_redis_was_gone_and_hears_on(
    patient: RedisClient, server: RedisServer
) -> None:
    fan_out = RedisFanOut(patient)
    listening = asyncio.create_task(fan_out.run())
    async with asyncio.timeout(120), fan_out.subscribed("a") as subscription:
        assert await anext(subscription) is GAP  # of before it listened
        fan_out.publish("a", b"1")
        assert await anext(subscription) == b"1"
        server.kill()
        await until(lambda: _is(patient, False))
        fan_out.publish("a", b"heard here alone")
        assert await anext(subscription) == b"heard here alone"
        server.start()
        assert await anext(subscription) is GAP
        await until(lambda: _is(patient, True))
        fan_out.publish("a", b"2")
        while (heard := await anext(subscription)) is GAP:
            pass
        assert heard == b"2"
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_connection_that_listens_and_is_silent_is_given_up(patient: RedisClient, server: RedisServer) -> None:
    fan_out = RedisFanOut(patient)
    listening = asyncio.create_task(fan_out.run())
    async with asyncio.timeout(120), fan_out.subscribed("a") as subscription:
        assert await anext(subscription) is GAP
        server.freeze()
        await until(lambda: _is(patient, False))
        server.thaw()
        assert await anext(subscription) is GAP
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_the_doctor_says_what_to_mend_of_redis(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as operator:
        found = {finding.text: finding.state for finding in await examine_redis(server.url)}
        assert found["Redis may use all memory there is: set maxmemory"] == "doubtful"
        await operator.config_set("maxmemory", "64mb")
        texts = [finding.text for finding in await examine_redis(server.url)]
        assert texts[1:] == ["Redis refuses writes once it is full, by maxmemory-policy noeviction: set volatile-ttl"]
        await operator.config_set("maxmemory-policy", "volatile-ttl")
        assert [finding.state for finding in await examine_redis(server.url)] == ["good"]
    server.kill()
    (gone,) = await examine_redis(server.url.replace("127.0.0.1", ":secret@127.0.0.1"))
    assert gone.state == "doubtful"
    assert "secret" not in gone.text


async def test_the_configuration_on_the_page_leaves_the_doctor_nothing_to_mend(
    tmp_path: Path, redis_server: Any
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "redis.md").read_text(encoding="utf-8")
    (configuration,) = re.findall(r"^```conf\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    server = RedisServer(tmp_path, dict(line.split(" ", 1) for line in configuration.splitlines()))
    server.start()
    try:
        server.wait_until_ready()
        assert [finding.state for finding in await examine_redis(server.url)] == ["good"]
    finally:
        server.stop()


def test_a_url_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisClient("localhost:6379", CacheMeters(CollectorRegistry()))


def _stand_still(seconds: float) -> None:
    """Let the loop do nothing else, as a long garbage collection does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def _ping(client: RedisClient) -> None:
    await client.ask("test", lambda redis: redis.ping())


async def _is(client: RedisClient, usable: bool) -> bool:
    return client.usable is usable


async def _back(client: RedisClient) -> None:
    await until(lambda: _is(client, True))
