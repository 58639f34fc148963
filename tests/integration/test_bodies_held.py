"""Bodies that come slowly hold a bounded part of a process's memory, whoever sends them."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from conftest_api import Instance, until

from questline.model.limits import (
    PUBLIC_BODY_BYTES_MAX,
    SEGMENT_BODY_BYTES_UNSIGNED,
    SMALL_BODY_BYTES,
    STRANGERS_BODIES_BYTES_MAX,
)

MIB = 1024 * 1024


class Slow:
    """Clients without a key, which send all of a body but its last byte."""

    def __init__(self, http: httpx.AsyncClient, path: str, size: int, count: int) -> None:
        self._size = size
        self._end = asyncio.Event()
        self.holding = 0
        self.tasks = [asyncio.create_task(http.post(path, content=self._body())) for _ in range(count)]

    async def _body(self) -> AsyncIterator[bytes]:
        for _ in range(self._size // 1024 // 64):
            yield b" " * 1024 * 64
        self.holding += 1
        await self._end.wait()
        yield b"{"

    async def settled(self) -> bool:
        """Tell whether each has sent all that it sends for now, or was answered before."""
        return self.holding >= sum(not task.done() for task in self.tasks)

    async def end(self) -> list[httpx.Response]:
        """Send the rest, and return how all were answered."""
        self._end.set()
        return await asyncio.gather(*self.tasks)


@pytest.mark.parametrize(
    ("path", "size", "status"), [("/v1/keys", 7 * MIB, 400), ("/v1/batch", SEGMENT_BODY_BYTES_UNSIGNED, 413)]
)
async def test_strangers_who_send_slowly_hold_no_more_than_there_is_for_them(
    questline: Instance, path: str, size: int, status: int
) -> None:
    app = await questline.app()
    fit = STRANGERS_BODIES_BYTES_MAX // (size - SMALL_BODY_BYTES)
    slow = Slow(questline.http, path, size, fit + 20)
    await until(slow.settled)

    async def batch() -> AsyncIterator[bytes]:
        yield b" " * MIB
        yield b'[{"type": "t", "userId": "u"}]'

    login = await questline.http.post("/v1/auth/login", json={"username": "ada", "password": "x" * 9, "appId": "none"})
    assert login.status_code in (401, 404), login.text  # small bodies, and those of who is known, come through
    assert (await app.post("/v1/events/batch", content=batch())).status_code == 202
    answers = await slow.end()
    away = [a for a in answers if a.status_code == 503]
    assert len(away) >= 20
    assert {(a.json()["code"], a.headers["retry-after"]) for a in away} == {("overloaded", "1")}
    assert {a.status_code for a in answers} == {503, status}
    large = json.dumps({"name": "large", "role": "INGEST"}).ljust(MIB)
    assert (await app.post("/v1/keys", content=large)).status_code == 201  # there is room again


@pytest.mark.parametrize(
    "path",
    ["auth/register", "auth/login", "auth/refresh", "auth/logout", "auth/reset", "invitations/accept", "members/login", "members/reset"],
)  # fmt: skip
async def test_what_anybody_may_ask_for_has_a_small_body(questline: Instance, path: str) -> None:
    for size, status in ((PUBLIC_BODY_BYTES_MAX + 1, 413), (PUBLIC_BODY_BYTES_MAX, 422)):
        answer = await questline.http.post(f"/v1/{path}", content=b"{}".ljust(size))
        assert answer.status_code == status, answer.text
