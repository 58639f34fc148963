"""Processes that a supervisor starts, starts again when they die, and leaves nothing of when it is killed itself."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec
import psutil

from questline.cli.dev_file import replace_file
from questline.model.limits import (
    LOG_FILE_BYTES_MAX,
    RESTART_BACKOFF_SECONDS_MAX,
    RESTART_STABLE_SECONDS,
    SHUTDOWN_SECONDS_MAX,
)

_BACKOFF_SECONDS = 0.2


class Supervised(Protocol):
    """What can be kept running."""

    name: str

    def start(self) -> None:
        """Start the process; raises what stops it from starting."""

    def exit_code(self) -> int | None:
        """Return how the process ended, or None while it runs."""


class Tended:
    """Keeps one process running: a dead one is started again, later each time it dies soon."""

    def __init__(self, child: Supervised) -> None:
        self._child = child
        self._started = time.monotonic()
        self._deaths = 0
        self._again_at: float | None = None

    def tend(self) -> str | None:
        """Look after the process; return what to tell, if anything. Call it often."""
        moment = time.monotonic()
        if self._again_at is None:
            code = self._child.exit_code()
            return None if code is None else self._postpone(moment, f"{self._child.name} ended ({describe(code)})")
        if moment < self._again_at:
            return None
        self._again_at, self._started = None, moment
        try:
            self._child.start()
        except Exception as error:
            return self._postpone(moment, f"{self._child.name} could not be started ({error})")
        return f"{self._child.name} runs again"

    def _postpone(self, moment: float, what: str) -> str:
        self._deaths = 1 if moment - self._started > RESTART_STABLE_SECONDS else self._deaths + 1
        wait = min(_BACKOFF_SECONDS * 2 ** (self._deaths - 1), RESTART_BACKOFF_SECONDS_MAX)
        self._again_at = moment + wait
        return f"{what}; starting it again in {wait:.1f} s"


class Child:
    """A server process of ours. It ends by itself when the pipe to its supervisor closes."""

    def __init__(
        self, name: str, arguments: list[str], environment: dict[str, str], log: Path, pass_fds: Iterable[int] = ()
    ) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self._close_pipe()
        keep_log_small(self.log)
        reader, self._pipe = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._arguments, "--parent-pipe", str(reader)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=[reader, *self._pass_fds],
                    start_new_session=True,
                )
        finally:
            os.close(reader)

    def exit_code(self) -> int | None:
        """Return how the process ended, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ask the process to finish what it took, and kill it when it does not."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(SHUTDOWN_SECONDS_MAX + 5)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close_pipe()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_end(self) -> str:
        """Return the last lines of the log."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


class Roll:
    """A file with the ids of the processes under way, so that the next start ends those that outlived their supervisor.

    An id alone may be anybody's by then; together with the time the process began it is ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pids: dict[str, int | None]) -> None:
        """Note the processes by name."""
        began = {}
        for name, pid in pids.items():
            try:
                began[name] = {"pid": pid, "began": psutil.Process(pid).create_time()} if pid else None
            except psutil.NoSuchProcess:
                continue
        replace_file(self._path, msgspec.json.encode({n: entry for n, entry in began.items() if entry}))

    def end_leftovers(self) -> list[str]:
        """Kill what is left of the processes noted, and return their names."""
        try:
            noted = msgspec.json.decode(self._path.read_bytes(), type=dict[str, dict[str, float]])
        except (OSError, msgspec.MsgspecError):
            return []
        ended = []
        for name, entry in noted.items():
            try:
                process = psutil.Process(int(entry["pid"]))
                if abs(process.create_time() - entry["began"]) < 1:
                    process.kill()
                    process.wait(5)
                    ended.append(name)
            except psutil.Error:
                continue
        return ended


def describe(exit_code: int) -> str:
    """Return an exit code in words."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"by signal {-exit_code}"


def keep_log_small(log: Path) -> None:
    """Move a log that grew too large aside; one old one is kept."""
    if log.exists() and log.stat().st_size > LOG_FILE_BYTES_MAX:
        log.replace(log.with_suffix(".old.log"))
