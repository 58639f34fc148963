"""Load over HTTP by wrk, which costs the machine far less than a client in Python would."""

import asyncio
import re
import shutil
import tempfile
from pathlib import Path

import msgspec


class Load(msgspec.Struct, frozen=True):
    """What wrk saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int  # answers that are not 2xx, and socket errors

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class WrkMissing(Exception):
    """wrk is not installed: it is a package of that name on Debian, Fedora and Homebrew."""


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


async def wrk(url: str, script: str, *, connections: int = 64, seconds: float = 5.0) -> Load:
    """Run wrk with a Lua script from one thread and return what it saw."""
    program = shutil.which("wrk")
    if program is None:
        raise WrkMissing("wrk is not installed; install the package wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        arguments = [
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--latency",
            "-s",
            str(Path(file.name)),
            url,
        ]
        process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
        output = (await process.communicate())[0].decode()
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", output)
    if total is None:
        raise RuntimeError(f"wrk said nothing that can be read:\n{output}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return Load(
        requests=int(total[1]),
        seconds=float(total[2]) * _UNITS[total[3]] / 1000,
        p50_ms=_percentile(output, "50"),
        p99_ms=_percentile(output, "99"),
        refused=(int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


def _percentile(output: str, percent: str) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)", output, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
