"""`questline dev`: PostgreSQL, API and worker under one supervisor, with data kept between starts."""

import asyncio
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import asyncpg
import httpx
import msgspec

from questline.assembly import now
from questline.control.apps import create_app
from questline.control.keys import create
from questline.model.limits import RESTART_BACKOFF_SECONDS_MAX, SHUTDOWN_SECONDS_MAX
from questline.model.principal import KeyType, Role
from questline.settings import Settings, base_environment, environment_of
from questline.store import projects
from questline.store.embedded import EmbeddedPostgres, ensure_database
from questline.store.ids import EventIds
from questline.store.migrate import migrate
from questline.store.pool import open_pool
from questline.store.roles import ensure_app_role

_READY_SECONDS_MAX = 30.0
_PROJECT = "my-app"


class DevError(Exception):
    """`questline dev` cannot start; the message says why and what to do."""


class DevFile(msgspec.Struct, rename="camel"):
    """.questline/dev.json."""

    url: str
    project: str
    secret_key: str
    publishable_key: str
    admin_token: str


class Child:
    """A server process of ours, started again when it dies, later each time it dies soon."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0
        self._again_at = 0.0

    def start(self) -> None:
        """Start the process; it ends by itself when the pipe to us closes."""
        reader, self._pipe = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._arguments, "--parent-pipe", str(reader)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, pass_fds=[reader],
                start_new_session=True,
            )  # fmt: skip
        os.close(reader)
        self._started = time.monotonic()

    def tend(self) -> str | None:
        """Start a dead process again when its time has come; return what to tell."""
        if self._process is None or self._process.poll() is None:
            return None
        now_s = time.monotonic()
        if not self._again_at:
            os.close(self._pipe)
            self._deaths = 0 if now_s - self._started > 60 else self._deaths + 1
            wait = min(0.2 * 2 ** max(self._deaths - 1, 0), RESTART_BACKOFF_SECONDS_MAX)
            self._again_at = now_s + wait
            return f"{self.name} ended ({self._process.returncode}); starting it again in {wait:.1f} s"
        if now_s >= self._again_at:
            self._again_at = 0.0
            self.start()
        return None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def stop(self) -> None:
        """Ask the process to finish, and kill it when it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(SHUTDOWN_SECONDS_MAX + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Dev:
    """One data directory's instance."""

    def __init__(self, directory: Path, host: str, port: int, tell: Any) -> None:
        self._directory = directory.resolve()
        self._host = host
        self._port = port
        self._tell = tell
        self._postgres = EmbeddedPostgres(self._directory / "postgres")
        self._lock: IO[str] | None = None
        self._children: list[Child] = []
        self._stopping = False

    def start(self) -> DevFile:
        """Start everything and return what is in dev.json; raises DevError."""
        self._take_lock()
        self._check_port()
        (self._directory / "logs").mkdir(exist_ok=True)
        self._postgres.start()
        file = asyncio.run(self._prepare())
        settings = Settings(
            dsn=self._postgres.dsn(user="questline_app"),
            data_dir=self._directory, host=self._host, port=self._port, dev=True, admin_token=file.admin_token,
            worker_port=0, log_format="json",
        )  # fmt: skip
        environment = {**base_environment(), **environment_of(settings)}
        for name in ("serve", "work"):
            arguments = [sys.executable, "-m", "questline.cli.main", name]
            self._children.append(Child(name, arguments, environment, self._directory / "logs" / f"{name}.log"))
        for child in self._children:
            child.start()
        self._await_ready(file.url)
        return file

    def run(self) -> None:
        """Tend the processes until SIGINT or SIGTERM, then stop them in order."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop_soon)
        while not self._stopping:
            if self._postgres.poll() is not None:
                self._tell("PostgreSQL ended; starting it again")
                self._postgres.start()
            for child in self._children:
                if news := child.tend():
                    self._tell(news)
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop API, worker and PostgreSQL, in that order."""
        for child in self._children:
            child.stop()
        self._postgres.stop()
        if self._lock is not None:
            self._lock.close()

    def pids(self) -> dict[str, int | None]:
        """Return the process ids of the children by name."""
        return {"postgres": self._postgres.pid, **{child.name: child.pid for child in self._children}}

    def _stop_soon(self, *_: Any) -> None:
        self._stopping = True

    def _take_lock(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self._directory / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            pid = self._lock.read().strip() or "unknown"
            self._lock.close()
            self._lock = None
            raise DevError(
                f"another questline dev (process {pid}) runs on {self._directory}; stop it, or choose another --data-dir"
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                raise DevError(
                    f"port {self._port} on {self._host} is busy ({error.strerror}); choose another: --port {self._port + 1}"
                ) from error

    async def _prepare(self) -> DevFile:
        owner = self._postgres.dsn()
        await ensure_database(self._postgres.dsn("postgres"), "questline")
        await migrate(owner, now())
        await ensure_app_role(owner)
        path = self._directory / "dev.json"
        url = f"http://{self._host}:{self._port}"
        file = msgspec.json.decode(path.read_bytes(), type=DevFile) if path.exists() else await self._first_run(url)
        file.url = url
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(file)) + b"\n")
        return file

    async def _first_run(self, url: str) -> DevFile:
        pool = await open_pool(self._postgres.dsn(user="questline_app"), max_size=2)
        ids = EventIds()
        try:
            async with pool.acquire() as conn:
                known = await projects.find(conn, _PROJECT)
            if known is None:
                row, secret = await create_app(pool, ids.new(), _PROJECT, "My app", "UTC", {})
            else:  # dev.json was lost: new keys for the project that is there
                row = known
                secret = await self._key(pool, ids, row.project.id, KeyType.SECRET)
            publishable = await self._key(pool, ids, row.project.id, KeyType.PUBLISHABLE)
        finally:
            await pool.close()
        return DevFile(url, _PROJECT, secret.key, publishable.key, f"qa_{secrets.token_hex(24)}")

    async def _key(self, pool: asyncpg.Pool, ids: EventIds, project_id: int, type_: KeyType) -> Any:
        async with pool.acquire() as conn:
            role = Role.ADMIN if type_ is KeyType.SECRET else Role.INGEST
            return await create(conn, project_id, ids.new(), type_, role, "dev")

    def _await_ready(self, url: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while time.monotonic() < deadline:
            for child in self._children:
                if child.pid is None:
                    log = self._directory / "logs" / f"{child.name}.log"
                    end = log.read_text(errors="replace")[-1500:]
                    raise DevError(f"{child.name} ended while starting; its log ends:\n{end}")
            try:
                if httpx.get(f"{url}/ready", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # not listening yet
            time.sleep(0.05)
        raise DevError(f"the API was not ready in {_READY_SECONDS_MAX:.0f} s; see {self._directory / 'logs'}")
