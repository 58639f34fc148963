"""Keyed requests carried out: what they change and their reply in one transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec

from questline.api.asgi import Message, Receive, Scope
from questline.api.problems import Problem, overloaded
from questline.model.limits import POOL_WAIT_SECONDS, REPLY_BYTES_MAX
from questline.model.reasons import REASONS, Reason
from questline.store import replies
from questline.store.pool import Connection, OneConnection, Pool, leave_tenant
from questline.store.replies import OtherRequest, Place, Reply


class Once:
    """Carries out the keyed requests of one process, a bounded number at once: each holds a connection all the while."""

    def __init__(self, pool: Pool, connections: int) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(max(1, connections // 4))

    async def carry_out(
        self, place: Place, now: datetime, app: Any, scope: Scope, receive: Receive, *, secret: bool
    ) -> "tuple[Reply, bool]":
        """Return the reply to a request and whether it is from an earlier time; raises problems and what the app raises.

        The body of a reply that shows a `secret` is not stored.
        """
        async with self._turn() as conn:
            transaction = conn.transaction()
            await transaction.start()
            try:
                reply, known = await self._answer(conn, place, now, app, scope, receive, secret)
                if known or reply.status >= 400:
                    await transaction.rollback()
                else:
                    await transaction.commit()
            except BaseException:
                with suppress(Exception):  # the connection may be lost, and the transaction with it
                    await transaction.rollback()
                raise
        return reply, known

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Connection]:
        """Yield a connection once it is the request's turn; a 503 problem where that takes too long."""
        deadline = asyncio.get_running_loop().time() + POOL_WAIT_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            raise overloaded() from None
        try:
            left = max(deadline - asyncio.get_running_loop().time(), 0.0)
            try:
                conn = await self._pool.acquire(timeout=left)
            except TimeoutError:
                raise overloaded() from None
            try:
                yield conn
            finally:
                await self._pool.release(conn)
        finally:
            self._turns.release()

    async def _answer(
        self, conn: Connection, place: Place, now: datetime, app: Any, scope: Scope, receive: Receive, secret: bool
    ) -> tuple[Reply, bool]:
        if not await replies.hold(conn, place):
            detail = "a request under this key is being carried out; repeat this to get its reply"
            raise Problem(409, "idempotency-key-in-use", detail, headers={"Retry-After": "1"})
        try:
            known = await replies.find(conn, place)
        except OtherRequest as error:
            reason = REASONS[Reason.IDEMPOTENCY_KEY_REUSED]
            raise Problem(409, "idempotency-key-reused", reason) from error
        if known is not None:
            return known, True
        scope["state"]["pool"] = OneConnection(conn)
        answer = _Recorder()
        await app(scope, receive, answer.take)
        reply = answer.reply()
        if reply.status < 400:
            await leave_tenant(conn)
            await replies.keep(conn, place, _keepable(reply, secret), now)
        return reply, False


class _Recorder:
    """Takes an answer instead of the client, until it may be told."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def reply(self) -> Reply:
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers)
        return Reply(self._status, headers, bytes(self._body))


def _keepable(reply: Reply, secret: bool) -> Reply:
    """Return a reply as it may be stored: without a body that shows a secret, whose hash alone we keep, or is too large."""
    if not secret and len(reply.body or b"") <= REPLY_BYTES_MAX:
        return reply
    return msgspec.structs.replace(reply, body=None)
