"""A whole Questline in one process: the API over ASGI, a worker beside it, real PostgreSQL below."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from questline.assembly import build_worker, running_api
from questline.settings import Settings

_apps = itertools.count(1)
_addresses = itertools.count(1)
DEADLINE_SECONDS = 240.0
TOKEN_KEYS = base64.b64encode(b"t" * 32).decode()
SECRET_KEYS = base64.b64encode(b"k" * 32).decode()


_WAIT_FOR_LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"""


class Instance:
    """The API's client, the owner's connection, and a worker that can be started and stopped."""

    def __init__(
        self, settings: Settings, http: httpx.AsyncClient, owner: asyncpg.Connection, asgi: Any = None
    ) -> None:
        self.settings = settings
        self.asgi = asgi
        self.http = http
        self.owner = owner

    async def app(self, program: dict[str, Any] | None = None, **settings: Any) -> "App":
        """A new project with a key and, if given, a program in force."""
        app_id = f"app-{next(_apps)}"
        body = {"id": app_id, "name": app_id, "settings": settings}
        made = (await self.http.post("/v1/apps", json=body)).json()
        app = App(self, app_id, made["bootstrapApiKey"])
        if program is not None:
            answer = await app.put("/v1/program", json=program)
            assert answer.status_code == 200, answer.text
        return app

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """A worker for as long as the block lasts."""
        stop = asyncio.Event()
        task = asyncio.create_task(build_worker(self.settings).run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def drain(self) -> None:
        """Run a worker until nothing waits."""
        async with self.worker():
            await until(self._is_drained)

    async def _is_drained(self) -> bool:
        return not await self.owner.fetchval("SELECT EXISTS (SELECT FROM outbox)")


class App:
    """One project's client."""

    def __init__(self, instance: Instance, app_id: str, key: str) -> None:
        self.instance = instance
        self.app_id = app_id
        self.key = key

    async def request(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"X-API-Key": key or self.key, **more.pop("headers", {})}
        return await self.instance.http.request(method, path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)

    async def put(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("PUT", path, **more)

    async def send(self, type_: str, user: str, payload: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        """Send one event."""
        headers = more.pop("headers", {})
        body = {"type": type_, "userId": user, "payload": payload or {}, **more}
        return await self.post("/v1/events", json=body, headers=headers)

    async def profile(self, user: str) -> dict[str, Any]:
        answer = await self.get(f"/v1/users/{user}/profile")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def balance(self, user: str, currency: str) -> int:
        profile = await self.profile(user)
        return next(b["amount"] for b in profile["balances"] if b["currency"] == currency)


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, with a deadline for that and for finding it out."""
    async with within(DEADLINE_SECONDS, getattr(holds, "__qualname__", repr(holds))):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Give the block so long; who waits in vain is told for what."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield
    except TimeoutError:
        assert not deadline.expired(), f"waited in vain for {seconds:.0f} s: {what}"
        raise


def client_of(questline: "Instance") -> httpx.AsyncClient:
    """A client at an address of its own, by which logins are bounded."""
    n = next(_addresses)
    transport = httpx.ASGITransport(app=questline.asgi, client=(f"10.7.{n // 250}.{n % 250 + 1}", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120)


@asynccontextmanager
async def several_wait_for(owner: asyncpg.Connection, statement: str, count: int = 4) -> AsyncIterator[None]:
    """Hold what a statement locks until so many of those that the block begins wait for it."""

    async def wait() -> bool:
        return await owner.fetchval(_WAIT_FOR_LOCKS) >= count

    async with owner.transaction():
        await owner.execute(statement)
        yield
        await until(wait)


@pytest.fixture(scope="module")
async def questline(database: Any) -> AsyncIterator[Instance]:
    """An instance on a database of the module's own."""
    async with running_instance(database) as instance:
        yield instance


@asynccontextmanager
async def running_instance(database: Any, **more: Any) -> AsyncIterator[Instance]:
    """Yield an instance on a database, with further settings."""
    settings = Settings(
        dsn=database.app_dsn,
        dev=True,
        secret_keys=SECRET_KEYS,
        token_keys=TOKEN_KEYS,
        admin_token="operator-of-the-tests",
        pool_connections=8,
        **more,
    )
    async with running_api(settings) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            owner = await asyncpg.connect(database.owner_dsn)
            yield Instance(settings, http, owner, app)
            await owner.close()


PROGRAM: dict[str, Any] = {
    "currencies": {
        "XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}},
        "coins": {"kind": "currency"},
    },
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {
        "task": {"on": "task", "award": {"XP": 40, "coins": 15}},
        "gift": {"on": "gift", "award": {"coins": {"field": "amount"}}},
    },
    "streaks": {"daily": {"on": "task"}},
    "achievements": {
        "three": {
            "title": "Three",
            "requirements": [{"metric": "tasks", "threshold": 3}],
            "rewards": [{"currency": "coins", "value": 100}],
        },
        "told": {"title": "Told", "requirements": [{"progress": "told", "threshold": 9}]},
        "hidden": {"title": "Hidden", "secret": True, "requirements": [{"metric": "tasks", "threshold": 99}]},
    },
    "boards": {"xp": {"currency": "XP", "periods": ["weekly", "all-time"]}},
    "vitals": {"energy": {"start": 50}},
    "items": {"coffee": {"price": {"coins": 1}, "use": [{"vital": "energy", "value": 15}]}},
    "guards": {"burst": {"kind": "rate", "on": "never", "times": 9, "window": {"duration": 1, "unit": "minutes"}}},
    "segments": {"regulars": {"when": {"field": "level.XP", "op": "gte", "value": 2}}},
    "boosts": {"weekend": {"by": 2, "currencies": ["XP"], "until": "2020-01-01T00:00:00Z"}},
    "tiers": {"club": {"earned": "XP", "steps": [{"name": "bronze", "at": 0}, {"name": "silver", "at": 1000}]}},
    "quests": {"tour": {"title": "Tour", "autoStart": False, "steps": [{"id": "look"}, {"id": "buy", "on": "bought"}]}},
    "commissions": {
        "sales": {"on": "sale", "currency": "coins", "to": "affiliate", "plans": [{"name": "one", "basisPoints": 500}]}
    },
}
