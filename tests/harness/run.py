"""A run of the crash harness: load, faults by the seed, and the books audited at the end."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from questline.store.embedded import EmbeddedPostgres

from .audit import STUCK_SECONDS, STUCK_WITH_CARRIERS_SECONDS, Audit, audit
from .carriers import Carriers
from .cluster import Cluster
from .faults import ALL, FAULTS, dealt
from .load import PROGRAM, Book, Load
from .order import record

_PROGRESS_SECONDS_MAX = 180.0
_BESIDE_SECONDS_MAX = 0.3
_TRIES_TO_CATCH = 8  # a fault may strike when nothing that the defect spoils is on its way
_OVERLAP = 0.25  # of the faults come right behind the one before, while that is being recovered from


class Report(msgspec.Struct):
    """What a run did, and what was found."""

    seed: int
    rounds: int
    faults: dict[str, int]
    requests: dict[str, int]
    seconds: float
    audit: Audit

    def render(self) -> str:
        """Return the report as text: the figures, and what was found."""
        found = self.audit
        lines = [
            f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s, {found.events} events acknowledged, "
            f"{found.lost} lost, {found.twice} twice, {found.invented} invented, {found.disordered} out of order, {found.stuck} stuck",
            "  faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())),
            "  requests: " + ", ".join(f"{name} {count}" for name, count in sorted(self.requests.items())),
        ]
        return "\n".join([*lines, *(f"  FOUND: {finding}" for finding in found.findings)])


def run(
    server: EmbeddedPostgres,
    database: str,
    *,
    seed: int,
    rounds: int,
    seconds: float = 0.0,
    faults: Sequence[str] = tuple(FAULTS),
    beside: Sequence[str] = (),
    carriers: Carriers | None = None,
    defect: str = "",
    stuck_seconds: float | None = None,
) -> Report:
    """Run so many rounds, and go on for so many seconds if that is longer; return what was found.

    A round is a fault after some progress, at a moment that the seed chooses, and may meet one of those `beside`, which is a
    moment older. Call it from the main thread.
    """
    chance, began = random.Random(seed), time.monotonic()
    cluster = Cluster(server, database, carriers=carriers, defect=defect)
    book = Book(datetime.now(UTC))
    done: Counter[str] = Counter()
    rounds_done = 0
    found = Audit()
    try:
        cluster.start()
        _give_program(cluster)
        asyncio.run(_record(cluster))
        load = Load(cluster.url, cluster.file.secret_key, seed, book, log_first=cluster.carriers.is_log_first)
        load.start()
        try:
            others = dealt(chance, beside) if beside else itertools.repeat("")
            for name, other in zip(dealt(chance, faults), others, strict=False):
                if rounds_done >= rounds and time.monotonic() - began >= seconds:
                    break
                _make_progress(cluster, book, chance)
                if other:
                    ALL[other](cluster, chance)
                    done[other] += 1
                    cluster.tend_for(chance.uniform(0.0, _BESIDE_SECONDS_MAX))
                ALL[name](cluster, chance)
                done[name] += 1
                rounds_done += 1
            cluster.wait_until_ready()
        finally:
            load.ask_to_stop()
            cluster.tend_until(load.has_stopped, _PROGRESS_SECONDS_MAX + 30, "every sender is answered")
        cluster.wait_until_ready()
        cluster.wait_until_carried()
        usual = STUCK_WITH_CARRIERS_SECONDS if cluster.carriers.services else STUCK_SECONDS
        found = asyncio.run(_audit(cluster, book, stuck_seconds or usual))
        if found.findings and not defect:
            found.findings.append(f"the logs of the processes are in {cluster.directory}")
    finally:
        cluster.stop(keep_logs=bool(found.findings) and not defect)
    return Report(seed, rounds_done, dict(done), dict(book.requests), time.monotonic() - began, found)


def run_until_caught(
    server: EmbeddedPostgres,
    database: str,
    is_caught: Callable[[Audit], object],
    *,
    seed: int,
    rounds: int,
    fault: str,
    defect: str,
    carriers: Carriers,
    stuck_seconds: float,
) -> Report:
    """Run with a planted defect, by one seed after the other, until it shows or the tries are used up; return the last report."""
    for attempt in range(_TRIES_TO_CATCH):
        report = run(
            server, f"{database}_{attempt}", seed=seed + attempt, rounds=rounds, faults=[fault],
            carriers=carriers, defect=defect, stuck_seconds=stuck_seconds,
        )  # fmt: skip
        if is_caught(report.audit):
            break
    return report


def _give_program(cluster: Cluster) -> None:
    with cluster.client() as http:
        answer = http.put("/v1/program", json=PROGRAM)
        assert answer.status_code == 200, answer.text


async def _record(cluster: Cluster) -> None:
    conn = await cluster.owner()
    try:
        await record(conn)
    finally:
        await conn.close()


def _make_progress(cluster: Cluster, book: Book, chance: random.Random) -> None:
    """Let the load go on until so many more events are acknowledged, then for a moment that meets none of them."""
    goal = len(book.acknowledged) + (0 if chance.random() < _OVERLAP else chance.randrange(10, 120))
    cluster.tend_until(lambda: len(book.acknowledged) >= goal, _PROGRESS_SECONDS_MAX, "the load makes progress")
    cluster.tend_for(chance.uniform(0.0, 0.15))


async def _audit(cluster: Cluster, book: Book, stuck_seconds: float) -> Audit:
    conn = await cluster.owner()
    try:
        return await audit(conn, book, cluster.file.project, cluster.waiting_elsewhere, stuck_seconds)
    finally:
        await conn.close()
