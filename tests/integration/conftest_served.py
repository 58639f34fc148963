"""The API on a port, for clients that are not ours; and a door before it that loses answers."""

import asyncio
import fcntl
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.conftest import missing_part

NODE = Path(__file__).parents[1] / "node"
_INSTALLED = NODE / "node_modules" / ".installed"  # what broke off half-way has none


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, with the clients that tests/node/package.json names beside it."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        missing_part("Node.js (apt-get install nodejs npm)")
    with (NODE / "package.json").open() as package:
        fcntl.flock(package, fcntl.LOCK_EX)  # tests run side by side, and two installations at once spoil each other's
        if not _INSTALLED.exists():
            command = [str(npm), "install", "--no-package-lock", "--no-fund", "--no-audit"]
            tries = (subprocess.run(command, cwd=NODE, capture_output=True, check=False) for _ in range(3))
            if all(tried.returncode for tried in tries):
                missing_part("@segment/analytics-node (npm install in tests/node)")
            _INSTALLED.touch()
    return str(found)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """Serve an application on a free port, and yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def losing(port: int, instead: list[bytes]) -> AsyncIterator[int]:
    """Pass on to a port, but give the first clients something else in the place of their answer; nothing cuts them off.

    By then the request has been answered, so whatever it did is done.
    """
    pumps: set[asyncio.Task[None]] = set()

    async def pass_on(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pump = asyncio.create_task(_pump(client, writer))
        pumps.add(pump)
        while data := await reader.read(65_536):
            if instead:
                back.write(instead.pop(0))
                break
            back.write(data)
        back.close()
        writer.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for pump in pumps:
            pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
