"""Duplicates and replays that a cache knows are answered as PostgreSQL would; all else is left to it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from moments import Moments
from prometheus_client import CollectorRegistry

from questline.cache.entries import MemoryEntries
from questline.ingest.acceptance import Acceptance, Status
from questline.ingest.meters import IngestMeters
from questline.ingest.seen import Seen
from questline.model.event import AcceptedEvent, Nonce
from questline.model.limits import SEEN_SECONDS
from questline.store.ids import earliest_id
from questline.store.nonces import Replayed
from questline.telemetry.projects import ProjectEvents

AT = datetime(2026, 1, 5, tzinfo=UTC)
OLD_MS = 1_800_000_000_000


def event(
    n: int = 1, key: bytes = b"k" * 16, content: bytes = b"c" * 16, *,
    project: int = 3, ms: int = OLD_MS, window: int = 0, nonce: bytes | None = None,
) -> AcceptedEvent:  # fmt: skip
    id_ = UUID(int=earliest_id(ms).int + n)
    burnt = None if nonce is None else Nonce(project, nonce, AT)
    return AcceptedEvent(
        id_, project, "t", "u", "{}", AT, AT, key, content, 0, "key", window_seconds=window, nonce=burnt
    )


class Counted(MemoryEntries):
    """Counts how often it is asked."""

    asked = 0

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.asked += 1
        return await super().get(keys)


class World:
    """A process, what its database answers, and what it was asked to store."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.moments = Moments()
        self.status = Status.ACCEPTED
        self.stored: list[UUID] = []
        self.entries = Counted(1000, lambda: self.moments.seconds)
        self.seen = Seen(self.entries, self.moments, IngestMeters(registry, ProjectEvents(registry)))  # type: ignore[arg-type]

    async def settle(self, events: Sequence[AcceptedEvent]) -> list[Acceptance]:
        self.stored += [event.id for event in events]
        return [Acceptance(self.status, event.id) for event in events]

    async def send(self, *events: AcceptedEvent) -> list[Acceptance]:
        return await self.seen.settle(events, self.settle)


FIRST = event(1)


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (event(2),                                                       Status.DUPLICATE),
        (event(2, content=b"x" * 16),                                    Status.REUSED),
        (event(2, key=b"x" * 16),                                        Status.ACCEPTED),
        (event(2, project=4),                                            Status.ACCEPTED),
        (event(2, nonce=b"n" * 16),                                      Status.ACCEPTED),  # its nonce is to be burnt
        (event(2, ms=OLD_MS + 59_999, window=60),                        Status.DUPLICATE),
        (event(2, ms=OLD_MS + 60_000, window=60),                        Status.ACCEPTED),  # a new intent
    ],
)  # fmt: skip
async def test_a_key_that_was_seen_is_answered_without_a_statement(second: AcceptedEvent, status: Status) -> None:
    world = World()
    await world.send(FIRST)
    id_ = second.id if status is Status.ACCEPTED else FIRST.id
    assert await world.send(second) == [Acceptance(status, id_)]
    assert world.stored == [FIRST.id, *([second.id] if status is Status.ACCEPTED else [])]


async def test_nothing_is_looked_up_while_nothing_comes_twice_and_all_is_once_something_does() -> None:
    world = World()
    for n in range(200):
        await world.send(event(n, b"%16d" % n))
    asked = world.entries.asked
    assert asked < 100
    await world.send(event(201, b"x" * 16))
    assert world.entries.asked == asked
    world.status = Status.DUPLICATE
    await world.send(event(202, b"%16d" % 7))
    stored = len(world.stored)
    assert await world.send(event(203, b"%16d" % 7)) == [Acceptance(Status.DUPLICATE, event(7).id)]
    assert len(world.stored) == stored


async def test_answers_stand_in_the_order_of_their_events() -> None:
    world = World()
    await world.send(FIRST, event(2, b"b" * 16))
    new = event(5, b"n" * 16)
    answers = await world.send(event(3, b"b" * 16), new, event(4))
    assert answers == [
        Acceptance(Status.DUPLICATE, event(2).id), Acceptance(Status.ACCEPTED, new.id), Acceptance(Status.DUPLICATE, FIRST.id),
    ]  # fmt: skip


@pytest.mark.parametrize("status", [Status.DUPLICATE, Status.REUSED, Status.FAILED])
async def test_only_what_was_stored_is_remembered(status: Status) -> None:
    world = World()
    world.status = status
    await world.send(FIRST)
    await world.send(event(2))
    assert len(world.stored) == 2


@pytest.mark.parametrize(
    ("status", "stored"),
    [(Status.ACCEPTED, 1), (Status.DUPLICATE, 1), (Status.REPLAYED, 1), (Status.FAILED, 2)],
)
async def test_a_nonce_that_is_burnt_is_refused_without_a_statement(status: Status, stored: int) -> None:
    world = World()
    world.status = status
    await world.send(event(1, nonce=b"n" * 16))
    again = event(2, b"x" * 16, nonce=b"n" * 16)
    assert (await world.send(again))[0].status is (Status.FAILED if status is Status.FAILED else Status.REPLAYED)
    assert len(world.stored) == stored


async def test_a_key_is_not_known_for_longer_than_any_retention_keeps_it() -> None:
    world = World()
    await world.send(FIRST)
    world.moments.seconds += SEEN_SECONDS
    await world.send(event(2))
    assert len(world.stored) == 2


async def test_what_another_history_of_the_database_stored_is_not_believed() -> None:
    world = World()
    await world.send(FIRST)
    world.moments.line = "00000002"
    assert (await world.send(event(2)))[0].status is Status.ACCEPTED


async def test_a_lost_database_is_doubted_until_it_is_known_again() -> None:
    world = World()
    await world.send(FIRST)
    world.seen.doubt()
    await world.send(event(2))
    assert len(world.stored) == 2


async def test_a_nonce_of_a_whole_request_is_burnt_once() -> None:
    world, nonce = World(), Nonce(3, b"n" * 16, AT)
    burnt: list[int] = []

    async def burn() -> int:
        burnt.append(1)
        if len(burnt) > 1:
            raise Replayed
        return 7

    assert await world.seen.once(nonce, burn) == 7
    for _ in range(2):
        with pytest.raises(Replayed):
            await world.seen.once(nonce, burn)
    assert len(burnt) == 1
    world.moments.line = "00000002"
    for _ in range(2):
        with pytest.raises(Replayed):
            await world.seen.once(nonce, burn)
    assert len(burnt) == 2
