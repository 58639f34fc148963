"""How commands that arrive one by one are gathered into groups: the queue alone, so no database and no engine."""

import asyncio
from typing import Any
from unittest import mock

import pytest

from questline.model.event import AcceptedEvent
from questline.model.limits import COMMAND_GATHER_SECONDS, COMMAND_GROUP_MIN
from questline.processing.commands import Commands


class Groups(Commands):
    """Commands whose groups end when a test says so."""

    def __init__(self) -> None:
        super().__init__("", mock.Mock(), mock.Mock(), mock.Mock())
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.may_end = asyncio.Event()

    async def _run_group(self, conn: Any, shard: int, applier: Any, group: Any) -> None:
        self.begun.put_nowait(len(group))
        await self.may_end.wait()
        for _, future in group:
            future.set_result(mock.Mock())


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    async def connect(_: str) -> Any:
        return mock.AsyncMock(is_closed=lambda: False)

    monkeypatch.setattr("questline.processing.commands.connect", connect)
    monkeypatch.setattr("questline.store.boards.claim_shard", mock.AsyncMock())
    return Groups()


def _send(groups: Groups, count: int) -> list["asyncio.Task[Any]"]:
    event = mock.Mock(spec=AcceptedEvent, payload="{}")
    return [asyncio.create_task(groups.run(event)) for _ in range(count)]


async def test_one_command_alone_begins_at_once(groups: Groups) -> None:
    groups.start()
    sent = _send(groups, 1)
    assert await groups.begun.get() == 1
    groups.may_end.set()
    await asyncio.gather(*sent)
    await groups.close()


async def test_beside_a_group_under_way_the_next_begins_once_enough_wait(groups: Groups) -> None:
    groups.start()
    sent = _send(groups, 1)
    await groups.begun.get()
    sent += _send(groups, COMMAND_GROUP_MIN)
    assert await groups.begun.get() == COMMAND_GROUP_MIN
    groups.may_end.set()
    await asyncio.gather(*sent)
    await groups.close()


async def test_a_few_commands_beside_a_group_that_hangs_begin_after_a_moment(groups: Groups) -> None:
    groups.start()
    sent = _send(groups, 1)
    await groups.begun.get()
    began = asyncio.get_running_loop().time()
    sent += _send(groups, 2)
    assert await groups.begun.get() == 2
    assert asyncio.get_running_loop().time() - began > COMMAND_GATHER_SECONDS / 2  # not at once, as they would alone
    groups.may_end.set()
    await asyncio.gather(*sent)
    await groups.close()


async def test_commands_that_wait_begin_when_a_group_ends(groups: Groups) -> None:
    groups.start()
    with mock.patch("questline.processing.commands.COMMAND_GATHER_SECONDS", 3_600):
        sent = _send(groups, 1)
        await groups.begun.get()
        sent += _send(groups, 2)
        groups.may_end.set()
        assert await groups.begun.get() == 2
        await asyncio.gather(*sent)
        await groups.close()


async def test_closing_finishes_what_waits(groups: Groups) -> None:
    groups.start()
    with mock.patch("questline.processing.commands.COMMAND_GATHER_SECONDS", 3_600):
        sent = _send(groups, 1)
        await groups.begun.get()
        sent += _send(groups, 2)
        await asyncio.wait(sent[1:], timeout=0)  # they are in the queue by then
        groups.may_end.set()
        await groups.close()
        await asyncio.wait_for(asyncio.gather(*sent), 5)
