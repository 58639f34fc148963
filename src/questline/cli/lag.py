"""`questline lag`: how much waits, in the log and in the queue; for moving from one carrier to another, and for scripts."""

import asyncio
import time
from typing import Annotated

import msgspec
import typer

from questline.assembly_kafka import topic_of
from questline.cli.database import NoDatabase, app_dsn, not_reached
from questline.cli.output import console, errors, fail
from questline.model.limits import BACKLOG_COUNTED_MAX
from questline.settings import CannotStart, SettingError, Settings, load
from questline.store import kafka_offsets, outbox
from questline.store.faults import OUTSIDE_FAULTS
from questline.store.pool import close, connect

_LOOK_AGAIN_SECONDS = 0.5


class Lag(msgspec.Struct, frozen=True):
    """What waits. `logged` None: no log is set."""

    queued: int  # counted up to a bound
    logged: int | None
    rejected: int = 0
    replicas: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits in the log."""
        return not self.logged


async def measure(settings: Settings) -> Lag:
    """Return what waits; raises NoDatabase, CannotStart, or what tells that PostgreSQL or Kafka cannot be reached."""
    conn = await connect(app_dsn(settings))
    try:
        queued, _ = await outbox.backlog(conn, BACKLOG_COUNTED_MAX)
        if not settings.kafka_servers:
            return Lag(queued, None)
        topic = topic_of(settings)
        from questline.transport.kafka_topic import standing

        found = await asyncio.to_thread(standing, topic)  # before what was taken in is read: more cannot wait than this
        await kafka_offsets.check(conn, topic.name, found.topic_id)
        taken = await kafka_offsets.read(conn, topic.name)
        rejected = await kafka_offsets.rejects(conn, topic.name)
        logged = sum(max(0, end - taken.get(number, 0)) for number, end in found.ends.items())
        return Lag(queued, logged, rejected, found.replicas)
    finally:
        await close(conn)


def lag(
    wait: Annotated[int, typer.Option(help="Wait so many seconds until nothing is left in the log.", min=0)] = 0,
) -> None:
    """Say how much waits: records in Kafka's log that no worker has taken in, and events in the queue.

    Exit code 1: something is left in the log. Kafka is looked at where QUESTLINE_KAFKA_SERVERS is set, whatever the transport.
    """
    try:
        settings = load()
    except SettingError as error:
        raise fail(str(error)) from error
    deadline = time.monotonic() + wait
    while True:
        try:
            found = asyncio.run(measure(settings))
        except (NoDatabase, CannotStart) as error:
            raise fail(str(error)) from error
        except OUTSIDE_FAULTS as error:
            raise fail(not_reached(error)) from error
        except Exception as error:
            if time.monotonic() >= deadline:
                raise fail(f"Kafka cannot be looked at: {error}") from error
        else:
            if found.is_settled or time.monotonic() >= deadline:
                break
        time.sleep(_LOOK_AGAIN_SECONDS)
    if found.logged is not None:
        console.print(f"{found.logged:,} records wait in the log", highlight=False)
    console.print(f"{found.queued:,} events wait in the queue", highlight=False)
    if found.rejected:
        errors.print(f"{found.rejected:,} records were no events; they are in kafka_rejects", highlight=False)
    if not found.is_settled:
        raise typer.Exit(1)
