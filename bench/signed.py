"""Signed events beside unsigned ones: the same single events over 64 connections, in turn, in one run.

The client would need more of the machine for signing than the server for verifying, so all requests are signed beforehand,
and read from a file while the load runs; the unsigned ones come from a file too.
"""

import hmac
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import asyncpg
import httpx

from bench.accept import CONNECTIONS
from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.state import settle
from bench.wrk import Load, wrk
from questline.store.sealing import new_key

_REQUESTS_PER_SECOND = 25_000  # more than are ever taken
_SCRIPT = """
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
local next_line = io.lines("%s")
request = function()
  local body = next_line()
  if %s then
    head["x-signature-timestamp"] = next_line()
    head["x-signature-nonce"] = next_line()
    head["x-signature"] = next_line()
  end
  return wrk.format("POST", "/v1/events", head, body)
end
"""


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure unsigned and signed events in turn; the ratio of the two is what signing leaves."""
    plain: list[Load] = []
    signed: list[Load] = []
    conn = await asyncpg.connect(bench.state.owner_dsn)
    keys = new_key()
    try:
        await settle(conn)
        for _ in range(bench.repeats + 1):
            async with bench.processes.api(secret_keys=keys):
                secret = await _secret(bench)
                plain.append(await _load(bench, None))
                signed.append(await _load(bench, secret))
            await conn.execute("TRUNCATE outbox, signature_nonces")
    finally:
        await conn.close()
    del plain[0], signed[0]
    return [
        Figure(
            "signed", "single signed events, 64 connections", "events/s", [load.per_second for load in signed],
            floor_what="the same events unsigned", floor_runs=[load.per_second for load in plain], reach_ratio=0.7,
        ),
        Figure(
            "signed", "single signed events not answered 202", "", [float(load.refused) for load in signed], reach=0,
            more_is_better=False,
        ),
    ]  # fmt: skip


async def _secret(bench: Bench) -> str:
    async with httpx.AsyncClient(base_url=bench.processes.url, trust_env=False) as http:
        headers = {"X-API-Key": bench.state.key(1)}
        return str(
            (await http.post("/v1/signing-secrets", json={"overlapSeconds": 0}, headers=headers)).json()["secret"]
        )


async def _load(bench: Bench, secret: str | None) -> Load:
    for seconds in (1.0, bench.seconds):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            _write(Path(file.name), int(_REQUESTS_PER_SECOND * seconds), bench.state.size.users, secret)
            script = _SCRIPT % (bench.state.key(1), file.name, "false" if secret is None else "true")
            load = await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=seconds)
    return load


def _write(path: Path, count: int, users: int, secret: str | None) -> None:
    """Write so many bodies, each followed by the values of its headers where they are signed."""
    stamp, run = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), time.time_ns()
    timestamp = str(int(time.time()))
    with path.open("w") as file:
        for number in range(count):
            body = (
                f'{{"type":"{EVENT_TYPE}","userId":"user-{random.randint(1, users)}","payload":{{"difficulty":"hard",'
                f'"minutes":{number % 60}}},"occurredAt":"{stamp}","eventId":"{random.getrandbits(32)}-{run}-{number}"}}'
            )
            file.write(body + "\n")
            if secret is not None:
                nonce = f"{random.getrandbits(128):032x}"
                mac = hmac.digest(secret.encode(), f"{timestamp}.{nonce}.{body}".encode(), sha256).hex()
                file.write(f"{timestamp}\n{nonce}\n{mac}\n")
