"""The envelope: what clients send becomes one canonical event, or a rejection that names the field."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from questline.ingest.envelope import Invalid, Normaliser, Rejection
from questline.model.event import SPEND, AcceptedEvent
from questline.model.hashing import (
    command_key_hash,
    event_id_hash,
    full_hash,
    given_key_hash,
    intent_hash,
    public_hash,
)
from questline.model.limits import (
    COMMAND_BODY_BYTES_MAX,
    EVENT_BYTES_MAX,
    KEY_CHARS_MAX,
    PAYLOAD_DEPTH_MAX,
    SHORT_TEXT_CHARS_MAX,
    USER_ID_CHARS_MAX,
)
from questline.model.principal import DedupeStrategy, Project
from questline.model.reasons import Reason

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROJECT = Project(1, 1, "app", "App", "UTC", 0)
INTENT = Project(1, 1, "app", "App", "UTC", 0, DedupeStrategy.INTENT, 60)


class Ids:
    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)


@pytest.fixture
def normaliser() -> Normaliser:
    return Normaliser(Ids(), lambda: NOW, 300)


def accepted(normaliser: Normaliser, fields: dict[str, Any], **more: Any) -> AcceptedEvent:
    event = normaliser.from_json(json.dumps({"type": "t", "userId": "u"} | fields).encode(), PROJECT, **more)
    assert isinstance(event, AcceptedEvent), event
    return event


def raw(normaliser: Normaliser, body: bytes, project: Project = PROJECT) -> AcceptedEvent | Rejection:
    return normaliser.from_json(body, project)


# ── aliases


@pytest.mark.parametrize(
    ("canonical", "aliases"),
    [
        ("type", ["eventType", "event"]),
        ("userId", ["subject", "entityId"]),
        ("payload", ["metadata", "properties", "traits", "data"]),
        ("occurredAt", ["timestamp", "time"]),
        ("idempotencyKey", ["messageId"]),
    ],
)
def test_an_alias_means_what_the_canonical_name_means_and_never_counts_over_it(
    normaliser: Normaliser, canonical: str, aliases: list[str]
) -> None:
    full = {
        "type": "t", "userId": "u", "payload": {"a": 1}, "occurredAt": "2026-01-01T00:00:00Z", "idempotencyKey": "k",
    }  # fmt: skip
    wanted = _identity(accepted(normaliser, full))
    for alias in aliases:
        renamed = {alias if name == canonical else name: value for name, value in full.items()}
        event = raw(normaliser, json.dumps(renamed).encode())
        assert isinstance(event, AcceptedEvent), (alias, event)
        assert _identity(event) == wanted
        # An alias beside the canonical name is not even looked at: it may mean something else there.
        assert _identity(accepted(normaliser, full | {alias: ["something", "else"]})) == wanted


def _identity(event: AcceptedEvent) -> tuple[Any, ...]:
    return event.type, event.user, event.payload, event.occurred_at, event.key_hash, event.content_hash


def test_null_is_the_same_as_absent(normaliser: Normaliser) -> None:
    event = accepted(normaliser, {"payload": None, "source": None, "eventId": None, "event": "x", "occurredAt": None})
    assert (event.payload, event.source, event.external_id, event.occurred_at) == ("{}", None, None, NOW)


# ── payloads


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b'{ "a" : 1 ,\n "b" : [ 1 , 2 ] }', '{"a":1,"b":[1,2]}'),
        (b'{"b":1,"a":2}', '{"b":1,"a":2}'),
        (b'{"a":1,"a":2}', '{"a":2}'),
        (b'{"n":123456789012345678901234567890}', '{"n":123456789012345678901234567890}'),
        (b'{"n":-9223372036854775809}', '{"n":-9223372036854775809}'),
        (b'{"s":"\\u0000"}', '{"s":"\\u0000"}'),
        (b'{"s":"\\ud83c\\udf89"}', '{"s":"🎉"}'),
        ('{"ключ":"日本"}'.encode(), '{"ключ":"日本"}'),
        (b"{}", "{}"),
    ],
)
def test_a_payload_is_kept_as_it_was_sent_without_its_spaces(normaliser: Normaliser, sent: bytes, stored: str) -> None:
    event = raw(normaliser, b'{"type":"t","userId":"u","payload":' + sent + b"}")
    assert isinstance(event, AcceptedEvent), event
    assert event.payload == stored


def _nested(levels: int) -> bytes:
    """A payload of so many levels of objects."""
    return b'{"type":"t","userId":"u","payload":' + b'{"a":' * (levels - 1) + b"{}" + b"}" * levels


def test_a_payload_may_be_nested_as_deep_as_allowed_and_no_deeper(normaliser: Normaliser) -> None:
    assert isinstance(raw(normaliser, _nested(PAYLOAD_DEPTH_MAX)), AcceptedEvent)
    deeper = raw(normaliser, _nested(PAYLOAD_DEPTH_MAX + 1))
    assert deeper == Rejection("INVALID_ENVELOPE", "payload: is nested deeper than 32 levels", "payload")
    abyss = raw(normaliser, _nested(100_000))
    assert abyss == Rejection("INVALID_ENVELOPE", "the event is nested too deeply")


def test_brackets_within_texts_are_no_depth(normaliser: Normaliser) -> None:
    assert json.loads(accepted(normaliser, {"payload": {"a": "[{" * 100}}).payload) == {"a": "[{" * 100}


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"payload": {"a": "x" * (EVENT_BYTES_MAX - 8)}}, True),
        ({"payload": {"a": "x" * (EVENT_BYTES_MAX - 7)}}, False),
        ({"payload": {"a": "é" * (EVENT_BYTES_MAX // 2)}}, False),
        ({"payload": {"a": "x" * 200_000}, "context": {"b": "x" * 60_000}}, True),
        ({"payload": {"a": "x" * 200_000}, "context": {"b": "x" * 63_000}}, False),
    ],
)
def test_what_is_stored_of_an_event_is_bounded_with_its_context(
    normaliser: Normaliser, fields: dict[str, Any], fits: bool
) -> None:
    event = raw(normaliser, json.dumps({"type": "t", "userId": "u"} | fields).encode())
    assert fits if isinstance(event, AcceptedEvent) else event.reason == "PAYLOAD_TOO_LARGE" and not fits


def test_numbers_that_are_longer_once_they_are_written_out_are_bounded_as_they_are_stored(
    normaliser: Normaliser,
) -> None:
    body = b'{"type":"t","userId":"u","payload":{"a":[' + b"1e9," * 50_000 + b"1]}}"
    assert len(body) < EVENT_BYTES_MAX
    message = "the event with its context is over 262144 bytes"
    assert raw(normaliser, body) == Rejection("PAYLOAD_TOO_LARGE", message)


def test_a_command_may_be_as_large_as_commands_are_however_small_events_must_be() -> None:
    small = Normaliser(Ids(), lambda: NOW, 300, 1024)
    assert len(small.command("$block", PROJECT, "u", {"reason": "x" * 2_000}, None, None).payload) > 2_000
    with pytest.raises(Invalid):
        small.command("$block", PROJECT, "u", {"reason": "x" * COMMAND_BODY_BYTES_MAX}, None, None)


# ── what is refused


LONG = "x" * 1000


@pytest.mark.parametrize(
    ("body", "reason", "field", "message"),
    [
        (b"", "INVALID_ENVELOPE", "", "the body is no event"),
        (b"nonsense", "INVALID_ENVELOPE", "", "the body is no event"),
        (b"[]", "INVALID_ENVELOPE", "", "got `array`"),
        (b'{"type":"t","userId":"u"} {}', "INVALID_ENVELOPE", "", "trailing characters"),
        (b'{"type":"t","userId":"u","payload":{"a":NaN}}', "INVALID_ENVELOPE", "", "malformed"),
        (b'{"type":"t","userId":"u","payload":{"a":-Infinity}}', "INVALID_ENVELOPE", "", "malformed"),
        (b'{"type":"t","userId":"u","payload":{"a":1e999}}', "INVALID_ENVELOPE", "", "out of range"),
        (b'{"type":"t","userId":"u","payload":{"a":"\\ud800"}}', "INVALID_ENVELOPE", "", "surrogate"),
        (b'{"type":"t","userId":"\xff"}', "INVALID_ENVELOPE", "", "UTF-8"),
        (b'{"userId":"u"}', "INVALID_ENVELOPE", "type", "type: is missing"),
        (b'{"type":"","userId":"u"}', "INVALID_ENVELOPE", "type", "type: is empty"),
        (b'{"type":5,"userId":"u"}', "INVALID_ENVELOPE", "type", "type: must be text"),
        (b'{"type":"$spend","userId":"u"}', "INVALID_ENVELOPE", "type", "own commands"),
        (b'{"type":"t"}', "INVALID_ENVELOPE", "userId", "userId, subject, entityId"),
        (b'{"type":"t","userId":5}', "INVALID_ENVELOPE", "userId", "must be text"),
        (b'{"type":"t","userId":"u\\u0000"}', "INVALID_ENVELOPE", "userId", "NUL"),
        (b'{"type":"t","userId":"u","source":"\\u0000"}', "INVALID_ENVELOPE", "source", "NUL"),
        (b'{"type":"t","userId":"u","eventId":"\\u0000"}', "INVALID_ENVELOPE", "eventId", "NUL"),
        (
            b'{"type":"$profile_update","userId":"u","traits":{"displayName":"\\u0000"}}',
            "INVALID_ENVELOPE",
            "payload",
            "NUL",
        ),
        (b'{"type":"t","userId":"u","eventId":""}', "INVALID_ENVELOPE", "eventId", "leave it out"),
        (b'{"type":"t","userId":"u","idempotencyKey":""}', "INVALID_ENVELOPE", "idempotencyKey", "leave it out"),
        (b'{"type":"t","userId":"u","payload":[]}', "INVALID_ENVELOPE", "payload", "must be an object"),
        (b'{"type":"t","userId":"u","data":"x"}', "INVALID_ENVELOPE", "payload", "must be an object"),
        (b'{"type":"t","userId":"u","occurredAt":"soon"}', "INVALID_ENVELOPE", "occurredAt", "no RFC 3339 time"),
        (b'{"type":"t","userId":"u","occurredAt":"2026-11-21T12:05:01Z"}', "EVENT_IN_FUTURE", "occurredAt", "300 s"),
    ],
)
def test_a_bad_envelope_is_rejected_with_its_reason_and_field(
    normaliser: Normaliser, body: bytes, reason: str, field: str, message: str
) -> None:
    rejection = raw(normaliser, body)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.field) == (reason, field)
    assert message in rejection.message


@pytest.mark.parametrize(
    ("field", "chars_max"),
    [
        ("type", 128), ("userId", USER_ID_CHARS_MAX), ("eventId", KEY_CHARS_MAX), ("idempotencyKey", KEY_CHARS_MAX),
        ("source", SHORT_TEXT_CHARS_MAX), ("schemaVersion", SHORT_TEXT_CHARS_MAX),
        ("partitionKey", SHORT_TEXT_CHARS_MAX), ("correlationId", SHORT_TEXT_CHARS_MAX),
    ],
)  # fmt: skip
def test_a_text_is_as_long_as_allowed_and_no_longer(normaliser: Normaliser, field: str, chars_max: int) -> None:
    accepted(normaliser, {field: "é" * chars_max})
    longer = json.dumps({"type": "t", "userId": "u", field: "é" * (chars_max + 1)}).encode()
    assert raw(normaliser, longer) == Rejection(
        "INVALID_ENVELOPE", f"{field}: is longer than {chars_max} characters", field
    )


def test_a_clock_may_run_ahead_by_as_much_as_is_tolerated(normaliser: Normaliser) -> None:
    ahead = NOW + timedelta(seconds=300)
    assert accepted(normaliser, {"occurredAt": ahead.isoformat()}).occurred_at == ahead


# ── keys


def test_a_key_in_the_body_is_looked_at_though_a_header_has_the_last_word(normaliser: Normaliser) -> None:
    body = json.dumps({"type": "t", "userId": "u", "idempotencyKey": "k" * (KEY_CHARS_MAX + 1)}).encode()
    found = normaliser.from_json(body, PROJECT, "header")
    assert isinstance(found, Rejection)
    assert found.field == "idempotencyKey"


def test_the_given_key_counts_then_the_event_id_then_the_content(normaliser: Normaliser) -> None:
    header = accepted(normaliser, {"idempotencyKey": "body", "eventId": "e"}, key="header")
    body = accepted(normaliser, {"idempotencyKey": "body", "eventId": "e"})
    id_ = accepted(normaliser, {"eventId": "e"})
    full = accepted(normaliser, {"occurredAt": "2026-01-01T00:00:00Z"})
    assert [e.idempotency_key for e in (header, body, id_)] == ["header", "body", "e"]
    assert header.alias_hash == body.alias_hash == id_.key_hash
    assert len({e.key_hash for e in (header, body, id_, full)}) == 4
    assert full.alias_hash is None
    assert all(len(e.key_hash) == 16 and len(e.content_hash) == 16 for e in (header, body, id_, full))


def test_what_servers_send_is_hashed_as_it_ever_was_so_that_stored_keys_stay_valid() -> None:
    found = given_key_hash("k"), command_key_hash("$spend", "k"), event_id_hash("k"), full_hash(b"k"), intent_hash(b"k")
    assert [hash_.hex() for hash_ in found] == [
        "3cdd1646fc6436ff9a0ab96030b5b9eb", "fe385ce0866e6b41d998605eb43a6093", "30dc75e6be1a41a2cacc17ab4832bf9a",
        "09626563afaea0624be441b30affd235", "f9012f321fa4d0b783d5f607ab5165d2",
    ]  # fmt: skip


def test_keys_of_different_kinds_never_meet(normaliser: Normaliser) -> None:
    key = accepted(normaliser, {"idempotencyKey": "same"}).key_hash
    id_ = accepted(normaliser, {"eventId": "same"}).key_hash
    command = normaliser.command(SPEND, PROJECT, "u", {}, "same", None).key_hash
    said = [("u", "same"), ("v", "same"), ("us", "ame")]
    own = [normaliser.command(SPEND, PROJECT, user, {}, text, None, own=True).key_hash for user, text in said]
    guessed = accepted(normaliser, {"idempotencyKey": f"{SPEND}:same"}).key_hash
    assert len({key, id_, command, guessed, *own, *map(public_hash, (key, id_, command))}) == 10


def test_content_is_all_that_the_client_said_and_not_the_order_it_was_said_in(normaliser: Normaliser) -> None:
    base = {"payload": {"a": 1, "b": {"c": 1, "d": 2}}, "occurredAt": "2026-01-01T00:00:00Z", "source": "s"}
    content = accepted(normaliser, base).content_hash
    same = [
        {**base, "payload": {"b": {"d": 2, "c": 1}, "a": 1}},
        {**base, "occurredAt": "2026-01-01T01:00:00+01:00"},
        {**base, "occurredAt": 1767225600000},
        {**base, "eventId": "e", "idempotencyKey": "k", "correlationId": "c"},
    ]
    assert {accepted(normaliser, fields).content_hash for fields in same} == {content}
    other = [
        {**base, "type": "t2"}, {**base, "userId": "u2"}, {**base, "payload": {"a": 1}}, {**base, "source": "s2"},
        {**base, "occurredAt": "2026-01-01T00:00:00.000001Z"}, {**base, "occurredAt": None}, {**base, "partitionKey": "p"},
        {**base, "schemaVersion": "1"}, {**base, "specVersion": "1"},
    ]  # fmt: skip
    hashes = {accepted(normaliser, fields).content_hash for fields in other}
    assert len(hashes) == len(other)
    assert content not in hashes


def test_the_time_of_receipt_is_no_content(normaliser: Normaliser) -> None:
    later = Normaliser(Ids(), lambda: NOW + timedelta(hours=1), 300)
    assert accepted(normaliser, {"eventId": "e"}).content_hash == accepted(later, {"eventId": "e"}).content_hash


def test_without_key_and_time_two_equal_events_are_two_facts(normaliser: Normaliser) -> None:
    first, second = accepted(normaliser, {}), accepted(normaliser, {})
    assert first.key_hash != second.key_hash
    assert first.idempotency_key == str(first.id)


def test_by_intent_only_the_time_does_not_count(normaliser: Normaliser) -> None:
    bodies = [
        {"occurredAt": "2026-01-01T00:00:00Z"}, {}, {"occurredAt": "2026-01-02T00:00:00Z"}, {"payload": {"a": 1}},
    ]  # fmt: skip
    events = [raw(normaliser, json.dumps({"type": "t", "userId": "u"} | b).encode(), INTENT) for b in bodies]
    assert all(isinstance(e, AcceptedEvent) and e.window_seconds == 60 for e in events)
    keys = [e.key_hash for e in events if isinstance(e, AcceptedEvent)]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_given_key_holds_for_ever_whatever_the_strategy(normaliser: Normaliser) -> None:
    event = raw(normaliser, b'{"type":"t","userId":"u","eventId":"e"}', INTENT)
    assert isinstance(event, AcceptedEvent)
    assert event.window_seconds == 0


@pytest.mark.parametrize("key", ["a:b", "ключ", "日本", "🎉", "é\u0301", " ", "x" * KEY_CHARS_MAX])
def test_any_text_is_a_key_and_a_user(normaliser: Normaliser, key: str) -> None:
    event = accepted(normaliser, {"idempotencyKey": key, "userId": key[:USER_ID_CHARS_MAX]})
    assert (event.idempotency_key, event.user) == (key, key[:USER_ID_CHARS_MAX])


def test_a_users_partition_is_the_same_for_all_their_events_and_differs_by_project(normaliser: Normaliser) -> None:
    other = Project(2, 1, "b", "B", "UTC", 0)
    first, second = accepted(normaliser, {}), accepted(normaliser, {"payload": {"a": 1}})
    elsewhere = raw(normaliser, b'{"type":"t","userId":"u"}', other)
    assert isinstance(elsewhere, AcceptedEvent)
    assert first.user_hash == second.user_hash != elsewhere.user_hash
    assert -(2**63) <= first.user_hash < 2**63


# ── commands


def test_a_command_without_a_key_is_a_new_one_each_time(normaliser: Normaliser) -> None:
    first, second = (normaliser.command(SPEND, PROJECT, "u", {"amount": 1}, None, None) for _ in range(2))
    assert first.key_hash != second.key_hash
    assert first.type == SPEND


@pytest.mark.parametrize(
    ("user", "payload", "field"),
    [("", {}, "userId"), ("u\0", {}, "userId"), ("x" * 257, {}, "userId"), ("u\ud800", {}, "")],
)
def test_a_bad_command_raises_what_is_wrong(
    normaliser: Normaliser, user: str, payload: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        normaliser.command(SPEND, PROJECT, user, payload, "k", None)
    assert caught.value.rejection.field == field


@pytest.mark.parametrize(
    ("occurred_at", "message"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00 lies before 1900: it looks like a zero time"),
        ("1899-12-31T23:59:59+00:00", "lies before 1900"),
        ("1900-01-01T00:00:00+01:00", "lies before 1900"),
        (-62_135_596_800_000, "lies before 1900"),
        ("9999-12-31T23:59:59Z", "lies after 9998"),
        ("1900-01-01T00:00:00Z", None),
    ],
)
def test_a_zero_time_is_refused_as_one(normaliser: Normaliser, occurred_at: object, message: str | None) -> None:
    event = normaliser.from_json(json.dumps({"type": "t", "userId": "u", "occurredAt": occurred_at}).encode(), PROJECT)
    if message is None:
        assert isinstance(event, AcceptedEvent)
    else:
        assert isinstance(event, Rejection)
        assert (event.reason, event.field) == (Reason.INVALID_ENVELOPE, "occurredAt")
        assert message in event.message
