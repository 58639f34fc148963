"""How what arrives one by one is gathered into groups, and groups take turns."""

import asyncio

import pytest

from questline.transport.gathering import Gathering

LEAST = 4
LONG = 3_600.0


def gathering(seconds: float = LONG, most: int = 100, bytes_most: int = 1_000) -> Gathering[str]:
    return Gathering(len, least=LEAST, most=most, bytes_most=bytes_most, seconds=seconds)


def add(queue: Gathering[str], count: int) -> None:
    for number in range(count):
        queue.add(str(number))


async def done_of(*lanes: "asyncio.Task[list[str]]") -> list[int]:
    """Let lanes take what they can, and return the sizes of their groups; they wait for what the test does next."""
    done, _ = await asyncio.wait(lanes, timeout=0.01)
    return [len(lane.result()) for lane in lanes if lane in done]


async def test_one_thing_alone_is_a_group_at_once() -> None:
    queue = gathering()
    queue.add("a")
    assert await queue.next() == ["a"]


async def test_beside_a_group_under_way_the_next_begins_once_half_of_the_crowd_waits() -> None:
    queue = gathering()
    add(queue, 20)
    assert len(await queue.next()) == 10
    second = asyncio.create_task(queue.next())
    assert len(await second) == 10
    add(queue, 9)
    third = asyncio.create_task(queue.next())
    assert await done_of(third) == []
    queue.add("the last that is needed")
    assert len(await third) == 10


@pytest.mark.parametrize(
    ("waiting", "groups"),
    [
        (1, [1]),
        (4, [4]),
        (6, [4]),  # and two wait for a third, which is half of the crowd
        (8, [4, 4]),
        (32, [16, 16]),
        (33, [17]),
    ],
)
async def test_two_groups_take_half_each_of_all_that_waits(waiting: int, groups: list[int]) -> None:
    queue = gathering()
    add(queue, waiting)
    lanes = [asyncio.create_task(queue.next()) for _ in range(3)]
    assert await done_of(*lanes) == groups
    for lane in lanes:
        lane.cancel()


async def test_an_idle_lane_has_its_group_when_the_last_thing_it_needs_is_there() -> None:
    queue = gathering()
    lane = asyncio.create_task(queue.next())
    assert await done_of(lane) == []
    queue.add("a")
    assert len(queue) == 0  # the lane itself has not run yet
    assert await lane == ["a"]


async def test_a_group_goes_to_the_lane_that_was_free_last() -> None:
    queue = gathering()
    first = asyncio.create_task(queue.next())
    assert await done_of(first) == []
    second = asyncio.create_task(queue.next())
    assert await done_of(second) == []
    add(queue, 1)
    assert await second == ["0"]
    assert not first.done()
    first.cancel()


async def test_callers_of_a_group_that_is_through_are_waited_for_and_not_only_the_few_who_wait_already() -> None:
    queue = gathering()
    add(queue, 20)
    first, _ = await queue.next(), await queue.next()
    add(queue, 2)
    queue.done(first)
    third = asyncio.create_task(queue.next())
    assert await done_of(third) == []
    add(queue, 8)
    assert len(await third) == 10


async def test_a_few_things_beside_a_group_that_hangs_are_taken_after_a_moment() -> None:
    queue = gathering(seconds=0.02)
    add(queue, 20)
    await queue.next()
    await queue.next()
    began = asyncio.get_running_loop().time()
    add(queue, 2)
    assert len(await queue.next()) == 2
    assert asyncio.get_running_loop().time() - began > 0.01  # not at once, as they would alone


async def test_what_a_group_left_over_is_taken_after_a_moment_though_nothing_more_comes() -> None:
    queue = gathering(seconds=0.02)
    add(queue, 30)
    assert [len(await queue.next()) for _ in range(2)] == [15, 15]
    queue = gathering(seconds=0.02)
    first = asyncio.create_task(queue.next())
    assert await done_of(first) == []
    add(queue, 20)  # one for the idle lane, and no lane is left for the others
    assert len(await first) == 1
    assert [len(await queue.next()) for _ in range(2)] == [10, 9]


async def test_a_crowd_that_has_gone_is_waited_for_once() -> None:
    queue = gathering(seconds=0.02)
    add(queue, 64)
    queue.done(await queue.next())
    queue.done(await queue.next())
    lane = asyncio.create_task(queue.next())
    queue.add("of the one who stayed")
    assert await done_of(lane) == []
    queue.done(await lane)
    lane = asyncio.create_task(queue.next())
    assert await done_of(lane) == []
    queue.add("of the same")
    assert len(queue) == 0
    await lane


async def test_the_few_who_come_by_chance_are_not_waited_for_while_nothing_is_under_way() -> None:
    queue = gathering()
    add(queue, 2 * LEAST)
    for _ in range(2):
        queue.done(await queue.next())
    lane = asyncio.create_task(queue.next())
    assert await done_of(lane) == []
    queue.add("one of them")
    assert await lane == ["one of them"]


async def test_after_a_time_of_quiet_one_thing_is_a_group_at_once() -> None:
    queue = gathering(seconds=0.001)
    add(queue, 64)
    for _ in range(2):
        queue.done(await queue.next())
    lane = asyncio.create_task(queue.next())
    assert await done_of(lane) == []  # which is longer than the millisecond
    queue.add("a")
    assert len(queue) == 0
    assert await lane == ["a"]


async def test_a_lane_that_was_cancelled_takes_nothing_with_it() -> None:
    queue = gathering()
    gone = asyncio.create_task(queue.next())
    assert await done_of(gone) == []
    gone.cancel()
    await asyncio.wait([gone])
    queue.add("a")
    assert await queue.next() == ["a"]


async def test_a_group_has_bounds_in_number_and_in_bytes() -> None:
    queue = gathering(most=5, bytes_most=10)
    add(queue, 20)
    queue.done(await queue.next())
    assert len(queue) == 15
    for _ in range(3):
        queue.add("x" * 6)
    assert queue.clear()[-1] == "x" * 6
    assert (len(queue), queue.bytes_waiting) == (0, 0)
    for _ in range(5):
        queue.add("x" * 6)
    assert (await queue.next(), queue.bytes_waiting) == (["x" * 6] * 2, 18)


async def test_no_more_is_waited_for_than_a_group_holds_in_number_or_in_bytes() -> None:
    queue = gathering(most=5, bytes_most=10)
    add(queue, 20)
    for _ in range(4):
        queue.done(await queue.next())
    add(queue, 4)
    fewer = asyncio.create_task(queue.next())
    assert await done_of(fewer) == []
    queue.add("5")
    assert len(await fewer) == 5
    queue.add("of ten bytes")
    assert len(await queue.next()) == 1


async def test_closing_lets_what_waits_be_taken_and_ends_the_lanes() -> None:
    queue = gathering()
    add(queue, 20)
    await queue.next()
    await queue.next()
    add(queue, 2)
    lanes = [asyncio.create_task(queue.next()) for _ in range(2)]
    assert await done_of(*lanes) == []
    queue.close()
    assert sorted([len(await lane) for lane in lanes]) == [0, 2]
