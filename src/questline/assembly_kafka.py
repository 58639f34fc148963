"""The part of the composition root that builds the log: its writer for the API, its reader for workers."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from questline.settings import CannotStart, Settings, variable_of
from questline.transport.kafka_places import Places

if TYPE_CHECKING:
    from questline.transport.kafka_feed import Feed
    from questline.transport.kafka_log import KafkaLog
    from questline.transport.kafka_topic import Topic


def topic_of(settings: Settings) -> "Topic":
    """Return where the log is; raises CannotStart for what lacks, or cannot be."""
    servers, options = variable_of("kafka_servers"), variable_of("kafka_options")
    if not settings.kafka_servers:
        raise CannotStart(f"{servers} is not set, and {variable_of('transport')} is kafka: say where the brokers are")
    try:
        from questline.transport.kafka_topic import Topic, options_of
    except ImportError as error:
        message = (
            f"{variable_of('transport')} is kafka, and its client is not installed: pip install 'questline[kafka]'"
        )
        raise CannotStart(message) from error
    try:
        given = options_of(settings.kafka_options)
    except ValueError as error:
        raise CannotStart(f"{options} cannot be used: {error}") from None
    return Topic(
        settings.kafka_servers, settings.kafka_topic, given, settings.event_bytes_max, settings.kafka_partitions
    )


async def open_log(settings: Settings) -> "KafkaLog":
    """Return the open writer of the log; brokers that do not answer yet are waited for beside. Raises CannotStart."""
    topic = topic_of(settings)
    from questline.transport.kafka_log import KafkaLog
    from questline.transport.kafka_topic import WrongTopic

    opened = KafkaLog(topic, settings.accept_queue_bytes)
    try:
        await opened.open()
    except WrongTopic as error:
        named = f"{variable_of('kafka_topic')} and {variable_of('kafka_partitions')}"
        raise CannotStart(f"{named} cannot be used together: {error}") from None
    except ValueError as error:
        raise CannotStart(f"{variable_of('kafka_options')} cannot be used: {error}") from None
    return opened


def build_feed(settings: Settings, registry: CollectorRegistry, now: Callable[[], datetime]) -> "Feed | None":
    """Return the reader of the log for a worker, None where there is no log. Raises CannotStart."""
    if settings.transport != "kafka":
        return None
    topic = topic_of(settings)
    from questline.transport.kafka_feed import Feed

    return Feed(topic, Places(settings.dsn, topic.name, now), settings.lanes, registry)
