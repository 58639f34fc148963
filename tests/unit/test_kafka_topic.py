"""The topic is looked at while its partitions change their leaders."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from questline.ingest.envelope import Normaliser
from questline.model.event import AcceptedEvent
from questline.model.principal import Project
from questline.store.ids import EventIds
from questline.transport import kafka_topic
from questline.transport.kafka_records import encoded
from questline.transport.kafka_topic import Topic, Unreachable, standing

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROJECT = Project(1, 1, "app", "App", "UTC", 0)
TOPIC = Topic("localhost:1", "events")


class Brokers:
    """An admin client whose offsets can be read once `faults` have been told: no broker changes a leader at a test's wish."""

    def __init__(self, *faults: int) -> None:
        self.faults = list(faults)

    def list_topics(self, timeout: float) -> Any:
        partition = SimpleNamespace(replicas=[1, 2, 3])
        return SimpleNamespace(topics={"events": SimpleNamespace(error=None, partitions={0: partition})})


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    brokers = Brokers()

    def ends_of(admin: Brokers, name: str, partitions: list[int]) -> dict[int, int]:
        if admin.faults:
            raise KafkaException(KafkaError(admin.faults.pop(0)))
        return dict.fromkeys(partitions, 7)

    monkeypatch.setattr(kafka_topic, "admin_of", lambda topic: brokers)
    monkeypatch.setattr(kafka_topic, "ends_of", ends_of)
    monkeypatch.setattr(kafka_topic, "id_of", lambda admin, name: "id")
    monkeypatch.setattr(kafka_topic, "_ASK_AGAIN_SECONDS", 0)
    return brokers


def test_leaders_that_change_now_are_waited_for(brokers: Brokers) -> None:
    brokers.faults = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]
    assert standing(TOPIC).ends == {0: 7}


def test_a_leader_that_never_comes_is_told_of(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_topic, "KAFKA_REACH_SECONDS", 0)
    brokers.faults = [KafkaError.LEADER_NOT_AVAILABLE] * 2
    with pytest.raises(Unreachable, match="LEADER_NOT_AVAILABLE"):
        standing(TOPIC)


def test_what_else_brokers_answer_is_told_at_once(brokers: Brokers) -> None:
    brokers.faults = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(Unreachable, match="TOPIC_AUTHORIZATION_FAILED"):
        standing(TOPIC)


@pytest.mark.parametrize(
    ("payload", "context"),
    [
        (b"[" + b"1e9," * 20_000 + b"1]", b"{}"),
        (b'"' + b'\\"' * 45_000 + b'"', b"{}"),
        (b"1", b'{"c":"' + b'\\"' * 45_000 + b'"}'),
        (b'"' + b"x" * 40_000 + b'"', b'{"c":"' + b"\\u0001" * 8_000 + b'"}'),
    ],
)
def test_every_event_that_is_accepted_fits_into_a_record(payload: bytes, context: bytes) -> None:
    limit = 100_000
    text = b'"' + b"\\u0001" * 250 + b'"'
    body = (
        b'{"type":"t","userId":' + text + b',"source":' + text + b',"partitionKey":' + text + b',"idempotencyKey":' + text
        + b',"payload":{"a":' + payload + b'},"context":' + context + b"}"
    )  # fmt: skip
    assert len(body) <= limit
    event = Normaliser(EventIds().new, lambda: NOW, 300, limit).from_json(body, PROJECT)
    topic = Topic("localhost:1", "events", event_bytes_max=limit)
    if isinstance(event, AcceptedEvent):
        assert len(encoded(event)) <= topic.record_bytes_max
    else:
        assert event.reason == "PAYLOAD_TOO_LARGE"
