"""Holding an installation at the moment at which a fault hurts most: batches are half applied, or messages are on their way."""

import asyncio
import contextlib
import random
from collections.abc import Iterator

import asyncpg

from questline.model.limits import RELAY_LANES

from .cluster import READY_SECONDS_MAX, Cluster

_WAITS_SECONDS_MAX = 3.0
_OTHERS_SECONDS = 0.2  # until lanes that are a little behind stand still as well

_LANES_OF_TWO_RELAYS = RELAY_LANES + 1  # at least
_LANES_ON_THEIR_WAY = "SELECT count(DISTINCT relay_owner) FROM outbox WHERE relay_state = 'in_flight'"
_HOLD = "BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE transfers IN EXCLUSIVE MODE"
_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'transfers'::regclass)"


@contextlib.contextmanager
def in_mid_batch(cluster: Cluster) -> Iterator[None]:
    """Let batches stop where they write transfers, until the block is left. Other faults are ended first."""
    cluster.wait_until_ready()
    with asyncio.Runner() as runner:
        held: list[asyncpg.Connection] = []
        cluster.tend_until(lambda: runner.run(_hold(cluster, held)), READY_SECONDS_MAX, "batches can be held")
        (conn,) = held
        try:
            with contextlib.suppress(TimeoutError):  # senders may all be waiting for something else
                cluster.tend_until(lambda: runner.run(conn.fetchval(_WAITS)), _WAITS_SECONDS_MAX, "a batch is held")
            cluster.tend_for(_OTHERS_SECONDS)
            yield
        finally:
            runner.run(conn.close())


@contextlib.contextmanager
def with_messages_on_their_way(cluster: Cluster) -> Iterator[None]:
    """Let both relays wait for a broker that has not heard them; when the block is left, what they sent is lost."""
    cluster.wait_until_ready()
    door = cluster.carrier_doors["rabbitmq"]
    with asyncio.Runner() as runner:
        conn = runner.run(cluster.owner())
        door.freeze()
        try:
            with contextlib.suppress(TimeoutError):
                cluster.tend_until(
                    lambda: runner.run(conn.fetchval(_LANES_ON_THEIR_WAY)) >= _LANES_OF_TWO_RELAYS,
                    _WAITS_SECONDS_MAX, "messages are on their way",
                )  # fmt: skip
            yield
        finally:
            door.cut(random.Random(), 1.0)
            door.thaw()
            runner.run(conn.close())


async def _hold(cluster: Cluster, held: list[asyncpg.Connection]) -> bool:
    """Hold batches on a new connection past the doors; False where PostgreSQL is not there yet."""
    try:
        conn = await cluster.owner()
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        await conn.execute(_HOLD)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        conn.terminate()
        return False
    held.append(conn)
    return True
