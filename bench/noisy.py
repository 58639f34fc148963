"""One tenant's spike: the p99 of a calm tenant's events before and while another floods, with a limit on projects."""

import asyncio
import json
import random
import time
from collections.abc import Sequence

from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.steady import Client
from bench.wrk import Load, wrk
from questline.model.rates import RateLimits

CALM, LOUD = 1, 2  # projects
CALM_RATE = 100  # events a second
LIMIT = 200  # events a second that one project may send: twice what the calm one does
FLOOD_CONNECTIONS = 64  # each sends again as soon as it is answered
SETTLING_SECONDS = 1.0
_FLOOD = """
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  local body = '{"type":"%s","userId":"user-' .. 3 * math.random(1000) + 1 .. '","payload":{"difficulty":"hard"}}'
  return wrk.format("POST", "/v1/events", head, body)
end
"""


async def run(bench: Bench) -> Sequence[Figure]:
    """Send at an even, low rate, alone and then beside a flood."""
    calm, loud, refused = [], [], []
    async with bench.processes.api(rate_limits_project=RateLimits(ingest=LIMIT)), bench.processes.workers():
        await _calm(bench, 2.0)
        for _ in range(bench.repeats):
            calm.append(_p99(await _calm(bench, bench.seconds)))
            flood = asyncio.create_task(_flood(bench, bench.seconds + 2 * SETTLING_SECONDS))
            await asyncio.sleep(SETTLING_SECONDS)  # the bucket of the one that floods is empty by now
            loud.append(_p99(await _calm(bench, bench.seconds)))
            load = await flood
            refused.append(load.refused / load.requests * 100)
    ratios = [b / a for a, b in zip(calm, loud, strict=True)]
    share = sorted(refused)[len(refused) // 2]
    note = f"{FLOOD_CONNECTIONS} connections that send again at once; {share:.0f} % of theirs refused"
    return [
        Figure("noisy", f"{CALM_RATE} events/s of a calm tenant, p99", "ms", calm, more_is_better=False),
        Figure("noisy", "the same while another tenant floods", "ms", loud, more_is_better=False, note=note),
        Figure("noisy", "flooded p99 by calm p99", "times", ratios, reach=2.0, more_is_better=False),
    ]


async def _calm(bench: Bench, seconds: float) -> list[float]:
    """Return the milliseconds that each event took to be accepted."""
    clients = [Client(bench.processes.port) for _ in range(8)]
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    took: list[float] = []

    async def send(number: int) -> None:
        client = await free.get()
        started = time.perf_counter()
        status, answer = await client.ask("POST", "/v1/events", bench.state.key(CALM), _event(CALM, number))
        took.append((time.perf_counter() - started) * 1000)
        free.put_nowait(client)
        if status != 202:
            raise RuntimeError(f"the calm tenant was answered {status}: {answer[:200]!r}")

    tasks, begun = [], time.perf_counter()
    for number in range(int(CALM_RATE * seconds)):
        if (early := begun + number / CALM_RATE - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(send(number)))
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    return took


async def _flood(bench: Bench, seconds: float) -> Load:
    """Send without a pause, from a process of its own: one that shared ours would slow down the clock of the calm."""
    script = _FLOOD % (bench.state.key(LOUD), EVENT_TYPE)
    return await wrk(bench.processes.url, script, connections=FLOOD_CONNECTIONS, seconds=seconds)


def _event(project: int, number: int) -> bytes:
    # User n is of project 1 + n mod 3.
    user = 3 * random.randint(1, 1_000) + project - 1
    body = {
        "type": EVENT_TYPE,
        "userId": f"user-{user}",
        "payload": {"difficulty": "hard"},
        "eventId": f"{random.getrandbits(64):x}-{number}",
    }
    return json.dumps(body).encode()


def _p99(took: list[float]) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * 0.99))]
