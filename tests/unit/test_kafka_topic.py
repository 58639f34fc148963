"""The topic is looked at while its partitions change their leaders."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from questline.transport import kafka_topic
from questline.transport.kafka_topic import Topic, Unreachable, standing

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
