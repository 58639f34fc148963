"""Events as messages: what goes in comes out, and messages are bounded."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from questline.model.event import WaitingEvent
from questline.model.limits import RELAY_MESSAGE_BYTES, RELAY_MESSAGE_EVENTS
from questline.transport.carried import Unreadable, events_of, messages_of

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)


def event(seq: int, partition: int = 0, payload: str = "{}", context: str = '{"ip":"::1"}') -> WaitingEvent:
    return WaitingEvent(
        UUID(int=seq), 7, "task", "üser", payload, AT, AT, None, "2", -5 - seq, partition, seq, context, None, "00-1-2-00"
    )  # fmt: skip


def test_what_goes_into_a_message_comes_out_of_it() -> None:
    sent = [event(1), event(2**40, payload='{"n":1.5}')]
    (message,) = messages_of(sent)
    assert events_of(message.body()) == sent


def test_a_message_holds_events_of_one_partition_in_their_order_and_not_too_many() -> None:
    sent = [event(n, n % 3) for n in range(3 * RELAY_MESSAGE_EVENTS + 3)]
    messages = messages_of(sent)
    assert [(m.partition, len(m.events)) for m in messages] == [
        *((partition, RELAY_MESSAGE_EVENTS) for partition in range(3)),
        *((partition, 1) for partition in range(3)),
    ]
    for partition in range(3):
        seqs = [e.seq for m in messages if m.partition == partition for e in m.events]
        assert seqs == [e.seq for e in sent if e.partition == partition]


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ((10, 10), 1),
        ((RELAY_MESSAGE_BYTES, 10), 2),
        ((RELAY_MESSAGE_BYTES // 2, RELAY_MESSAGE_BYTES // 2, 1), 2),
        ((4 * RELAY_MESSAGE_BYTES,), 1),
    ],
)
def test_large_events_part_a_message(sizes: tuple[int, ...], messages: int) -> None:
    assert len(messages_of(event(n, payload="x" * size, context="") for n, size in enumerate(sizes))) == messages
    assert len(messages_of(event(n, payload="", context="x" * size) for n, size in enumerate(sizes))) == messages


@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"[]", b"\x91\x91\x01", messages_of([event(1)])[0].body()[:-1]])
def test_what_is_no_message_of_ours_is_told_from_one(body: bytes) -> None:
    with pytest.raises(Unreadable):
        events_of(body)
