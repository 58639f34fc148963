"""How far each partition of the Kafka log has been taken in, and the records that could not be."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("kafka_offsets")

_MESSAGE_CHARS_MAX = 1_000


class TopicReplaced(Exception):
    """The topic is another one of the same name; the message says what to do."""


class Move(msgspec.Struct, frozen=True):
    """A partition goes on from the offset that its reader believes it is at to another; `current_at` is of the record before."""

    partition: int
    expected: int
    next_offset: int
    current_at: datetime


async def check(conn: Connection, topic: str, topic_id: str | None) -> None:
    """Raise TopicReplaced unless the offsets are of the topic with this id; None: the brokers know no ids."""
    if topic_id is not None and (other := await conn.fetchval(SQL["other_id"], topic, topic_id)) is not None:
        raise TopicReplaced(
            f"the topic {topic!r} was deleted and made anew: its id is {topic_id}, and the offsets in kafka_offsets are of"
            f" {other}. Nothing of it is read, for its first records would be passed over. How to begin with it:"
            " docs/how-to/kafka.md, 'A topic that was made anew'"
        )


async def opened(conn: Connection, topic: str, partitions: Sequence[int], topic_id: str | None) -> dict[int, int]:
    """Return where to go on in each of these partitions; one that was never read begins with its first record.

    Offsets of which nobody has noted the topic's id are this one's from now on. Raises TopicReplaced.
    """
    await check(conn, topic, topic_id)
    if topic_id is not None:
        await conn.execute(SQL["identify"], topic, topic_id)
    await conn.execute(SQL["open"], topic, partitions, topic_id)
    return dict(await conn.fetch(SQL["read"], topic, partitions))


async def read(conn: Connection, topic: str) -> dict[int, int]:
    """Return where to go on in each partition that was ever read."""
    return dict(await conn.fetch(SQL["all"], topic))


async def advance(conn: Connection, topic: str, moves: Sequence[Move]) -> bool:
    """Move the partitions on in the caller's transaction; False: one is elsewhere, and the transaction must not commit."""
    rows = await conn.fetch(
        SQL["advance"],
        topic,
        [m.partition for m in moves],
        [m.expected for m in moves],
        [m.next_offset for m in moves],
        [m.current_at for m in moves],
    )
    return len(rows) == len(moves)


async def note_current(conn: Connection, topic: str, offsets: Mapping[int, int], at: datetime) -> None:
    """Note that partitions which were taken in up to these offsets ended there at a time."""
    await conn.execute(SQL["note_current"], topic, list(offsets), list(offsets.values()), at)


async def waits_from_before(conn: Connection, topic: str, partitions: int, at: datetime) -> bool:
    """Tell whether a record that was written before a time may be waiting in the log, which has so many partitions."""
    found: bool = await conn.fetchval(SQL["waits_from_before"], topic, partitions, at)
    return found


async def oldest(conn: Connection, topic: str) -> datetime | None:
    """Return since when what was written may wait; None: no partition was read, or one never to its end."""
    found: datetime | None = await conn.fetchval(SQL["oldest"], topic)
    return found


async def reject(
    conn: Connection, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, why: str, at: datetime
) -> None:  # fmt: skip
    """Keep a record that cannot become an event, as it is."""
    message = why[:_MESSAGE_CHARS_MAX].replace("\0", "�")
    await conn.execute(SQL["reject"], topic, partition, offset, key, value, message, at)


async def rejects(conn: Connection, topic: str) -> int:
    """Return how many records were rejected."""
    found: int = await conn.fetchval(SQL["rejects"], topic)
    return found
