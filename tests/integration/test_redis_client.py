"""The way to Redis: nobody waits long for it, and it is used again by itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from conftest_api import until
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from questline.cache.meters import CacheMeters
from questline.cache.redis import Gone, RedisClient
from questline.model.limits import REDIS_ASKED_AT_ONCE, REDIS_DEADLINE_SECONDS
from questline.store.history import installation_of
from tests.services.redis import RedisServer


@pytest.fixture
async def server(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    own = RedisServer(tmp_path)
    own.start()
    own.wait_until_ready()
    yield own
    own.stop()


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    opened = RedisClient(server.url, CacheMeters(CollectorRegistry()))
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
    assert waited < 5 * REDIS_DEADLINE_SECONDS
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
    _stand_still(2 * REDIS_DEADLINE_SECONDS)
    assert await asking


async def test_a_caller_who_leaves_takes_no_connection_along(patient: RedisClient) -> None:
    for _ in range(4 * REDIS_ASKED_AT_ONCE):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await _ping(patient)
    await _ping(patient)
    assert patient.usable


async def test_each_database_has_a_name_of_its_own(any_database: Any, database: Any) -> None:
    names = set()
    for dsn in (any_database.app_dsn, database.app_dsn, database.owner_dsn):
        conn = await asyncpg.connect(dsn)
        names.add(await installation_of(conn))
        await conn.close()
    assert len(names) == len({any_database.app_dsn, database.app_dsn})


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


async def _back(client: RedisClient) -> None:
    async def usable() -> bool:
        return client.usable

    await until(usable)
