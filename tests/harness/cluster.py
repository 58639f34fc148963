"""The processes of an installation, each of which can be killed and frozen, with doors before its servers."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import httpx
import msgspec
import psutil

from questline.assembly import now
from questline.cli.bootstrap import bootstrap
from questline.cli.children import Child
from questline.cli.dev_file import DevFile
from questline.settings import Settings, base_environment, environment_of
from questline.store.embedded import EmbeddedPostgres, EmbeddedStartFailed, ensure_database
from questline.store.migrate import migrate
from questline.store.roles import APP_ROLE, ensure_app_role
from tests.services import Service, free_port

from .carriers import Carriers
from .child import LIMITS
from .defects import VARIABLE
from .door import Door

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 120.0
_TEND_SECONDS = 0.02


class Part(Protocol):
    """A process of the installation, and the processes below it."""

    name: str

    def start(self) -> None:
        """Start it, or start it again; it need not be ready on return."""

    def pids(self) -> list[int]:
        """Return its processes, the one to kill first."""

    def has_ended(self) -> bool:
        """Tell whether it is to be started again."""


class Server:
    """The API or a worker."""

    def __init__(self, name: str, child: Child) -> None:
        self.name = name
        self._child = child

    def start(self) -> None:
        self._child.start()

    def stop(self) -> None:
        self._child.kill()
        self._child.stop()

    def pids(self) -> list[int]:
        return [] if self._child.pid is None else [self._child.pid]

    def has_ended(self) -> bool:
        return self._child.exit_code() is not None


class Postgres:
    """PostgreSQL with its backends."""

    name = "postgres"

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server

    def start(self) -> None:
        self.server.start()

    def pids(self) -> list[int]:
        if self.server.pid is None:
            return []
        with contextlib.suppress(psutil.Error):
            return [self.server.pid, *(child.pid for child in psutil.Process(self.server.pid).children())]
        return []

    def has_ended(self) -> bool:
        return self.server.poll() is not None


class Cluster:
    """One installation on a database of its own. `tend` starts again what has ended; call it often, from the main thread."""

    def __init__(
        self,
        server: EmbeddedPostgres,
        database: str,
        *,
        workers: int = 2,
        carriers: Carriers | None = None,
        defect: str = "",
        settings: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`server` and `carriers` are started already; `settings` are those of the processes.

        `defect` names one of tests/harness/defects.py.
        """
        self.server = server
        self.carriers = carriers or Carriers()
        self.owner_dsn = server.dsn(database)
        self._database = database
        self._workers = workers
        self._defect = defect
        self._settings = settings or {}
        self._environment = environment or {}
        self.directory = Path(tempfile.mkdtemp(prefix="ql-harness-"))
        self._inner_port, self._outer_port = free_port(), free_port()
        self.store_door = Door.of_socket(self.directory / ".s.PGSQL.5432", server.socket_directory / ".s.PGSQL.5432")
        self.front_door = Door.of_port(self._outer_port, self._inner_port)
        self.carrier_doors = self.carriers.doors()
        self.parts: dict[str, Part] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._file: DevFile | None = None

    @property
    def url(self) -> str:
        """Where the API answers, behind the front door."""
        return f"http://127.0.0.1:{self._outer_port}"

    @property
    def file(self) -> DevFile:
        """The project and its keys."""
        assert self._file is not None
        return self._file

    def start(self) -> None:
        """Make the database and start everything; returns when the API is ready."""
        self._file = asyncio.run(self._prepare())
        for door in self._doors():
            door.open()
        self.parts = {"postgres": Postgres(self.server), **self.carriers.services}
        workers = [(f"worker-{n + 1}", "work") for n in range(self._workers)]
        for name, command in [("api", "serve"), *self.carriers.beside, *workers]:
            self.parts[name] = Server(name, self._child(name, command))
        for part in self.parts.values():
            if not part.pids():
                part.start()
        self.wait_until_ready()
        self.tend_until(self._is_dealt, READY_SECONDS_MAX, "each worker holds partitions")

    def stop(self, *, keep_logs: bool = False) -> None:
        """Stop everything but PostgreSQL and the carriers, which are their owners'."""
        self.thaw_all()
        for part in self.parts.values():
            if isinstance(part, Server):
                part.stop()
        for door in self._doors():
            door.close()
        if not keep_logs:
            shutil.rmtree(self.directory, ignore_errors=True)

    def join(self, name: str) -> None:
        """Start one more worker."""
        self.parts[name] = Server(name, self._child(name, "work"))
        self.parts[name].start()

    def leave(self, name: str) -> None:
        """Kill a worker that joined, and do not start it again."""
        part = self.parts.pop(name)
        assert isinstance(part, Server)
        part.stop()

    def tend(self) -> None:
        """Start again what has ended, and end the faults whose time is over."""
        due = [entry for entry in self._later if entry[0] <= time.monotonic()]
        self._later = [entry for entry in self._later if entry not in due]
        for _, act in due:
            act()
        for part in self.parts.values():
            if part.has_ended():
                if part.name == "postgres":
                    self.thaw_all()  # backends of the dead server that stand still would keep its memory in use
                with contextlib.suppress(EmbeddedStartFailed):  # on a full disk, say: it is tried again
                    part.start()

    def tend_until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Tend until a condition holds; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s; logs in {self.directory}")
            self.tend()
            time.sleep(_TEND_SECONDS)

    def tend_for(self, seconds: float) -> None:
        """Tend for so long."""
        ends = time.monotonic() + seconds
        self.tend_until(lambda: time.monotonic() >= ends, seconds + 60, "time passes")

    def wait_until_ready(self) -> None:
        """End every fault, and return when the API answers that it is ready."""
        self.thaw_all()
        self.tend_until(self._is_ready, READY_SECONDS_MAX, "the API is ready")

    def wait_until_carried(self) -> None:
        """End every fault, and return when the carriers answer: a broker may take as long to start as what is stuck is given."""
        self.thaw_all()
        services = self.carriers.services.values()
        self.tend_until(
            lambda: all(service.is_ready() for service in services), READY_SECONDS_MAX, "the carriers are ready"
        )

    def kill(self, name: str) -> None:
        """Kill a part as it stands (SIGKILL)."""
        part = self.parts[name]
        if isinstance(part, Service):
            part.kill()
        elif pids := part.pids():
            _send(pids[:1], signal.SIGKILL)

    def kill_backend(self, chance: random.Random) -> None:
        """Kill one of PostgreSQL's processes that serve connections: all connections are lost, and it recovers by itself."""
        if backends := self.parts["postgres"].pids()[1:]:
            _send([backends[chance.randrange(len(backends))]], signal.SIGKILL)

    def freeze(self, name: str, seconds: float) -> None:
        """Let a part stand still for a while (SIGSTOP, SIGCONT)."""
        pids = self.parts[name].pids()
        _send(pids, signal.SIGSTOP)
        self.later(seconds, lambda: _send(pids, signal.SIGCONT))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something while tending, after so many seconds, or when all faults are to end."""
        self._later.append((time.monotonic() + seconds, act))

    def thaw_all(self) -> None:
        """End every fault that lasts."""
        due, self._later = self._later, []
        for _, act in due:
            act()

    def client(self) -> httpx.Client:
        """A client with the project's secret key."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.file.secret_key}, timeout=5, trust_env=False)

    async def owner(self) -> asyncpg.Connection:
        """A connection of the owner's, past the door."""
        return await asyncpg.connect(self.owner_dsn)

    def group_size(self) -> int:
        """Return how many workers the log's partitions are dealt to."""
        return self.carriers.group_size(self._database)

    async def waiting_elsewhere(self, conn: asyncpg.Connection) -> int:
        """Return how much waits in the carriers of which PostgreSQL does not know yet."""
        return await self.carriers.waiting(conn, self._database)

    async def _prepare(self) -> DevFile:
        await ensure_database(self.server.dsn("postgres"), self._database)
        await migrate(self.owner_dsn, now())
        await ensure_app_role(self.owner_dsn)
        return await bootstrap(self.server.dsn(self._database, APP_ROLE), self.directory / "dev.json", self.url)

    def _child(self, name: str, command: str) -> Child:
        settings = msgspec.structs.replace(
            Settings(**self._settings | self.carriers.settings(self._database, self.carrier_doors)),
            dsn=f"postgresql://{APP_ROLE}@/{self._database}?host={self.directory}&port=5432",
            port=self._inner_port,
            dev=True,
            log_level="warning",
            admin_token=self.file.admin_token,
        )
        ours = self._environment | ({LIMITS: self.carriers.limits} if self.carriers.limits else {})
        environment = base_environment() | environment_of(settings) | ours
        module = "questline.cli.main"
        if self._defect or ours:  # the processes begin in a module of ours that does something to them first
            module = "tests.harness.child"
            environment |= {"PYTHONPATH": str(ROOT), VARIABLE: self._defect}
        return Child(name, [sys.executable, "-m", module, command], environment, self.directory / f"{name}.log")

    def _doors(self) -> list[Door]:
        return [self.store_door, self.front_door, *self.carrier_doors.values()]

    def _is_dealt(self) -> bool:
        return asyncio.run(self._holders()) == self._workers

    async def _holders(self) -> int:
        conn = await self.owner()
        try:
            return int(await conn.fetchval("SELECT count(DISTINCT owner) FROM partition_leases"))
        finally:
            await conn.close()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
