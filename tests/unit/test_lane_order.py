"""What a lane leaves where it waits: a user's events keep their order though their batch is taken apart."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from questline.model.event import WaitingEvent
from questline.processing.lane import Lane

OPEN: Any = SimpleNamespace(is_closed=lambda: False)


def events(names: str) -> list[WaitingEvent]:
    """Events of one project: `U1 V2` are the first of U and the second of V."""
    made = [SimpleNamespace(id=int(name[1:]), project_id=1, user=name[0]) for name in names.split()]
    return cast("list[WaitingEvent]", made)


def named(found: Sequence[WaitingEvent]) -> str:
    return " ".join(f"{event.user}{event.id}" for event in found)


class Held(Lane):
    """A lane of whose users U is held by somebody else while the first part is looked at, and P's events are poison."""

    def __init__(self) -> None:
        meters: Any = SimpleNamespace(retries=SimpleNamespace(inc=lambda: None))
        nothing: Any = None
        super().__init__(0, "", lambda: [0], nothing, nothing, nothing, meters)
        self.applied: list[WaitingEvent] = []
        self._is_held = True

    async def _apply_once(self, conn: Any, shard: int, batch: Sequence[WaitingEvent], free: bool) -> list[WaitingEvent]:
        if len(batch) > 1 and any(event.user == "P" for event in batch):
            raise asyncpg.CheckViolationError("poison")
        left = [event for event in batch if self._is_held and event.user == "U"]
        self._is_held = False
        self.applied += [event for event in batch if event not in left]
        return left


@pytest.mark.parametrize(
    ("batch", "left", "applied"),
    [
        ("U1 V2 U3 P4", "U1 U3", "V2 P4"),
        ("U1 U2 P3 V4 U5 U6", "U1 U2 U5 U6", "P3 V4"),
        ("V1 P2 U3 V4", "", "V1 P2 U3 V4"),  # nobody held U any more
    ],
)
async def test_what_comes_after_an_event_that_is_left_is_left_with_it(batch: str, left: str, applied: str) -> None:
    lane = Held()
    found = await lane._apply(OPEN, 0, events(batch), 3, free=True)
    assert (named(found), named(lane.applied)) == (left, applied)
