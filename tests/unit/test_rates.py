"""Limits of requests: buckets fill by the clock, are shared by processes, and belong to who is asking."""

import pytest

from questline.api.addresses import Addresses
from questline.cache.buckets import Ask, Limit, MemoryBuckets
from questline.model.rates import RateLimits, RateOverrides

TEN = Limit(10, 2)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def taken(buckets: MemoryBuckets, tokens: int = 1, bucket: str = "a", limit: Limit = TEN) -> bool:
    levels = await buckets.take([Ask(bucket, limit, tokens)])
    return not levels[0].wait_seconds


async def count(buckets: MemoryBuckets, bucket: str = "a") -> int:
    found = 0
    while await taken(buckets, bucket=bucket):
        found += 1
    return found


async def test_a_bucket_gives_its_room_at_once_and_its_rate_from_then_on() -> None:
    clock = Clock()
    buckets = MemoryBuckets(9, clock)
    assert await count(buckets) == 20
    clock.seconds += 1
    assert await count(buckets) == 10
    clock.seconds += 3600
    assert await count(buckets) == 20


async def test_who_waits_as_long_as_was_said_gets_what_was_wanted() -> None:
    clock = Clock()
    buckets = MemoryBuckets(9, clock)
    await count(buckets)
    levels = await buckets.take([Ask("a", TEN, 5)])
    clock.seconds += levels[0].wait_seconds
    assert await taken(buckets, 5)
    assert not await taken(buckets)


async def test_more_than_a_bucket_holds_is_given_by_a_full_one_which_owes_the_rest() -> None:
    clock = Clock()
    buckets = MemoryBuckets(9, clock)
    assert await taken(buckets, 100)
    clock.seconds += 8
    assert not await taken(buckets)
    clock.seconds += 0.2
    assert await taken(buckets)


async def test_where_one_bucket_lacks_tokens_none_gives_any() -> None:
    buckets = MemoryBuckets(9, Clock())
    await count(buckets, "key")
    await buckets.take([Ask("key", TEN), Ask("project", TEN)])
    assert await count(buckets, "project") == 20


async def test_processes_share_a_limit_and_a_dead_ones_share_returns() -> None:
    clock = Clock()
    buckets = MemoryBuckets(9, clock)
    buckets.processes = 4
    assert await count(buckets) == 5
    buckets.processes = 1
    clock.seconds += 60
    assert await count(buckets) == 20


async def test_asking_without_taking_is_refused_by_an_empty_bucket_alone() -> None:
    buckets = MemoryBuckets(9, Clock())
    assert [await taken(buckets, 0) for _ in range(30)] == [True] * 30
    await count(buckets)
    assert not await taken(buckets, 0)


async def test_the_table_of_buckets_is_bounded_and_forgets_the_longest_unused() -> None:
    buckets = MemoryBuckets(3, Clock())
    for bucket in ("a", "b", "c"):
        await count(buckets, bucket)
    await taken(buckets, bucket="a")
    await taken(buckets, bucket="new")
    assert len(buckets._buckets) == 3
    assert not await taken(buckets, bucket="a")
    assert await taken(buckets, bucket="b")


def test_a_projects_own_limits_win_over_the_settings_where_they_are_given() -> None:
    assert RateOverrides(ingest=5, read=0).over(RateLimits(1, 2, 3, 4)) == RateLimits(5, 2, 0, 4)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # not a proxy of ours: its own word
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client wrote the first itself
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.9", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"),
        ("10.0.0.1", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "no address", "unknown"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6 / 203.0.113.9", "203.0.113.9"),  # a proxy that adds a line, beneath the client's own
        ("10.0.0.1", "6.6.6.6 / 203.0.113.9 / 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9 / 10.0.0.3, 10.0.0.2", "203.0.113.9"),
        ("203.0.113.5", "6.6.6.6 / 198.51.100.1", "203.0.113.5"),
    ],
)
def test_the_address_is_the_nearest_that_no_trusted_proxy_has(peer: str, forwarded: str | None, address: str) -> None:
    lines = [] if forwarded is None else forwarded.split(" / ")
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    scope = {"client": (peer, 1), "headers": headers}
    assert Addresses(["10.0.0.0/8"]).of(scope) == address


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"1.1.1.1")]}
    assert Addresses([]).of(scope) == "10.0.0.1"
    assert Addresses([]).of({"client": None, "headers": []}) == "unknown"
