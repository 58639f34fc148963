"""`questline dev`: PostgreSQL, API, workers and a deliverer under one supervisor, with data kept between starts."""

import asyncio
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import httpx
import msgspec

from questline.assembly_worker import now
from questline.cli.bootstrap import bootstrap
from questline.cli.children import Child, Roll, Supervised, Tended, keep_log_small
from questline.cli.dev_file import DevFile, replace_file
from questline.cli.dev_keys import dev_keys
from questline.cli.listening import CannotListen, listen, url_of
from questline.model.limits import DEV_WORKERS_MAX
from questline.settings import Settings, base_environment, environment_of
from questline.store.embedded import EmbeddedPostgres, EmbeddedStartFailed, ensure_database
from questline.store.migrate import MigrationChanged, migrate
from questline.store.roles import APP_ROLE, ensure_app_role

_READY_SECONDS_MAX = 30.0
_TEND_SECONDS = 0.1
_DATABASE = "questline"


class DevError(Exception):
    """`questline dev` cannot start; the message says why and what to do."""


class _Postgres:
    """The embedded PostgreSQL as something to tend."""

    name = "PostgreSQL"

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server

    def start(self) -> None:
        self.server.start()

    def exit_code(self) -> int | None:
        return self.server.poll()


class Dev:
    """One data directory's instance. `tell` is given a line for each thing worth saying while it runs."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self.directory = settings.data_dir.resolve()
        self._settings = settings
        self._tell = tell
        self._postgres = EmbeddedPostgres(self.directory / "postgres", log=self.directory / "logs" / "postgres.log")
        self._roll = Roll(self.directory / "processes.json")
        self._lock: IO[str] | None = None
        self._listener: socket.socket | None = None
        self._pages: list[socket.socket] = []  # of the workers, then of the deliverer, each on a port that was free
        self._api: Child | None = None
        self._workers: list[Child] = []
        self._deliverer: Child | None = None
        self._starting = True
        self.stopping = threading.Event()

    def start(self) -> DevFile:
        """Start everything and return what is in dev.json; raises DevError, or KeyboardInterrupt for SIGTERM too.

        The listening socket is ours and outlives the API: while a dead API is started again, its callers wait.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop_soon)
        self._take_lock()
        self._roll.end_leftovers()
        try:
            self._listener = listen(self._settings.host, self._settings.port)
            self._pages = [listen(self._settings.host, 0) for _ in (*self._names(), "the deliverer")]
        except CannotListen as error:
            raise DevError(str(error)) from error
        url = url_of(self._listener)
        (self.directory / "logs").mkdir(exist_ok=True)
        keep_log_small(self._postgres.log)
        try:
            self._postgres.start()
        except EmbeddedStartFailed as error:
            raise DevError(str(error)) from error
        try:
            file = asyncio.run(self._prepare(url))
        except MigrationChanged as error:
            raise DevError(
                f"the database in {self.directory} is of another version of Questline ({error}); "
                "go back to that version, or choose another --data-dir"
            ) from error
        self._api, self._workers, deliverer = self._children(file)
        for child in (self._api, *self._workers):
            child.start()
        self._write_roll()
        replace_file(self.directory / "workers.json", msgspec.json.encode(self.pages()) + b"\n")
        self._await_ready(url)
        self._deliverer = deliverer  # nobody waits for it, so it takes no processor from what is waited for
        deliverer.start()
        self._write_roll()
        self._starting = False
        return file

    def pages(self) -> list[str]:
        """Return where the workers answer /ready and /metrics."""
        return [url_of(page) for page in self._pages[:-1]]

    def run(self) -> None:
        """Tend the processes until SIGINT or SIGTERM."""
        children: list[Supervised] = [_Postgres(self._postgres)]
        children += self._servers()
        tended = [Tended(child) for child in children]
        while not self.stopping.wait(_TEND_SECONDS):
            for one in tended:
                if news := one.tend():
                    self._tell(news)
                    self._write_roll()

    def stop(self) -> None:
        """Stop in order: the API answers what it took, workers and deliverer finish what is under way, PostgreSQL stops."""
        self._starting = False
        self.stopping.set()
        if self._listener is not None:
            self._listener.close()
        for page in self._pages:
            page.close()
        for child in self._servers():
            child.stop()
        self._postgres.stop()
        if self._lock is not None:
            self._write_roll()
            self._lock.close()

    def _write_roll(self) -> None:
        pids = {child.name.lower().replace(" ", "-"): child.pid for child in self._servers()}
        self._roll.write({"postgres": self._postgres.pid, **pids})

    def _servers(self) -> list[Child]:
        return [child for child in (self._api, *self._workers, self._deliverer) if child is not None]

    def _stop_soon(self, *_: Any) -> None:
        self.stopping.set()
        if self._starting:
            self._starting = False
            raise KeyboardInterrupt

    def _take_lock(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / "lock").open("a+")
        except OSError as error:
            raise DevError(f"{self.directory} cannot be used: {error.strerror}; choose another --data-dir") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            lock.close()
            raise DevError(
                f"another questline dev (process {pid}) runs on {self.directory}; stop it, or choose another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    async def _prepare(self, url: str) -> DevFile:
        owner_dsn = self._postgres.dsn(_DATABASE)
        await ensure_database(self._postgres.dsn("postgres"), _DATABASE)
        await migrate(owner_dsn, now())
        await ensure_app_role(owner_dsn)
        return await bootstrap(self._postgres.dsn(_DATABASE, APP_ROLE), self.directory / "dev.json", url)

    def _children(self, file: DevFile) -> tuple[Child, list[Child], Child]:
        assert self._listener is not None
        settings = msgspec.structs.replace(
            self._settings,
            dsn=self._postgres.dsn(_DATABASE, APP_ROLE),
            owner_dsn="",
            data_dir=self.directory,
            port=self._listener.getsockname()[1],
            dev=True,
            transport="postgres",  # everything else needs a server of its own
            admin_token=file.admin_token,
            **self._keys(),
        )
        environment = {**base_environment(), **environment_of(settings)}
        command = [sys.executable, "-m", "questline.cli.main"]

        def child(name: str, task: str, listener: socket.socket) -> Child:
            fd = listener.fileno()
            log = self.directory / "logs" / f"{name.lower().replace(' ', '-')}.log"
            return Child(name, [*command, task, "--listen-fd", str(fd)], environment, log, [fd])

        *workers, deliverer = self._pages
        return (
            child("API", "serve", self._listener),
            [child(name, "work", page) for name, page in zip(self._names(), workers, strict=True)],
            child("deliverer", "deliver", deliverer),
        )

    def _keys(self) -> dict[str, str]:
        """Return the keys of this directory, where the environment gives none."""
        path = self.directory / "keys.json"
        try:
            made = msgspec.structs.asdict(dev_keys(path))
        except (OSError, msgspec.MsgspecError) as error:
            raise DevError(f"{path} cannot be read ({error}); put it back, or choose another --data-dir") from error
        return {name: getattr(self._settings, name) or key for name, key in made.items()}

    def _names(self) -> list[str]:
        """Return the names of the workers. One process computes on one processor only, so there is one for each."""
        workers = self._settings.workers or min(os.cpu_count() or 1, DEV_WORKERS_MAX)
        return ["worker", *(f"worker {number}" for number in range(2, workers + 1))]

    def _await_ready(self, url: str) -> None:
        assert self._api is not None
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while time.monotonic() < deadline:
            for child in self._servers():
                if child.pid is None:
                    raise DevError(f"the {child.name} ended while starting; {child.log} ends:\n{child.log_end()}")
            try:
                if httpx.get(f"{url}/ready", timeout=1, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # not listening yet
            time.sleep(0.02)
        raise DevError(f"the API was not ready in {_READY_SECONDS_MAX:.0f} s; see {self._api.log}")
