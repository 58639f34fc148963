"""What `questline doctor` looks at of a Redis."""

import asyncio
import time

import msgspec
from redis.asyncio import Redis

from questline.cache.redis import FAULTS, Gone

_LOOKED_SECONDS = 3.0


class RedisFacts(msgspec.Struct, frozen=True):
    """How a Redis does. `memory_bytes_max` 0: as much as the machine has; `policy` says what it forgets beyond."""

    version: str
    answered_ms: float
    memory_bytes: int
    memory_bytes_max: int
    policy: str
    is_replica: bool


async def look_at(url: str) -> RedisFacts:
    """Return how a Redis does; raises Gone, or ValueError for a URL that is none."""
    redis: Redis = Redis.from_url(url, protocol=2)
    try:
        async with asyncio.timeout(_LOOKED_SECONDS):
            info = await redis.info()
            started = time.perf_counter()
            await redis.ping()
            answered_ms = (time.perf_counter() - started) * 1000
    except FAULTS as fault:
        raise Gone(f"{type(fault).__name__}: {fault}") from fault
    finally:
        await redis.aclose()
    return RedisFacts(
        str(info["redis_version"]),
        answered_ms,
        int(info["used_memory"]),
        int(info.get("maxmemory", 0)),
        str(info.get("maxmemory_policy", "noeviction")),
        info.get("role") != "master",
    )
