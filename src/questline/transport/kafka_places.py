"""Where a worker goes on in the log, as PostgreSQL knows it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from questline.store import kafka_offsets
from questline.store.pool import close, connect


class Places:
    """Reads and notes offsets of one topic, on a connection for each call: they are seldom."""

    def __init__(self, dsn: str, topic: str, now: Callable[[], datetime]) -> None:
        self._dsn = dsn
        self._topic = topic
        self.now = now

    async def of(self, partitions: Sequence[int], topic_id: str | None) -> dict[int, int]:
        """Return where to go on in these partitions; raises TopicReplaced where the offsets are of another topic."""
        conn = await connect(self._dsn)
        try:
            return await kafka_offsets.opened(conn, self._topic, partitions, topic_id)
        finally:
            await close(conn)

    async def note_current(self, offsets: Mapping[int, int], at: datetime) -> None:
        """Note that partitions taken in up to these offsets ended there at a time."""
        conn = await connect(self._dsn)
        try:
            await kafka_offsets.note_current(conn, self._topic, offsets, at)
        finally:
            await close(conn)
