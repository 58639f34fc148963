"""The carriers and accelerators that tests run against: real servers, started by the tests, never by the machine.

Each has a module with one subclass of `Service`. `install` brings what they need onto a machine; `.ci/run` calls it.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

READY_SECONDS_MAX = 120.0
_LOOK_AGAIN_SECONDS = 0.05

# Below those that systems deal out to whoever asks for any; each process of pytest-xdist has its own thousands.
_ports = itertools.cycle(
    range(first := 20_000 + 4_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 3), first + 4_000)
)


class Service:
    """A server of its own directory and port. It can be killed, frozen and started again, with what it stored."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def lacks(cls) -> str | None:
        """Return what the machine lacks to run it, as a sentence that says how to get it; None when it has all."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where clients find it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, or start it again; it need not be ready on return."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as log:
            self._process = self._launch(log.fileno())

    def wait_until_ready(self) -> None:
        """Return when it answers; raises RuntimeError with its log when it does not."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            if self.has_ended() or time.monotonic() > deadline:
                log = (self.directory / "server.log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not get ready:\n{log[-4000:]}")
            time.sleep(_LOOK_AGAIN_SECONDS)

    def is_ready(self) -> bool:
        """Tell whether it answers now."""
        return self._answers()

    def pids(self) -> list[int]:
        """Return its processes, the one to kill first."""
        if self._process is None or self._process.poll() is not None:
            return []
        try:
            process = psutil.Process(self._process.pid)
            return [process.pid, *(child.pid for child in process.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def has_ended(self) -> bool:
        """Tell whether it is to be started again."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """End it as a machine that fails does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Let it stop answering without closing a connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good; its directory stays."""
        self.thaw()
        self.kill()

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            try:
                psutil.Process(pid).send_signal(number)
            except psutil.NoSuchProcess:
                continue


ServiceT = TypeVar("ServiceT", bound=Service)


@contextmanager
def running(server: ServiceT) -> Iterator[ServiceT]:
    """Run a server, ready to answer; it is stopped at the end."""
    server.start()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port nobody listens on, of none that the system deals out and of none that tests beside these draw."""
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError
