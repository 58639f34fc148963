"""Sends a run's events at a rate, over several connections, and counts what became of each."""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec

from questline.cli.load_traffic import event_of
from questline.model.limits import BATCH_EVENTS_MAX

_PAUSE_SECONDS_MAX = 30.0
_STREAM_SECONDS = 0.1  # of events, at least, in one stream
_TRIES_MAX = 50  # of one request that the server wants later, or that was cut off
_encode = msgspec.json.encode


class Plan(msgspec.Struct, frozen=True):
    """What to send: `rate` events a second, in all, over `connections`; `twice_percent` of them come a second time."""

    run: str
    events: int
    rate: float
    users: int
    connections: int
    stream: bool
    twice_percent: int


class Sent(msgspec.Struct):
    """What became of what was sent. `acknowledged` holds the numbers of events that the server promised to keep."""

    acknowledged: set[int] = msgspec.field(default_factory=set)
    duplicates: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)  # by code
    errors: Counter[str] = msgspec.field(default_factory=Counter)  # by what they were; those sent again in vain too
    waits: int = 0  # answers 429 and 503, each obeyed
    requests: int = 0
    latencies_ms: Any = msgspec.field(default_factory=lambda: array("d"))  # of requests that were answered well


class Sender:
    """Sends one plan."""

    def __init__(self, plan: Plan, url: str, key: str, progress: Callable[[Sent], None]) -> None:
        self._plan = plan
        self._url = url
        self._key = key
        self._progress = progress
        self._next = 0
        self._resume_at = 0.0  # nobody sends before: the server said so
        self._stopping = False
        self.sent = Sent()

    def stop(self) -> None:
        """Send nothing more; what is under way is finished."""
        self._stopping = True

    async def run(self) -> Sent:
        """Send all; return what became of it."""
        plan = self._plan
        limits = httpx.Limits(max_connections=plan.connections, max_keepalive_connections=plan.connections)
        headers = {"X-API-Key": self._key}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=60, limits=limits, trust_env=False
        ) as http:
            started = time.perf_counter()
            async with asyncio.TaskGroup() as senders:
                for _ in range(plan.connections):
                    senders.create_task(self._send(http, started))
        return self.sent

    async def _send(self, http: httpx.AsyncClient, started: float) -> None:
        plan = self._plan
        while self._next < plan.events and not self._stopping:
            first = self._next
            due = int((time.perf_counter() - started) * plan.rate) + 1
            least = int(plan.rate * _STREAM_SECONDS) or 1
            count = min(max(due - first, least), BATCH_EVENTS_MAX, plan.events - first) if plan.stream else 1
            self._next += count
            await asyncio.sleep(max(started + (first + count - 1) / plan.rate - time.perf_counter(), 0))
            numbers = range(first, first + count)
            again = plan.twice_percent and first % 100 < plan.twice_percent
            for _ in range(2 if again else 1):
                await self._try(http, numbers)
            self._progress(self.sent)

    async def _try(self, http: httpx.AsyncClient, numbers: Sequence[int]) -> None:
        """Send a request until it is answered; to send an event again is safe, for its id is its key."""
        events = [event_of(self._plan.run, number, self._plan.users) for number in numbers]
        pause_seconds = 0.25
        for _ in range(_TRIES_MAX):
            await asyncio.sleep(max(self._resume_at - time.perf_counter(), 0))
            began = time.perf_counter()
            self.sent.requests += 1
            try:
                answer = await self._post(http, events)
            except httpx.HTTPError as error:
                self.sent.errors[type(error).__name__] += 1
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    self.sent.latencies_ms.append((time.perf_counter() - began) * 1000)
                    self._count(answer, numbers)
                    return
                told = answer.headers.get("retry-after", "")
                if told.isdigit():
                    self.sent.waits += 1
                    self._resume_at = time.perf_counter() + min(float(told), _PAUSE_SECONDS_MAX)
                    continue
                self.sent.errors[str(answer.status_code)] += 1
            if self._stopping:
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)
        self.sent.errors["given up"] += len(numbers)

    async def _post(self, http: httpx.AsyncClient, events: list[dict[str, Any]]) -> httpx.Response:
        if not self._plan.stream:
            return await http.post("/v1/events", content=_encode(events[0]))
        lines = b"\n".join(map(_encode, events))
        return await http.post("/v1/ingest/stream", content=lines, headers={"Content-Type": "application/x-ndjson"})

    def _count(self, answer: httpx.Response, numbers: Sequence[int]) -> None:
        if answer.status_code >= 400:
            self.sent.refused[_code(answer)] += len(numbers)
            return
        lines = [msgspec.json.decode(line) for line in answer.content.splitlines() if line]
        for number, line in zip(numbers, lines, strict=False):  # a stream's last line is its summary
            if line["status"] == "rejected":
                self.sent.refused[line.get("code", "rejected")] += 1
                continue
            self.sent.acknowledged.add(number)
            if line["status"] == "duplicate" or line.get("duplicate") is True:
                self.sent.duplicates += 1


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
