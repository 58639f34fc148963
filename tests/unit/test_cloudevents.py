"""CloudEvents in each content mode become the same event, with its extension attributes as context."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from questline.api.hot.cloud import Mode, cloud_mode
from questline.api.problems import Problem
from questline.ingest import cloudevents
from questline.ingest.envelope import Normaliser, Rejection
from questline.model.event import AcceptedEvent
from questline.model.principal import Project

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROJECT = Project(1, 1, "app", "App", "UTC", 0)
EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "task", "subject": "ada"}


def structured(**more: Any) -> AcceptedEvent | Rejection:
    body = json.dumps({k: v for k, v in (EVENT | more).items() if v is not None}).encode()
    return Normaliser(lambda: UUID(int=1), lambda: NOW, 300).from_form(cloudevents.structured, body, PROJECT)


def binary(body: bytes = b"{}", **headers: str) -> AcceptedEvent | Rejection:
    given = {f"ce-{name}": value for name, value in EVENT.items()} | headers
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return Normaliser(lambda: UUID(int=1), lambda: NOW, 300).from_form(
        lambda content: cloudevents.binary(pairs, content), body, PROJECT
    )


def accepted(event: AcceptedEvent | Rejection) -> AcceptedEvent:
    assert isinstance(event, AcceptedEvent), event
    return event


def test_a_binary_event_is_what_the_structured_one_is() -> None:
    told = structured(time="2026-11-21T11:00:00Z", data={"a": 1}, tenant="blue", traceparent="00-1")
    sent = binary(b'{"a":1}', ce_time="2026-11-21T11:00:00Z", ce_tenant="blue", ce_traceparent="00-1",
                  content_type="application/json")  # fmt: skip
    assert sent == told
    event = accepted(told)
    assert (event.user, event.payload, event.context) == ("ada", '{"a":1}', '{"tenant":"blue","traceparent":"00-1"}')
    assert (event.external_id, event.idempotency_key, event.source) == ("1", "/shop 1", "/shop")
    assert event.occurred_at == datetime(2026, 11, 21, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "payload"),
    [
        ({}, {}), ({"data": {"a": [1]}}, {"a": [1]}), ({"data": 7}, {"data": 7}), ({"data": "x"}, {"data": "x"}),
        ({"data_base64": base64.b64encode(b"\0").decode()}, {"data_base64": "AA=="}),
        ({"data_base64": base64.b64encode(b'{"a":1}').decode(), "datacontenttype": "application/json"}, {"a": 1}),
    ],
)  # fmt: skip
def test_data_is_the_payload(more: dict[str, Any], payload: dict[str, Any]) -> None:
    assert json.loads(accepted(structured(**more)).payload) == payload


@pytest.mark.parametrize(
    ("body", "media", "payload"),
    [
        (b"", "application/json", {}), (b"[1]", "application/vnd.x+json; charset=utf-8", {"data": [1]}),
        (b"<a/>", "text/xml", {"data": "<a/>"}), ("ü".encode(), "text/plain", {"data": "ü"}),
        (b"\0", "image/png", {"data_base64": "AA=="}),
    ],
)  # fmt: skip
def test_a_binary_body_is_read_by_its_content_type(body: bytes, media: str, payload: dict[str, Any]) -> None:
    assert json.loads(accepted(binary(body, content_type=media)).payload) == payload


def test_header_values_are_percent_encoded() -> None:
    event = accepted(binary(ce_subject="J%C3%BCrgen%20%25", ce_note='"a \\"b\\""'))
    assert (event.user, event.context) == ("Jürgen %", '{"note":"a \\"b\\""}')


@pytest.mark.parametrize(
    ("more", "user"),
    [({}, "ada"), ({"userid": "bob"}, "bob"), ({"subject": None, "entityid": "eve"}, "eve")],
)
def test_the_subject_is_the_user_unless_an_extension_names_one(more: dict[str, Any], user: str) -> None:
    assert accepted(structured(**more)).user == user


def test_source_and_id_together_tell_events_apart() -> None:
    keys = {accepted(structured(source=source, id=id_)).key_hash for source in ("/a", "/b") for id_ in ("1", "2")}
    assert len(keys) == 4
    assert accepted(structured(traceparent="00-2")).content_hash == accepted(structured()).content_hash
    assert accepted(structured(idempotencykey="k")).idempotency_key == "k"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"specversion": "0.3"}, "specversion: must be 1.0"), ({"specversion": None}, "specversion: must be 1.0"),
        ({"id": None}, "id: is missing"), ({"source": ""}, "source: is missing"), ({"type": 7}, "type: is missing"),
        ({"source": "a b"}, "source: is no URI reference"), ({"subject": None}, "userId: is missing"),
        ({"time": "noon"}, "occurredAt: 'noon' is no RFC 3339"), ({"type": "$spend"}, "type: types that begin with '$'"),
        ({"data": 1, "data_base64": "AA=="}, "data: and data_base64"), ({"data_base64": "?"}, "data_base64: is not Base64"),
        ({"data_base64": 5}, "data_base64: is not Base64"), ({"ext": [[[]]] * 3, "subject": 5}, "userId: must be text"),
    ],
)  # fmt: skip
def test_what_is_no_cloudevent_is_told_why(more: dict[str, Any], message: str) -> None:
    event = structured(**more)
    assert isinstance(event, Rejection)
    assert event.message.startswith(message)


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ([], None), ([("content-type", "application/json")], None), ([("ce-specversion", "1.0")], Mode.BINARY),
        ([("content-type", "application/cloudevents+json; charset=utf-8"), ("ce-specversion", "1.0")], Mode.STRUCTURED),
        ([("content-type", "Application/CloudEvents-Batch+JSON")], Mode.BATCH),
    ],
)  # fmt: skip
def test_headers_tell_the_mode(headers: list[tuple[str, str]], mode: Mode | None) -> None:
    assert cloud_mode([(name.encode(), value.encode()) for name, value in headers]) is mode


def test_another_format_than_json_is_refused() -> None:
    with pytest.raises(Problem, match="avro"):
        cloud_mode([(b"content-type", b"application/cloudevents+avro")])
