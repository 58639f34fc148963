"""Senders outside that know what was acknowledged to them. What was not, they send again under the same key, until it is."""

import itertools
import json
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

USERS = 40
DAYS = 12
SENDERS = 4
GIVES_UP_SECONDS = 150.0
_REPEATED = 0.08  # of what was acknowledged is sent once more, as by a client that missed the answer

PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}, "coins": {"kind": "currency"}},
    "metrics": {"tasks": {"on": "task", "count": True}, "minutes": {"on": "task", "sum": "minutes"}},
    "rules": {"task": {"on": "task", "award": {"XP": 10, "coins": 3}}},
    "streaks": {"daily": {"on": "task"}},
    "achievements": {
        "ten": {
            "title": "Ten",
            "requirements": [{"metric": "tasks", "threshold": 10}],
            "rewards": [{"currency": "XP", "value": 7}],
        }
    },
    "boards": {"xp": {"currency": "XP", "periods": ["daily", "all-time"]}, "tasks": {"metric": "tasks"}},
}


class Book:
    """What was sent, and what was answered. Written by senders, each key by one of them alone."""

    def __init__(self, today: datetime) -> None:
        self.noon = today.astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        self.sent: set[str] = set()
        self.acknowledged: dict[str, dict[str, Any]] = {}  # by eventId the event
        self.spends: dict[str, tuple[str, int]] = {}  # by key the user and the amount; 0: it was refused
        self.first_sent: dict[str, float] = {}  # by eventId, in monotonic seconds
        self.first_answered: dict[str, float] = {}
        self.in_order: list[list[str]] = []  # of requests with several events, answered at the first try
        self.requests: Counter[str] = Counter()
        self.faults: list[str] = []  # answers that should never be given


