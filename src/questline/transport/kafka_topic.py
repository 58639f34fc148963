"""The topic that holds the log: declared by us, and looked at by who watches it."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from questline.model.limits import (
    KAFKA_PARTITIONS,
    KAFKA_REACH_SECONDS,
    KAFKA_RECORD_OVERHEAD_BYTES,
    KAFKA_RETENTION_HOURS,
)

_REPLICAS = 3  # with as many brokers; an acknowledged record is then on two of them
_EXISTS = "TOPIC_ALREADY_EXISTS"
_ASK_AGAIN_SECONDS = 0.1
# A partition changes its leader: the client looks for the new one when it is asked again.
_MOVING = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}


class WrongTopic(Exception):
    """The topic is not as it must be; the message says what to do."""


class Unreachable(Exception):
    """No broker answers."""


class Topic(msgspec.Struct, frozen=True):
    """Where the log is, and of how many partitions; `options` are librdkafka's own, such as those of its authentication."""

    servers: str
    name: str
    options: dict[str, str] = {}
    event_bytes_max: int = 0
    partitions: int = KAFKA_PARTITIONS

    def client(self, **more: Any) -> dict[str, Any]:
        """Return the configuration of a client; keywords are librdkafka's names with _ for the dots."""
        ours = {name.replace("_", "."): value for name, value in more.items()}
        return {
            "bootstrap.servers": self.servers,
            "client.id": "questline",
            "log_level": 2,
            "reconnect.backoff.max.ms": 1_000,
            "socket.keepalive.enable": True,
            "topic.metadata.refresh.interval.ms": 30_000,
            "receive.message.max.bytes": 200_000_000,
            **ours,
            **self.options,
        }

    @property
    def record_bytes_max(self) -> int:
        """The largest record: JSON may be longer in it than what its sender sent."""
        return 2 * self.event_bytes_max + KAFKA_RECORD_OVERHEAD_BYTES


class Standing(msgspec.Struct, frozen=True):
    """How the topic is: copies of each record, and the offsets of the next record of each partition."""

    replicas: int
    ends: dict[int, int]
    topic_id: str | None


def options_of(text: str) -> dict[str, str]:
    """Return the options of `name=value,name=value`; ValueError for what is none."""
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError("use name=value, with commas between them")
        options[name.strip()] = value.strip()
    return options


def declare(topic: Topic) -> None:
    """Make the topic unless it is there. Blocks; raises Unreachable, or WrongTopic where it is not as it must be."""
    admin = admin_of(topic)
    try:
        found = admin.list_topics(timeout=KAFKA_REACH_SECONDS)
        if topic.name not in found.topics:
            replicas = min(_REPLICAS, len(found.brokers))
            _make(admin, topic, replicas)
            found = admin.list_topics(topic.name, timeout=KAFKA_REACH_SECONDS)
        partitions = len(found.topics[topic.name].partitions)
    except KafkaException as fault:
        raise Unreachable(str(fault)) from fault
    if partitions not in (0, topic.partitions):  # 0: made this moment, and not told of everywhere
        raise WrongTopic(
            f"the topic {topic.name!r} has {partitions} partitions and the settings say {topic.partitions}; a user's partition"
            " must not move: set the number to the topic's, or choose another name"
        )


def standing(topic: Topic) -> Standing:
    """Return how the topic is, once no leader is changing. Blocks; raises Unreachable, or WrongTopic where there is none."""
    admin, deadline = admin_of(topic), time.monotonic() + KAFKA_REACH_SECONDS
    while True:
        try:
            return _look(admin, topic)
        except KafkaException as fault:
            if fault.args[0].code() not in _MOVING or time.monotonic() >= deadline:
                raise Unreachable(str(fault)) from fault
        time.sleep(_ASK_AGAIN_SECONDS)


def _look(admin: AdminClient, topic: Topic) -> Standing:
    # All topics: to ask for one by name makes it, with too few partitions, where brokers make topics by themselves.
    found = admin.list_topics(timeout=KAFKA_REACH_SECONDS).topics.get(topic.name)
    if found is None or found.error is not None:
        raise WrongTopic(f"there is no topic {topic.name!r} yet; an API or a worker makes it when it starts")
    ends = ends_of(admin, topic.name, list(found.partitions))
    topic_id = id_of(admin, topic.name)
    return Standing(min((len(p.replicas) for p in found.partitions.values()), default=0), ends, topic_id)


def admin_of(topic: Topic) -> AdminClient:
    """Return a client that asks about the topic."""
    return AdminClient(topic.client(socket_timeout_ms=int(KAFKA_REACH_SECONDS * 1000)))


def id_of(admin: AdminClient, name: str) -> str | None:
    """Return the topic's id as Kafka's tools write it, None where the brokers know none. Blocks; raises KafkaException."""
    asked = admin.describe_topics(TopicCollection([name]), request_timeout=KAFKA_REACH_SECONDS)
    found = asked[name].result(KAFKA_REACH_SECONDS).topic_id
    halves = found.get_most_significant_bits(), found.get_least_significant_bits()
    if not any(halves):
        return None
    return urlsafe_b64encode(b"".join(half.to_bytes(8, "big", signed=True) for half in halves)).decode().rstrip("=")


def ends_of(admin: AdminClient, name: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the offset of the next record of each partition. Blocks; raises KafkaException."""
    wanted = {TopicPartition(name, number): OffsetSpec.latest() for number in partitions}
    if not wanted:
        return {}
    found = admin.list_offsets(wanted, request_timeout=KAFKA_REACH_SECONDS)
    return {place.partition: future.result(KAFKA_REACH_SECONDS).offset for place, future in found.items()}


def _make(admin: AdminClient, topic: Topic, replicas: int) -> None:
    config = {
        "min.insync.replicas": str(max(1, replicas - 1)),
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(KAFKA_RETENTION_HOURS * 3_600_000),
        "max.message.bytes": str(max(topic.record_bytes_max, 1_048_588)),
    }
    new = NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=replicas, config=config)
    try:
        admin.create_topics([new], operation_timeout=KAFKA_REACH_SECONDS)[topic.name].result(KAFKA_REACH_SECONDS)
    except KafkaException as fault:
        if fault.args[0].name() != _EXISTS:  # another process makes it at the same time
            raise
