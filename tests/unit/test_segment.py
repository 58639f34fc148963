"""Segment's messages become events: each kind of its own type, with the times corrected by the sender's clock."""

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from questline.ingest import segment
from questline.ingest.envelope import Normaliser, Rejection
from questline.model.event import AcceptedEvent
from questline.model.limits import EVENT_BYTES_MAX
from questline.model.principal import Project

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROJECT = Project(1, 1, "app", "App", "UTC", 0)


def read(message: dict[str, Any], sent_at: Any = None, context: Any = None) -> AcceptedEvent | Rejection:
    form = partial(segment.read, None, sent_at, context)
    body = json.dumps({"userId": "ada"} | message).encode()
    return Normaliser(lambda: UUID(int=1), lambda: NOW, 300).from_form(form, body, PROJECT)


def event_of(message: dict[str, Any], sent_at: Any = None, context: Any = None) -> AcceptedEvent:
    event = read(message, sent_at, context)
    assert isinstance(event, AcceptedEvent), event
    return event


@pytest.mark.parametrize(
    ("message", "type_", "payload"),
    [
        ({"type": "track", "event": "order", "properties": {"a": 1}}, "order", {"a": 1}),
        ({"type": "track", "event": "order", "properties": None}, "order", {}),
        ({"type": "identify", "traits": {"plan": "gold", "age": None}}, "$profile_update", {"attributes": {"plan": "gold", "age": None}}),
        ({"type": "identify", "traits": {"displayName": "Ada", "timezone": "UTC"}}, "$profile_update", {"attributes": {}, "displayName": "Ada", "timezone": "UTC"}),
        ({"type": "page", "name": "Home", "category": "Docs", "properties": {"url": "/"}}, "page", {"url": "/", "name": "Home", "category": "Docs"}),
        ({"type": "screen", "name": "Home"}, "screen", {"name": "Home"}),
        ({"type": "group", "groupId": "g", "traits": {"seats": 3}}, "group", {"seats": 3, "groupId": "g"}),
        ({"type": "alias", "previousId": "x"}, "alias", {"previousId": "x"}),
    ],
)  # fmt: skip
def test_each_kind_of_message_is_an_event(message: dict[str, Any], type_: str, payload: dict[str, Any]) -> None:
    event = event_of(message | {"messageId": "m"})
    assert (event.type, json.loads(event.payload), event.user, event.idempotency_key) == (type_, payload, "ada", "m")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"type": "track"}, "type: is missing"), ({"type": "sing"}, "type: must be one of track"), ({}, "type: must be one of"),
        ({"type": "track", "event": "e", "userId": None}, "userId: is missing"), ({"type": "track", "event": "$spend"}, "type: types"),
        ({"type": "track", "event": "e", "properties": []}, "properties: must be an object"),
        ({"type": "track", "event": "e", "context": 1}, "context: must be an object"), ({"type": "group"}, "groupId: is missing"),
        ({"type": "alias"}, "previousId: is missing"), ({"type": "alias", "previousId": "x", "userId": ""}, "userId: is missing"),
        ({"type": "identify", "traits": {"a": [{"b\0": 1}]}}, "payload: of a profile must not hold a NUL"),
        ({"type": "track", "event": "e", "anonymousId": 7}, "anonymousId: must be text"),
        ({"type": "track", "event": "e", "anonymousId": "x\0"}, "anonymousId: must have"),
        ({"type": "track", "event": "e", "userId": None, "anonymousId": "x" * 300}, "userId: is longer"),
        ({"type": "track", "event": "e", "timestamp": "noon"}, "occurredAt: 'noon' is no"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_is_told_why(message: dict[str, Any], why: str) -> None:
    event = read(message)
    assert isinstance(event, Rejection)
    assert event.message.startswith(why)


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "occurred"),
    [
        ("2026-11-21T11:00:00Z", None, "11:00"), ("2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z", "11:00"),
        ("2026-11-21T13:55:00Z", "2026-11-21T14:00:00Z", "11:55"), ("2026-11-21T08:00:00Z", "2026-11-21T09:30:00Z", "10:30"),
        (None, "2026-11-21T09:30:00Z", "12:00"), ("2026-11-21T11:00:00Z", "yesterday", "11:00"),
    ],
)  # fmt: skip
def test_a_clock_that_is_wrong_is_corrected_by_when_it_says_that_the_message_was_sent(
    timestamp: str | None, sent_at: str | None, occurred: str
) -> None:
    event = event_of({"type": "track", "event": "e", "timestamp": timestamp}, sent_at)
    assert event.occurred_at.strftime("%H:%M") == occurred


def test_a_repeat_that_was_sent_later_is_the_same_content() -> None:
    message = {"type": "track", "event": "e", "messageId": "m", "timestamp": "2026-11-21T11:00:00Z"}
    first, again = event_of(message, "2026-11-21T12:00:00Z"), event_of(message, "2026-11-21T11:30:00Z", {"ip": "::1"})
    assert (again.key_hash, again.content_hash) == (first.key_hash, first.content_hash)
    assert again.occurred_at != first.occurred_at


def test_the_context_is_kept_with_the_visitor_and_the_messages_own_counts_over_the_batchs() -> None:
    event = event_of({"type": "track", "event": "e", "anonymousId": "v", "context": {"a": 1}}, None, {"a": 0, "b": 2})
    assert json.loads(event.context or "") == {"a": 1, "b": 2, "anonymousId": "v"}


def test_what_a_batchs_context_makes_of_a_message_is_bounded_as_any_event_is() -> None:
    message = {"type": "track", "event": "e", "properties": {"x": "x" * (EVENT_BYTES_MAX - 10_000)}}
    assert isinstance(read(message, None, {"a": "x" * 9_000}), AcceptedEvent)
    rejected = read(message, None, {"a": "x" * 11_000})
    assert isinstance(rejected, Rejection)
    assert rejected.reason == "PAYLOAD_TOO_LARGE"


def test_a_visitor_without_a_name_is_told_from_one_with() -> None:
    told = [event_of({"type": "track", "event": "e", "anonymousId": "v", "userId": u}) for u in ("ada", None, "", "v")]
    assert [(e.user, e.anonymous_id, e.is_anonymous) for e in told] == [
        ("ada", "v", False), ("v", "v", True), ("v", "v", True), ("v", "v", False),
    ]  # fmt: skip
