"""How groups of one stream take turns in each lane."""

import asyncio

import pytest

from questline.ingest.turns import Broken, Turn


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    """Let a task go as far as it can."""
    return not (await asyncio.wait([task], timeout=0.01))[0]


async def test_the_first_group_waits_for_nobody() -> None:
    turn = Turn()
    await turn.begin()
    await turn.take(0)
    await turn.take(1)


async def test_a_group_begins_in_the_lane_that_the_one_before_has_left_and_in_no_other() -> None:
    first = Turn()
    second = Turn(first)
    beginning = asyncio.create_task(second.begin())
    assert await is_waiting(beginning)
    first.passed(1)
    await beginning
    await second.take(1)
    other = asyncio.create_task(second.take(0))
    assert await is_waiting(other)
    first.passed(0)
    await other


async def test_a_group_that_is_stored_in_parts_leaves_no_lane_before_its_end() -> None:
    first = Turn()
    second = Turn(first)
    first.split()
    first.passed(0)
    taking = asyncio.create_task(second.take(0))
    assert await is_waiting(taking)
    first.end(failed=False)
    await taking


async def test_a_group_that_failed_stops_the_one_after_it_wherever_that_waits() -> None:
    first = Turn()
    second = Turn(first)
    first.passed(0)
    await second.begin()
    await second.take(0)
    waiting = asyncio.create_task(second.take(1))
    assert await is_waiting(waiting)
    first.end(failed=True)
    for stopped in (waiting, second.take(1), second.begin()):
        with pytest.raises(Broken):
            await stopped


async def test_a_stream_holds_on_to_no_groups_that_are_through() -> None:
    first = Turn()
    second = Turn(first)
    first.end(failed=False)
    await second.take(0)
    second.end(failed=False)
    assert second._before is None
