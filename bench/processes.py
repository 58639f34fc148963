"""The API and the worker as `questline dev` starts them: processes of their own, logging in as questline_app."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from questline.model.limits import DEV_WORKERS_MAX
from questline.settings import Settings, base_environment, environment_of

_READY_SECONDS = 30.0
WORKERS = min(os.cpu_count() or 1, DEV_WORKERS_MAX)


class Processes:
    """Starts and stops the processes of one database."""

    def __init__(self, app_dsn: str, logs: Path) -> None:
        self._dsn = app_dsn
        self._logs = logs
        self.port = _free_port()

    @property
    def url(self) -> str:
        """Where the API answers while it runs."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def api(self, **settings: Any) -> AsyncIterator[psutil.Process]:
        """Run the API, with settings other than the usual ones if given; yields when it is ready."""
        async with self._running("serve", f"{self.url}/ready", **settings) as process:
            yield process

    @asynccontextmanager
    async def workers(self, count: int = WORKERS, **settings: Any) -> AsyncIterator[list[psutil.Process]]:
        """Run as many workers as `questline dev` would; yields at once."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self._running("work", None, **settings)) for _ in range(count)]

    @asynccontextmanager
    async def relay(self, **settings: Any) -> AsyncIterator[psutil.Process]:
        """Run a relay; yields at once."""
        async with self._running("relay", None, **settings) as process:
            yield process

    @asynccontextmanager
    async def _running(self, command: str, ready: str | None, **other: Any) -> AsyncIterator[psutil.Process]:
        settings = Settings(dsn=self._dsn, port=self.port, dev=True, log_level="warning", **other)
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220
                [str(Path(sys.executable).parent / "questline"), command],
                env=base_environment() | environment_of(settings),
                stdout=log,
                stderr=log,
            )
        try:
            if ready is not None:
                await _await_ready(process, ready)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _await_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}; see its log")
        try:
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=1)
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
