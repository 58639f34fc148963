"""What an installation lives through: a held horizon, a full disk, clocks that step, dead letters in heaps, a poisoned tenant."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from questline.store.embedded import EmbeddedPostgres
from tests.conftest import missing_part
from tests.harness.audit import Audit, audit
from tests.harness.child import CLOCK
from tests.harness.cluster import Cluster
from tests.harness.load import PROGRAM, Book, Load

SECONDS = float(os.environ.get("QL_TEST_TORTURE_SECONDS", "4"))
DEAD_LETTERS = 100_000
SICK = 200  # events of the poisoned tenant, each of a user of its own
SEED = int(os.environ.get("QL_TEST_SEED", "20261121"))
_MEBIBYTE = 2**20
_DISK_MEBIBYTES = 224  # what PostgreSQL needs to start, its log of one checkpoint and some room

# Dead letters of events that were sent long ago, made by set statements: 100,000 of them, one user in ten of them named.
DEAD = """
    WITH made AS (
        INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at)
        SELECT ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 'old', 'dead-' || n % 10000, '{}', $2, $2
        FROM generate_series(1, $3::integer) AS n RETURNING id
    )
    INSERT INTO dead_letters (project_id, event_id, user_hash, reason, message, attempts, failed_at)
    SELECT $1, id, ('x' || right(id::text, 8))::bit(32)::bigint, 'ENGINE_ERROR', 'of old', 1, $2 FROM made"""
POISON = """
    CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '40001'; END $$;
    CREATE TRIGGER poisoned BEFORE INSERT ON transfers FOR EACH ROW WHEN (NEW.project_id = {}) EXECUTE FUNCTION poisoned()"""


class Tortured:
    """An installation under load, and what was sent to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.book = Book(datetime.now(UTC))
        self._load = Load(cluster.url, cluster.file.secret_key, SEED, self.book)

    def start(self) -> None:
        with self.cluster.client() as http:
            assert http.put("/v1/program", json=PROGRAM).status_code == 200
        self._load.start()

    def settle(self) -> None:
        """Let the senders finish."""
        self._load.ask_to_stop()
        self.cluster.tend_until(self._load.has_stopped, 120, "every sender is answered")

    def go_on(self, seconds: float) -> int:
        """Stay under load for so long, and until at least something was acknowledged; return how many events were."""
        before = len(self.book.acknowledged)
        self.cluster.tend_for(seconds)
        self.cluster.tend_until(lambda: len(self.book.acknowledged) > before, 60, "the load makes progress")
        return len(self.book.acknowledged) - before

    def ask(self, query: str, *arguments: Any) -> Any:
        """Ask PostgreSQL, as its owner, past the door."""

        async def asked() -> Any:
            conn = await self.cluster.owner()
            try:
                return await (conn.fetchval(query, *arguments) if arguments else conn.execute(query))
            finally:
                await conn.close()

        return asyncio.run(asked())

    def audited(self) -> Audit:
        async def found() -> Audit:
            conn = await self.cluster.owner()
            try:
                return await audit(conn, self.book, self.cluster.file.project)
            finally:
                await conn.close()

        return asyncio.run(found())


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for the whole module."""
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as directory:
        started = EmbeddedPostgres(Path(directory), settings={"fsync": "off", "shared_buffers": "128MB"})
        started.start()
        yield started
        started.stop()


@contextmanager
def tortured(server: EmbeddedPostgres, database: str, **more: Any) -> Iterator[Tortured]:
    """An installation that has begun to work."""
    cluster = Cluster(server, database, workers=1, **more)
    try:
        cluster.start()
        installation = Tortured(cluster)
        installation.start()
        try:
            yield installation
        finally:
            cluster.thaw_all()
            installation.settle()
    finally:
        cluster.stop()


def assert_well(tortured: Tortured) -> None:
    found = tortured.audited()
    assert found == Audit(events=found.events), found.findings


def test_a_transaction_that_holds_the_horizon_stops_nothing(server: EmbeddedPostgres) -> None:
    with tortured(server, "horizon") as installation:
        calm = installation.go_on(SECONDS / 2)
        holder = asyncio.new_event_loop()
        conn = holder.run_until_complete(installation.cluster.owner())
        holder.run_until_complete(conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TEMP TABLE held ()"))
        held = installation.go_on(SECONDS)
        left = installation.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND $1::text <> ''", "x"
        )
        holder.run_until_complete(conn.execute("ROLLBACK"))
        holder.run_until_complete(conn.close())
        holder.close()
        installation.settle()
        print(f"{calm / SECONDS * 2:.0f} events/s calm, {held / SECONDS:.0f} events/s while the horizon is held")
        assert left
        assert_well(installation)


def test_a_full_disk_is_told_loses_nothing_and_is_recovered_from() -> None:
    with small_disk() as disk:
        server = EmbeddedPostgres(
            disk / "pg",
            settings={"fsync": "off", "shared_buffers": "32MB", "max_wal_size": "64MB", "min_wal_size": "32MB"},
        )
        server.start()
        try:
            with tortured(server, "disk") as installation:
                installation.go_on(0.5)
                filler = disk / "filler"
                _fill(filler)
                unanswered = installation.book.requests["answered 503"]
                seen: set[int] = set()

                def is_told() -> bool:
                    _fill(filler)  # what was left by a log that was recycled
                    seen.add(_status_of_an_event(installation.cluster))
                    return 503 in seen

                installation.cluster.tend_until(is_told, 60, "a full disk is answered with 503")
                filler.unlink()
                acknowledged = installation.go_on(1.0)
                installation.settle()
                told = installation.book.requests["answered 503"] - unanswered
                print(f"{told} requests answered 503; {acknowledged} events acknowledged once there was room again")
                assert seen <= {0, 202, 503}
                assert_well(installation)
        finally:
            server.stop()


def test_clocks_that_step_back_and_forth_change_nothing(server: EmbeddedPostgres, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with tortured(server, "clock", environment={CLOCK: str(clock)}) as installation:
        for wrong_seconds in (3_600, -3_600, 0):
            installation.go_on(SECONDS / 4)
            clock.write_text(str(wrong_seconds))
        installation.go_on(SECONDS / 4)
        installation.settle()
        stamped = installation.ask(
            "SELECT count(DISTINCT date_trunc('hour', received_at + interval '30 minutes')) FROM events WHERE type = $1",
            "task",
        )
        assert stamped >= 3, "the processes did not notice that their clock was stepped"
        assert_well(installation)


def test_a_heap_of_dead_letters_stands_in_nobodys_way(server: EmbeddedPostgres) -> None:
    with tortured(server, "dead") as installation:
        project = installation.ask("SELECT id FROM projects WHERE app_id = $1", installation.cluster.file.project)
        calm = installation.go_on(SECONDS / 2)
        installation.ask(DEAD, project, datetime(2026, 1, 1, tzinfo=UTC), DEAD_LETTERS)
        beside = installation.go_on(SECONDS / 2)
        with installation.cluster.client() as http:
            page = http.get("/v1/admin/dlq", params={"limit": 100}).json()
            reasons = http.get("/v1/admin/dlq/reasons").json()
        installation.settle()
        print(
            f"{calm / SECONDS * 2:.0f} events/s calm, {beside / SECONDS * 2:.0f} beside {DEAD_LETTERS:,} dead letters"
        )
        assert len(page["items"]) == 100
        assert str(DEAD_LETTERS) in str(reasons)
        found = installation.audited()
        assert found.findings == [f"{DEAD_LETTERS} dead letters, though every event was good"]


def test_a_poisoned_tenant_delays_no_other(server: EmbeddedPostgres) -> None:
    """Every event of the sick tenant fails and is tried again; the healthy one beside it is applied meanwhile, whole."""
    with tortured(server, "poisoned") as installation:
        calm = installation.go_on(SECONDS / 2)
        sick = _new_app(installation.cluster)
        installation.ask(POISON.format(installation.ask("SELECT id FROM projects WHERE app_id = $1", "sick")))
        with httpx.Client(
            base_url=installation.cluster.url, headers={"X-API-Key": sick}, timeout=60, trust_env=False
        ) as http:
            assert http.put("/v1/program", json=PROGRAM).status_code == 200
            for start in range(0, SICK, 100):
                events = [
                    {"type": "task", "userId": f"sick-{n}", "eventId": f"sick-{n}"} for n in range(start, start + 100)
                ]
                assert http.post("/v1/events/batch", json=events).status_code == 202
        beside = installation.go_on(SECONDS)
        installation.settle()
        waiting = """SELECT (SELECT count(*) FROM outbox o JOIN projects p ON p.id = o.project_id WHERE (p.app_id = $1) = $2)
                          + (SELECT count(*) FROM retries r JOIN projects p ON p.id = r.project_id WHERE (p.app_id = $1) = $2)"""
        installation.cluster.tend_until(
            lambda: installation.ask(waiting, "sick", False) == 0, 60, "the healthy tenant's events are applied"
        )
        still_sick = installation.ask(waiting, "sick", True)
        print(
            f"{calm / SECONDS * 2:.0f} events/s calm, {beside / SECONDS:.0f} beside a poisoned tenant, of which {still_sick} wait"
        )
        assert still_sick == SICK, "the sick tenant's events were to wait while the healthy one's went through"
        installation.ask("DROP TRIGGER poisoned ON transfers")
        installation.ask("UPDATE parked_users SET due_at = now()")
        assert_well(installation)


@contextmanager
def small_disk() -> Iterator[Path]:
    """A disk of a fixed size."""
    with tempfile.TemporaryDirectory(prefix="ql-disk-") as directory:
        os.chmod(directory, 0o755)
        size = f"size={_DISK_MEBIBYTES}m,mode=755"
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", directory], check=False, capture_output=True
        ).returncode:
            missing_part("The right to mount a small disk (run as root)")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


def _fill(filler: Path) -> None:
    """Take all the room there is."""
    with filler.open("ab", buffering=0) as file:
        for size in (_MEBIBYTE, 4096):
            while True:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    break


def _status_of_an_event(cluster: Cluster) -> int:
    body = {"type": "other", "userId": "somebody", "payload": {"text": "x" * 8_000}}
    try:
        with cluster.client() as http:
            return http.post("/v1/events", json=body).status_code
    except httpx.TransportError:
        return 0


def _new_app(cluster: Cluster) -> str:
    body = {"id": "sick", "name": "Sick"}
    answer = httpx.post(
        f"{cluster.url}/v1/apps", json=body, headers={"X-Admin-Token": cluster.file.admin_token}, trust_env=False
    )
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["bootstrapApiKey"]
    return key