class Load:
    """Threads that send single events, batches, streams, waited events and spends, until they are told to stop."""

    def __init__(
        self, url: str, key: str, seed: int, book: Book, *, prefix: str = "e", pace_seconds: float = 0.0,
        log_first: bool = False,
    ) -> None:  # fmt: skip
        """`pace_seconds`: how long each sender rests between two requests. `log_first`: nobody knows what is a duplicate."""
        self._url = url
        self._headers = {"X-API-Key": key}
        self._book = book
        self._prefix = prefix
        self._pace_seconds = pace_seconds
        self._log_first = log_first
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(random.Random(f"{seed}/{number}"),)) for number in range(SENDERS)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Let every sender finish what it is sending, however often that must be sent."""
        self._stop.set()

    def has_stopped(self) -> bool:
        """Tell whether every sender has finished."""
        return not any(thread.is_alive() for thread in self._threads)

    def _send(self, chance: random.Random) -> None:
        ways = (self._one, self._one, self._batch, self._stream, self._wait, self._spend)
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=4, trust_env=False) as http:
            while not self._stop.wait(self._pace_seconds):
                try:
                    way = chance.choice(ways)
                    way(http, chance)
                    self._book.requests[way.__name__.strip("_")] += 1
                except AssertionError as fault:
                    self._book.faults.append(str(fault))

    def _events(self, chance: random.Random, count: int) -> list[dict[str, Any]]:
        events = [
            {
                "type": "task",
                "userId": f"{self._prefix}-user-{chance.randrange(USERS)}",
                "eventId": f"{self._prefix}{next(self._numbers)}",
                "occurredAt": (self._book.noon - timedelta(days=chance.randrange(1, DAYS))).isoformat(),
                "payload": {"minutes": chance.randrange(1, 60)},
            }
            for _ in range(count)
        ]
        self._book.sent.update(event["eventId"] for event in events)
        self._book.first_sent.update((event["eventId"], time.monotonic()) for event in events)
        return events

    def _one(self, http: httpx.Client, chance: random.Random) -> None:
        (event,) = self._events(chance, 1)
        first = self._until_answered(http, "/v1/events", event)
        self._acknowledge([event])
        if chance.random() < _REPEATED:
            again = self._until_answered(http, "/v1/events", event).json()
            if self._log_first:
                assert again["duplicate"] is None, f"a log knows no duplicates: {again}"
                return
            assert again["duplicate"], f"a repeated event was no duplicate: {again}"
            assert again["eventId"] == first.json()["eventId"], f"a repeated event has another id: {again}"

    def _batch(self, http: httpx.Client, chance: random.Random) -> None:
        events = self._events(chance, chance.choice((2, 10, 60)))
        for again in range(1 + (chance.random() < _REPEATED)):
            answer = self._until_answered(http, "/v1/events/batch", events)
            self._acknowledge(events, [result["status"] for result in answer.json()["results"]])
            if not again:
                self._expect_order(events, answer)

    def _stream(self, http: httpx.Client, chance: random.Random) -> None:
        events = self._events(chance, chance.choice((5, 80)))
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        kind = {"Content-Type": "application/x-ndjson"}
        for again in range(1 + (chance.random() < _REPEATED)):
            answer = self._until_answered(http, "/v1/ingest/stream", lines, kind)
            results = [json.loads(line) for line in answer.text.splitlines()][:-1]
            self._acknowledge(events, [result["status"] for result in results])
            if not again:
                self._expect_order(events, answer)

    def _wait(self, http: httpx.Client, chance: random.Random) -> None:
        (event,) = self._events(chance, 1)
        self._until_answered(http, "/v1/events", event, {"Prefer": "wait=3"})
        self._acknowledge([event])
        if self._log_first:  # it does not wait for what is still in the log
            self._book.first_sent.pop(event["eventId"])

    def _spend(self, http: httpx.Client, chance: random.Random) -> None:
        user, amount = f"{self._prefix}-user-{chance.randrange(USERS)}", chance.randrange(1, 8)
        key = f"{self._prefix}{next(self._numbers)}"
        body = {"userId": user, "currency": "coins", "amount": amount, "idempotencyKey": key}
        for _ in range(1 + (chance.random() < _REPEATED)):
            answer = self._until_answered(http, "/v1/currency/spend", body)
            spent = amount if answer.status_code == 201 else 0
            before = self._book.spends.setdefault(key, (user, spent))
            assert before == (user, spent), f"a repeated spend was answered otherwise: {answer.text}"

    def _acknowledge(self, events: list[dict[str, Any]], statuses: list[str] | None = None) -> None:
        if statuses is not None:
            assert len(statuses) == len(events), f"{len(events)} events were answered by {len(statuses)} results"
            assert set(statuses) <= {"accepted", "duplicate"}, f"events were answered {set(statuses)}"
        now = time.monotonic()
        for event in events:
            self._book.first_answered.setdefault(event["eventId"], now)
        self._book.acknowledged.update((event["eventId"], event) for event in events)

    def _expect_order(self, events: list[dict[str, Any]], answer: httpx.Response) -> None:
        """Note that a request was taken as it stands; of one sent again, parts may have come before the others."""
        if answer.extensions["tries"] == 1:
            self._book.in_order.append([event["eventId"] for event in events])

    def _until_answered(
        self, http: httpx.Client, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        deadline = time.monotonic() + GIVES_UP_SECONDS
        for tries in itertools.count(1):
            try:
                given = {"content": body} if isinstance(body, bytes) else {"json": body}
                answer = http.post(path, headers=headers, **given)
                if answer.status_code < 500:
                    assert answer.status_code in (200, 201, 202, 409), f"{path}: {answer.status_code} {answer.text}"
                    answer.extensions["tries"] = tries
                    return answer
                self._book.requests["answered 503"] += 1
                assert answer.status_code == 503, f"{path}: {answer.status_code} {answer.text}"
            except httpx.TransportError:
                self._book.requests["not answered"] += 1  # whether it was stored is unknown, so it is sent again
            assert time.monotonic() < deadline, f"{path} was not answered within {GIVES_UP_SECONDS:.0f} s"
            time.sleep(0.05)
        raise AssertionError("it is counted for ever")
