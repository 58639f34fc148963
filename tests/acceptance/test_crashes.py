"""Kill -9 of API, worker and PostgreSQL at seeded random points under load: nothing lost, nothing twice, nothing stuck."""

import asyncio
import itertools
import os
import random
import signal
import threading
import time
from typing import Any

import asyncpg
import httpx
import pytest

from questline.control.board_rebuild import compare
from questline.engine.compile import compile_program
from questline.store.embedded import EmbeddedPostgres
from questline.store.projects import find

from .conftest import Instance, eventually

ROUNDS = int(os.environ.get("QL_TEST_CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("QL_TEST_SEED", "20261121"))
SENDERS = 4
USERS = 40
STUCK_SECONDS_MAX = 10.0

PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}, "coins": {"kind": "currency"}},
    "metrics": {"tasks": {"on": "task", "count": True}},
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


class Load:
    """Senders that know what was acknowledged. What was not, they send again under the same key, until it is."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"X-API-Key": key}
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self.acknowledged: set[str] = set()
        self.spent: set[str] = set()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every sender finish its last event, however often that must be sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def _send(self, seed: int) -> None:
        chance = random.Random(SEED + seed)
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=5) as http:
            while not self._stop.is_set():
                ids = [f"e{next(self._numbers)}" for _ in range(chance.choice([1, 1, 5, 40]))]
                items = [{"type": "task", "userId": f"u{chance.randrange(USERS)}", "eventId": id_} for id_ in ids]
                kind = chance.random()
                if kind < 0.15:
                    body = {"userId": items[0]["userId"], "currency": "coins", "amount": 1, "idempotencyKey": ids[0]}
                    if self._until_answered(http, "/v1/currency/spend", body).status_code == 201:
                        self.spent.add(ids[0])
                elif kind < 0.4:
                    self._until_answered(http, "/v1/events", items[0], {"Prefer": "wait=5"})
                    self.acknowledged.add(ids[0])
                else:
                    self._until_answered(http, "/v1/events/batch", items)
                    self.acknowledged.update(ids)

    def _until_answered(
        self, http: httpx.Client, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = http.post(path, json=body, headers=headers)
                if answer.status_code < 500:
                    assert answer.status_code in (200, 201, 202, 409), answer.text
                    return answer
            except httpx.TransportError:
                pass  # killed under us: whether it was stored is unknown, so it is sent again
            assert time.monotonic() < deadline, f"{path} was not answered for a minute"


@pytest.mark.timeout(280)
def test_what_was_acknowledged_is_applied_once_whatever_is_killed(instance: Instance) -> None:
    instance.start()
    assert instance.client.put("/v1/program", json=PROGRAM).status_code == 200
    load, chance = Load(instance.dev_file["url"], instance.dev_file["secretKey"]), random.Random(SEED)
    kills: dict[str, int] = {}
    load.start()
    try:
        for _ in range(ROUNDS):
            goal = len(load.acknowledged) + chance.randrange(20, 300)
            eventually(lambda goal=goal: len(load.acknowledged) >= goal, 60)
            name = chance.choice(sorted(instance.pids()))
            before = instance.pids()[name]
            os.kill(before, signal.SIGKILL)
            kills[name] = kills.get(name, 0) + 1
            eventually(lambda name=name, before=before: instance.pids().get(name, before) != before, 30)
    finally:
        load.stop()
    asyncio.run(_verify(instance, load))
    print(
        f"seed {SEED}: {ROUNDS} kills {kills}, {len(load.acknowledged)} acknowledged, {len(load.spent)} spent, 0 lost, 0 twice"
    )


async def _verify(instance: Instance, load: Load) -> None:
    postgres = EmbeddedPostgres(instance.data / "postgres")
    conn = await asyncpg.connect(postgres.dsn())
    try:
        deadline = time.monotonic() + STUCK_SECONDS_MAX
        while stuck := await conn.fetchval("SELECT count(*) FROM outbox"):
            assert time.monotonic() < deadline, f"{stuck} events are stuck"
            await asyncio.sleep(0.05)
        row = await find(conn, instance.dev_file["project"])
        assert row is not None
        project = row.project
        applied = {
            r["external_id"]: r["decisions"]
            for r in await conn.fetch(
                """SELECT e.external_id, count(d.event_id) AS decisions FROM events e
                   LEFT JOIN decisions d ON d.project_id = e.project_id AND d.event_id = e.id
                   WHERE e.type = 'task' GROUP BY 1"""
            )
        }
        assert load.acknowledged - applied.keys() == set(), "an acknowledged event is lost"
        assert {id_ for id_, n in applied.items() if n != 1} == set(), "an event was not applied exactly once"
        assert await conn.fetchval("SELECT count(*) FROM dead_letters") == 0
        paid = await conn.fetchval("SELECT count(*) FROM transfers WHERE rule = 'rule:task' AND currency = 'XP'")
        assert paid == len(applied), "an effect is missing or came twice"
        burnt = await conn.fetchval("SELECT count(*) FROM transfers WHERE credit = 'burn'")
        assert burnt >= len(load.spent)
        counted = await conn.fetchval("SELECT sum(value)::bigint FROM metrics WHERE metric = 'tasks'")
        assert counted == len(applied)
        unequal = await conn.fetch(
            """SELECT * FROM balances b FULL JOIN (
                 SELECT project_id, user_id, currency, sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) AS total
                 FROM transfers GROUP BY 1, 2, 3) t USING (project_id, user_id, currency)
               WHERE b.amount IS DISTINCT FROM t.total"""
        )
        assert unequal == [], "a balance is not the sum of its transfers"
        assert await compare(conn, project, compile_program(PROGRAM, 1)) == [], "a board is not its ledger"
    finally:
        await conn.close()
