"""What an installation has beside PostgreSQL: the broker of its transport, a Redis, and a door before each of them."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import KafkaException

from questline.store import kafka_offsets
from questline.transport.kafka_topic import Topic, Unreachable, admin_of, standing
from tests.services import Service, free_port
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import RedisServer

from .door import Door

_ANSWERS_SECONDS = 30.0
TRANSPORTS = ("postgres", "rabbitmq", "kafka")

# The times after which the dead are replaced, so that a run of seconds sees it happen often.
SHORT_TIMES = {
    "postgres": "",
    "rabbitmq": "LEASE_SECONDS=2.5,LEASE_RENEW_SECONDS=0.7,RELAY_LEASE_SECONDS=3,RELAY_UNAPPLIED_SECONDS=8,"
    "RELAY_UNAPPLIED_SECONDS_MAX=8,RELAY_LOOKED_SECONDS=1,RELAY_CONFIRM_SECONDS=3,RABBITMQ_HEARTBEAT_SECONDS=4",
    "kafka": "LEASE_SECONDS=2.5,LEASE_RENEW_SECONDS=0.7,KAFKA_SESSION_SECONDS=2,KAFKA_HANDOVER_SECONDS=1,"
    "KAFKA_DELIVERY_SECONDS=2.5",
}


class Carriers:
    """The servers that carry and speed up an installation, started already; without arguments: none, PostgreSQL carries."""

    def __init__(
        self,
        transport: str = "postgres",
        services: dict[str, Service] | None = None,
        *,
        advertised_port: int | None = None,
        limits: str = "",
    ) -> None:
        """`services` are the broker under its transport's name, and Redis. `limits` are those of child.py."""
        self.transport = transport
        self.services = services or {}
        self.limits = limits
        self._advertised_port = advertised_port

    @property
    def beside(self) -> Sequence[tuple[str, str]]:
        """The processes of ours beside the API and workers: names and commands."""
        return [("relay-1", "relay"), ("relay-2", "relay")] if self.transport == "rabbitmq" else []

    @property
    def is_log_first(self) -> bool:
        """Whether events are acknowledged before PostgreSQL has them."""
        return self.transport == "kafka"

    def doors(self) -> dict[str, Door]:
        """Return a new door before each of the servers."""
        ports = {"kafka": self._advertised_port}
        return {
            name: Door.of_port(ports.get(name) or free_port(), service.port) for name, service in self.services.items()
        }

    async def waiting(self, conn: asyncpg.Connection, installation: str) -> int:
        """Return how many records wait in the log, beside what PostgreSQL knows of."""
        if not self.is_log_first:
            return 0
        topic = Topic(f"127.0.0.1:{self._advertised_port}", installation)
        try:
            ends = (await asyncio.to_thread(standing, topic)).ends
        except Unreachable:
            return 1
        places = await kafka_offsets.read(conn, installation)
        return sum(end - places.get(partition, 0) for partition, end in ends.items())

    def group_size(self, installation: str) -> int:
        """Return how many consumers the log's partitions are dealt to; 0 while that is being settled, or nobody answers."""
        admin = admin_of(Topic(f"127.0.0.1:{self._advertised_port}", installation))
        try:
            group = admin.describe_consumer_groups([installation])[installation].result(_ANSWERS_SECONDS)
        except (KafkaException, TimeoutError, concurrent.futures.TimeoutError):
            return 0
        return sum(bool(member.assignment and member.assignment.topic_partitions) for member in group.members)

    def settings(self, installation: str, doors: dict[str, Door]) -> dict[str, Any]:
        """Return the settings of processes that come through these doors. Installations share the servers and nothing on them."""
        given: dict[str, Any] = {"transport": self.transport}
        if self.transport == "rabbitmq":
            given["rabbitmq_url"] = f"amqp://guest:guest@127.0.0.1:{doors['rabbitmq'].port}/"
        if self.transport == "kafka":
            given |= {"kafka_servers": f"127.0.0.1:{doors['kafka'].port}", "kafka_topic": installation}
        if "redis" in doors:
            given["redis_url"] = f"redis://127.0.0.1:{doors['redis'].port}/0"
        return given


@contextlib.contextmanager
def started(directory: Path, transport: str, *, redis: bool = False, short_times: bool = True) -> Iterator[Carriers]:
    """Start what a transport needs, and Redis if wanted; all of it may be killed."""
    advertised = free_port() if transport == "kafka" else None
    services: dict[str, Service] = {}
    if transport == "rabbitmq":
        services["rabbitmq"] = RabbitMQ(directory / "rabbitmq")
    if transport == "kafka":
        services["kafka"] = Kafka(directory / "kafka", advertised_port=advertised)
    if redis:
        services["redis"] = RedisServer(directory / "redis")
    try:
        for service in services.values():
            service.start()
        for service in services.values():
            service.wait_until_ready()
        limits = SHORT_TIMES[transport] if short_times else ""
        yield Carriers(transport, services, advertised_port=advertised, limits=limits)
    finally:
        for service in services.values():
            service.stop()


def lacking(transport: str, *, redis: bool = False) -> str | None:
    """Return what the machine lacks to run them, None when it has all."""
    wanted: list[type[Service]] = [RedisServer] if redis else []
    wanted += {"rabbitmq": [RabbitMQ], "kafka": [Kafka]}.get(transport, [])
    return next((lacks for service in wanted if (lacks := service.lacks())), None)
