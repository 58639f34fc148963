"""Start: how long `questline dev` takes until it is ready, the first time and when its data are there."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.frame import Bench, Figure
from questline.settings import base_environment

_READY = b"is ready"


async def run(bench: Bench) -> Sequence[Figure]:
    """Start on an empty folder and then again on what is in it."""
    first, second = [], []
    for _ in range(bench.repeats):
        with tempfile.TemporaryDirectory(prefix="questline-start-", ignore_cleanup_errors=True) as directory:
            first.append(await _started(Path(directory)))
            second.append(await _started(Path(directory)))
    return [
        Figure("start", "questline dev, first start, the database is made", "s", first, more_is_better=False),
        Figure("start", "questline dev, second start", "s", second, reach=5, more_is_better=False),
    ]


async def _started(directory: Path) -> float:
    """Return the seconds from the command to its word that all is ready; it is stopped as Ctrl-C does."""
    command = [
        str(Path(sys.executable).parent / "questline"),
        "dev",
        "--port",
        "0",
        "--data-dir",
        str(directory / "data"),
    ]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=base_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = b""
    while _READY not in said:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"questline dev ended before it was ready: {said.decode(errors='replace')}")
        said += line
    seconds = time.perf_counter() - began
    process.send_signal(signal.SIGINT)
    await process.communicate()
    return seconds
