"""A `questline dev` of its own for each test that asks for one, started and spoken to from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.harness

START_SECONDS_MAX = 120.0
DEADLINE_SECONDS = 120.0  # for what takes moments where the machine has nothing else to do
QUESTLINE = [sys.executable, "-m", "questline.cli.main"]


def eventually(check: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Return what `check` returns once it is true; fail with its last answer when that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = check()
        except (httpx.HTTPError, AssertionError, OSError) as error:
            answer, fault = None, error
        else:
            fault = None
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {fault or answer!r}")
        time.sleep(0.02)


class Instance:
    """One data directory, and the supervisor that runs on it while it is started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / ".questline"
        self.output = directory / "output.txt"
        self.environment = {"QUESTLINE_WORKERS": "1"}  # where more prove nothing, they only take longer to start
        self.process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def launch(self, *arguments: str, port: int = 0) -> None:
        """Start the supervisor without waiting for it."""
        environment = {n: v for n, v in os.environ.items() if not n.startswith("QUESTLINE_")} | self.environment
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*QUESTLINE, "dev", "--port", str(port), *arguments],
                cwd=self.directory, stdout=output, stderr=output, env=environment, start_new_session=True,
            )  # fmt: skip

    def start(self, *arguments: str, port: int = 0) -> "Instance":
        """Start the supervisor and wait until it says that it is ready."""
        self.launch(*arguments, port=port)
        eventually(lambda: "is ready" in self.said() or self._fail_when_ended(), START_SECONDS_MAX)
        self._client = httpx.Client(
            base_url=self.dev_file["url"], headers={"X-API-Key": self.dev_file["secretKey"]}, timeout=60
        )
        return self

    def said(self) -> str:
        """Return all that was printed since the start."""
        return self.output.read_text(errors="replace")

    @property
    def dev_file(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.data / "dev.json").read_text())
        return content

    @property
    def client(self) -> httpx.Client:
        assert self._client is not None
        return self._client

    def pids(self) -> dict[str, int]:
        """Return the processes under the supervisor by name."""
        noted = json.loads((self.data / "processes.json").read_text())
        return {name: int(entry["pid"]) for name, entry in noted.items()}

    def signal(self, number: int) -> None:
        """Send the supervisor a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """End the supervisor as Ctrl-C does, and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        return self.process.wait(60)

    def left(self) -> list[str]:
        """Return the command lines of processes that have to do with the data directory."""
        found = []
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or [])
            environment = ""
            with contextlib.suppress(psutil.Error):
                environment = process.environ().get("QUESTLINE_DATA_DIR", "")
            with contextlib.suppress(psutil.NoSuchProcess):
                mine = str(self.data) in line or environment == str(self.data)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(line)
        return found

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run another command beside the data directory."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("QUESTLINE_")}
        return subprocess.run(
            [*QUESTLINE, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=120, check=False,
            env={**inherited, "COLUMNS": "200", **environment},
        )  # fmt: skip

    def _fail_when_ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"questline dev ended with {self.process.returncode}:\n{self.said()}")
        return False


def _instance(directory: Path) -> Iterator[Instance]:
    instance = Instance(directory)
    try:
        yield instance
    finally:
        if instance.process is not None and instance.process.poll() is None:
            instance.stop()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """An instance that is not started yet."""
    yield from _instance(tmp_path)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A started instance, shared by the tests of one module."""
    for instance in _instance(tmp_path_factory.mktemp("instance")):
        yield instance.start()
