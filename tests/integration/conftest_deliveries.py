"""A receiver of webhooks on a port, and those who send to it."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from conftest_api import App, Instance, until
from standardwebhooks import Webhook

from questline.assembly import new_registry
from questline.assembly_deliveries import build_deliverer

SECRET = "whsec_" + base64.b64encode(b"of the receiver and of Questline").decode()
WAIT = {"Prefer": "wait=20"}
PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"gift": {"on": "gift", "award": {"coins": {"field": "amount"}}}},
    "store": {
        "ticket": {"title": "Ticket", "price": {"coins": 10}, "fulfilment": "webhook", "stock": 1_000},
        "mug": {"price": {"coins": 10}, "fulfilment": "manual"},
    },
}

Reply = tuple[int, dict[str, str]]


class Receiver:
    """A customer's server. Each request is verified with the standard's own library before it is noted."""

    def __init__(self) -> None:
        self.key: str | bytes = SECRET
        self.heard: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = 0
        self.most = 0
        self.reply: Callable[[dict[str, Any]], Awaitable[Reply]] = self.agree
        self.url, self.path = "", "/hook"
        self.says, self.never_ends = b"", False  # the body of its answers
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers in self.headers]

    @staticmethod
    async def agree(body: dict[str, Any]) -> Reply:
        return 200, {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, or end with the test."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer as `reply` says; a status of 0 is no answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert head[0] == f"POST {self.path} HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        content = await reader.readexactly(int(headers["content-length"]))
        body = Webhook(self.key).verify(content, headers)
        self.heard.append(body)
        self.headers.append(headers)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            status, more = await self.reply(body)
        finally:
            self.under_way -= 1
        if status:
            lines = [f"HTTP/1.1 {status} x", "connection: close", *(f"{name}: {value}" for name, value in more.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode() + self.says)
            with contextlib.suppress(ConnectionError):
                while self.never_ends:
                    writer.write(b"and so on " * 1_000)
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.tasks:
            task.cancel()


async def shop(questline: Instance, receiver: Receiver | None, secret: str = SECRET) -> App:
    """A project with a reward store, whose webhook is the receiver's."""
    app = await questline.app(PROGRAM)
    if receiver is not None:
        await set_webhook(app, receiver.url, secret)
    return app


async def set_webhook(app: App, url: str | None, secret: str = SECRET) -> None:
    body = {"webhookUrl": url, "webhookSecret": secret}
    answer = await app.request("PATCH", f"/v1/projects/{app.app_id}", json=body)
    assert answer.status_code == 200, answer.text


async def redeem(app: App, *users: str, item: str = "ticket", **more: Any) -> list[str]:
    """Let each of the users redeem an item, and return the fulfilments."""
    await asyncio.gather(*(app.send("gift", user, {"amount": 100}, headers=WAIT) for user in users))
    found = []
    for user in users:
        answer = await app.post(f"/v1/store/{item}/redeem", json={"userId": user}, **more)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["eventId"])
    return found


@asynccontextmanager
async def delivering(questline: Instance, **settings: Any) -> AsyncIterator[None]:
    """A deliverer for as long as the block lasts."""
    stop = asyncio.Event()
    deliverer = build_deliverer(msgspec.structs.replace(questline.settings, **settings), new_registry())
    task = asyncio.create_task(deliverer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until_tried(app: App, tries: int = 1) -> None:
    """Wait until every message of a project was sent so often, or is settled."""

    async def tried() -> bool:
        return not await app.instance.owner.fetchval(
            """SELECT EXISTS (SELECT FROM deliveries d JOIN projects p ON p.id = d.project_id
                              WHERE p.app_id = $1 AND d.status = 'PENDING' AND (d.owner IS NOT NULL OR d.tries < $2))""",
            app.app_id, tries,
        )  # fmt: skip

    await until(tried)


async def due_now(app: App) -> None:
    """Let what waits for its next try, or for the end of a dead process's lease, be due at once."""
    await app.instance.owner.execute(
        """UPDATE deliveries d SET due_at = now() FROM projects p
           WHERE p.id = d.project_id AND p.app_id = $1 AND d.status = 'PENDING'""",
        app.app_id,
    )


async def set_aside(app: App) -> None:
    """Let nobody send what a project still has."""
    await app.instance.owner.execute(
        """UPDATE deliveries d SET status = 'CANCELLED', settled_at = now(), owner = NULL FROM projects p
           WHERE p.id = d.project_id AND p.app_id = $1 AND d.status = 'PENDING'""",
        app.app_id,
    )


async def fulfilments(app: App) -> list[dict[str, Any]]:
    """The redemptions as they are listed, the first first."""
    return list(reversed((await app.get("/v1/fulfilments")).json()["items"]))


async def state(app: App, user: str) -> tuple[str, str, str | None, int]:
    """How a user's only redemption is: the fulfilment, its delivery, the last answer, and what the user has left."""
    [one] = (await app.get(f"/v1/fulfilments?userId={user}")).json()["items"]
    return one["status"], one["delivery"]["status"], one["delivery"]["lastAnswer"], await app.balance(user, "coins")
