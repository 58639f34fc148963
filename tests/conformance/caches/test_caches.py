"""One suite for all caches: what is written against an interface goes on the same in memory and in Redis."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from questline.cache.buckets import Ask, Buckets, Level, Limit, MemoryBuckets
from questline.cache.entries import Entries, MemoryEntries
from questline.cache.fanout import GAP, FanOut, Heard, MemoryFanOut, Subscription
from questline.cache.meters import CacheMeters
from questline.cache.redis import RedisClient
from questline.cache.redis_buckets import RedisBuckets
from questline.cache.redis_entries import RedisEntries
from questline.cache.redis_fanout import RedisFanOut
from questline.model.limits import FANOUT_WAITING_MAX, REDIS_ENTRIES_AT_ONCE
from tests.services.redis import RedisServer

KINDS = ("memory", "redis")
TEN = Limit(10, 2)

_numbers = itertools.count()


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


class Caches(NamedTuple):
    """One of each, new; `clock` is that of the buckets."""

    buckets: Buckets
    entries: Entries
    fan_out: FanOut
    clock: Clock


@asynccontextmanager
async def redis_of(server: RedisServer, clock: Clock | None) -> AsyncIterator[tuple[RedisClient, Caches]]:
    meters = CacheMeters(CollectorRegistry())
    client = RedisClient(server.url, meters, f"test{next(_numbers)}:", deadline_seconds=10)
    buckets = RedisBuckets(client, "rates", MemoryBuckets(9), clock)
    fan_out = RedisFanOut(client)
    listening = asyncio.create_task(fan_out.run())
    yield client, Caches(buckets, RedisEntries(client, "e", MemoryEntries(9), meters), fan_out, clock or Clock())
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await client.close()


@pytest.fixture(params=KINDS)
async def caches(request: pytest.FixtureRequest) -> AsyncIterator[Caches]:
    clock = Clock()
    if request.param == "memory":
        yield Caches(MemoryBuckets(1000, clock), MemoryEntries(100_000), MemoryFanOut(), clock)
        return
    async with redis_of(request.getfixturevalue("redis_server"), clock) as (_, made):
        yield made


# ── buckets


async def taken(buckets: Buckets, tokens: int = 1, bucket: Any = "a", limit: Limit = TEN) -> bool:
    levels = await buckets.take([Ask(bucket, limit, tokens)])
    return not levels[0].wait_seconds


async def count(buckets: Buckets, bucket: Any = "a") -> int:
    found = 0
    while await taken(buckets, bucket=bucket):
        found += 1
    return found


async def test_a_bucket_gives_its_room_at_once_and_its_rate_from_then_on(caches: Caches) -> None:
    assert await count(caches.buckets) == 20
    caches.clock.seconds += 1
    assert await count(caches.buckets) == 10
    caches.clock.seconds += 3600
    assert await count(caches.buckets) == 20


async def test_who_waits_as_long_as_was_said_gets_what_was_wanted(caches: Caches) -> None:
    await count(caches.buckets)
    levels = await caches.buckets.take([Ask("a", TEN, 5)])
    caches.clock.seconds += levels[0].wait_seconds + 1e-6
    assert await taken(caches.buckets, 5)
    assert not await taken(caches.buckets)


async def test_more_than_a_bucket_holds_is_given_by_a_full_one_which_owes_the_rest(caches: Caches) -> None:
    assert await taken(caches.buckets, 100)
    caches.clock.seconds += 8
    assert not await taken(caches.buckets)
    caches.clock.seconds += 0.2
    assert await taken(caches.buckets)


async def test_where_one_bucket_lacks_tokens_none_gives_any(caches: Caches) -> None:
    await count(caches.buckets, ("key", "read"))
    await caches.buckets.take([Ask(("key", "read"), TEN), Ask(("project", "read"), TEN)])
    assert await count(caches.buckets, ("project", "read")) == 20


async def test_takes_at_the_same_moment_get_no_more_than_there_is(caches: Caches) -> None:
    levels = await asyncio.gather(*(caches.buckets.take([Ask("a", TEN)]) for _ in range(100)))
    assert sum(not level.wait_seconds for (level,) in levels) == 20


STEPS = st.lists(
    st.tuples(
        st.floats(0, 3),
        st.lists(
            st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=3, unique_by=lambda a: a[0]
        ),
    ),
    min_size=1,
    max_size=12,
)
LIMITS = {"a": Limit(10, 2), "b": Limit(0.5, 1), "c": Limit(1000 / 3, 7)}


@given(steps=STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_redis_counts_as_memory_does(redis_server: RedisServer, steps: list[Any]) -> None:
    async with redis_of(redis_server, Clock()) as (_, made):
        memory = MemoryBuckets(9, made.clock)
        for seconds, wanted in steps:
            made.clock.seconds += seconds
            asks = [Ask(bucket, LIMITS[bucket], tokens) for bucket, tokens in wanted]
            assert _rounded(await made.buckets.take(asks)) == _rounded(await memory.take(asks))


async def test_processes_that_share_redis_give_a_limit_once(redis_server: RedisServer) -> None:
    async with redis_of(redis_server, Clock()) as (client, made):
        other = RedisBuckets(client, "rates", MemoryBuckets(9), made.clock)
        other.processes = 2
        assert await count(made.buckets) + await count(other) == 20


async def test_the_clock_of_redis_fills_buckets_where_none_is_given(redis_server: RedisServer) -> None:
    async with redis_of(redis_server, None) as (_, made):
        fast = Limit(1000, 1)
        assert await taken(made.buckets, 1000, limit=fast)

        async def is_filled() -> bool:
            return await taken(made.buckets, 50, limit=fast)

        await until(is_filled)


def _rounded(levels: list[Level]) -> list[tuple[Limit, float, float]]:
    return [(level.limit, round(level.left, 3), round(level.wait_seconds, 3)) for level in levels]


# ── entries


async def test_an_entry_is_found_once_it_was_put_and_until_its_time_is_over(caches: Caches) -> None:
    entries = caches.entries
    assert await entries.get([b"a", b"b"]) == [None, None]
    entries.put({b"a": b"\x00\xff", b"long": b"1"}, 3.0)
    entries.put({b"long": b"2"}, 60)
    await until(lambda: _holds(entries, b"a", b"\x00\xff"))
    await until(lambda: _holds(entries, b"a", None))
    assert await entries.get([b"b", b"long"]) == [None, b"2"]


async def test_many_entries_are_put_at_once(caches: Caches) -> None:
    many = {b"%d" % n: b"v%d" % n for n in range(3 * REDIS_ENTRIES_AT_ONCE)}
    caches.entries.put(many, 60)
    last = list(many)[-1]
    await until(lambda: _holds(caches.entries, last, many[last]))
    assert await caches.entries.get(list(many)) == list(many.values())


async def test_memory_forgets_what_was_put_first_when_it_is_full() -> None:
    entries = MemoryEntries(2)
    entries.put({b"a": b"1", b"b": b"2", b"c": b"3"}, 60)
    assert await entries.get([b"a", b"b", b"c"]) == [None, b"2", b"3"]


async def _holds(entries: Entries, key: bytes, value: bytes | None) -> bool:
    return await entries.get([key]) == [value]


# ── fan-out


async def test_what_is_told_is_heard_in_order_by_all_who_have_subscribed(caches: Caches) -> None:
    async with caches.fan_out.subscribed("a") as one, caches.fan_out.subscribed("a") as two:
        for n in range(100):
            caches.fan_out.publish("a", b"%d" % n)
            caches.fan_out.publish("b", b"for others")
        expected: list[Heard] = [b"%d" % n for n in range(100)]
        assert await heard(one, 100) == expected
        assert await heard(two, 100) == expected


async def test_who_has_left_hears_no_more_and_may_come_back(caches: Caches) -> None:
    async with caches.fan_out.subscribed("a") as left:
        caches.fan_out.publish("a", b"1")
        assert await heard(left, 1) == [b"1"]
    async with caches.fan_out.subscribed("a") as back:
        caches.fan_out.publish("a", b"2")
        assert await heard(back, 1) == [b"2"]
    assert not left._waiting


async def test_who_is_too_slow_is_told_a_gap_and_hears_what_comes_after(caches: Caches) -> None:
    async with caches.fan_out.subscribed("slow") as slow, caches.fan_out.subscribed("end") as end:
        for _ in range(FANOUT_WAITING_MAX + 1):
            slow.offer(b"early")
        caches.fan_out.publish("slow", b"late")
        caches.fan_out.publish("end", b"")
        await heard(end, 1)
        assert [await anext(slow), await anext(slow)] == [GAP, b"late"]


async def test_processes_that_share_redis_hear_each_other(redis_server: RedisServer) -> None:
    async with redis_of(redis_server, None) as (client, made):
        other = RedisFanOut(client)
        listening = asyncio.create_task(other.run())
        async with made.fan_out.subscribed("a") as one, other.subscribed("a") as two:
            await _connected(one, two)
            other.publish("a", b"1")
            assert await heard(one, 1) == [b"1"]
            assert await heard(two, 1) == [b"1"]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _connected(*subscriptions: Subscription) -> None:
    """Wait until these hear what is told in Redis: the gap before it is told them then."""
    for subscription in subscriptions:
        assert await anext(subscription) is GAP


async def heard(subscription: Subscription, messages: int) -> list[Heard]:
    """What is heard next, without the gap of whoever has just begun to listen."""
    found: list[Heard] = []
    async with asyncio.timeout(60):
        while len(found) < messages:
            message = await anext(subscription)
            if message is not GAP:
                found.append(message)
    return found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds, with a deadline."""
    deadline = time.monotonic() + 60
    while not await holds():
        assert time.monotonic() < deadline, "the condition did not come to hold in time"
        await asyncio.sleep(0.005)
