"""What is too old is taken away: what goes, what stays, what is answered afterwards. Ids are of old months, the clock is given."""

import asyncio
import hashlib
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import duckdb
import pytest
from conftest_api import App, Instance
from typer.testing import CliRunner

from questline.cli import main
from questline.control.board_rebuild import EventsPruned, compare
from questline.ingest.envelope import Normaliser
from questline.model.event import AcceptedEvent
from questline.model.retention import Retention
from questline.processing.archive import Archive, ArchiveFailed
from questline.processing.programs import ProgramCache
from questline.processing.pruning import Pruning
from questline.processing.retention import Kept, copy, plan, prune
from questline.store import projects
from questline.store.accept import accept
from questline.store.archive import COLUMNS
from questline.store.ids import EventIds, earliest_id
from questline.store.migrate import PARTITIONED, ensure_partitions
from questline.store.pool import connect

PAGE = Path(__file__).parents[2] / "docs/how-to/retention.md"
NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
MARCH, APRIL, MAY, JUNE = (datetime(2025, month, 10, tzinfo=UTC) for month in (3, 4, 5, 6))
PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 10}}},
    "rules": {"task": {"on": "task", "award": {"XP": 40}}},
}


class Past:
    """Accepts events as if it were long ago, applies them, and prunes as if it were `NOW`."""

    def __init__(self, questline: Instance, owner: asyncpg.Connection, owner_dsn: str, app: App) -> None:
        self.owner_dsn = owner_dsn
        self.questline = questline
        self.owner = owner
        self.app = app
        self.ids: list[UUID] = []

    async def event(self, at: datetime, key: str, user: str = "ada") -> UUID:
        """Store an event received at a time; its id says so."""
        row = await projects.find(self.owner, self.app.app_id)
        id_ = UUID(int=earliest_id(int(at.timestamp() * 1000)).int + len(self.ids) + 1)
        normaliser = Normaliser(lambda: id_, lambda: at, 300)
        body = json.dumps(
            {"type": "task", "userId": user, "payload": {"n": len(self.ids)}, "occurredAt": at.isoformat()}
        )
        event = normaliser.from_json(body.encode(), row.project, key)
        assert isinstance(event, AcceptedEvent)
        assert await accept(self.owner, [event]) == {id_}
        self.ids.append(id_)
        return id_

    async def again(self, at: datetime, key: str, n: int) -> dict[str, Any]:
        """Send an event again over HTTP, now."""
        answer = await self.app.send(
            "task", "ada", {"n": n}, occurredAt=at.isoformat(), headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def prune(self, retention: Retention, archive: Archive | None = None, now: datetime = NOW) -> list[Kept]:
        made = await plan(self.owner, retention, now)
        return made.kept + await prune(self.owner, made, retention, now, EventIds().new, archive, quietly)

    async def planned(self, retention: Retention) -> list[str]:
        return [step.name for step in (await plan(self.owner, retention, NOW)).steps]

    async def tables(self) -> list[str]:
        rows = await self.owner.fetch(
            r"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_2025_\d\d$' ORDER BY 1"
        )
        return [row[0] for row in rows]

    async def count(self, table: str) -> int:
        return await self.owner.fetchval(f"SELECT count(*) FROM {table}")


def quietly(_name: str, _done: int, _total: int) -> None:
    pass


def days_since(at: datetime) -> int:
    return (NOW - at).days


@pytest.fixture
async def past(questline: Instance, database: Any) -> Any:
    """Four months of last year with their partitions, and no rows of other tests."""
    owner = await connect(database.owner_dsn)
    leftovers = await owner.fetch(r"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_2025_\d\d$'")
    for (name,) in leftovers:
        await owner.execute(f"DROP TABLE {name}")
    await owner.execute("TRUNCATE events, decisions, attempts, notices, dedupe_keys, outbox, retries, parked_users, dead_letters, "
                        "reviews, replays, anonymous_events, pruned")  # fmt: skip
    await ensure_partitions(owner, MARCH)
    yield Past(questline, owner, database.owner_dsn, await questline.app(PROGRAM))
    await owner.close()


async def test_whole_months_are_dropped_and_the_month_of_the_cutoff_stays(past: Past) -> None:
    for at in (MARCH, APRIL, MAY, JUNE):
        await past.event(at, f"{at:%m}")
    await past.questline.drain()
    before = await past.app.profile("ada")
    assert await past.prune(Retention(events=days_since(MAY))) == []
    assert await past.tables() == [f"{t}_2025_{m}" for t in ("attempts", "decisions", "events") for m in ("05", "06")] + [
        f"notices_2025_{m}" for m in ("03", "04", "05", "06")
    ]  # fmt: skip
    assert [await past.count(table) for table in ("events", "decisions", "attempts", "transfers")] == [2, 2, 2, 4]
    assert await past.app.profile("ada") == before


async def test_a_pruned_event_sent_again_is_still_a_duplicate_and_pays_nothing(past: Past) -> None:
    id_ = await past.event(MARCH, "march")
    await past.questline.drain()
    await past.prune(Retention(events=30))
    again = await past.again(MARCH, "march", 0)
    await past.questline.drain()
    assert (again["eventId"], again["duplicate"]) == (str(id_), True)
    assert await past.app.balance("ada", "XP") == 40


async def test_a_pruned_event_is_gone_by_every_name_and_one_that_never_was_is_not_found(past: Past) -> None:
    id_ = await past.event(MARCH, "march")
    await past.questline.drain()
    await past.prune(Retention(events=30))
    for name in (str(id_), "march"):
        answer = await past.app.get(f"/v1/events/{name}")
        assert (answer.status_code, answer.json()["code"], answer.json()["eventId"]) == (410, "event-pruned", str(id_))
    for name in ("never", str(EventIds().new())):
        assert (await past.app.get(f"/v1/events/{name}")).status_code == 404


async def test_keys_older_than_their_retention_are_forgotten_and_those_at_it_are_not(past: Past) -> None:
    edge = NOW - timedelta(days=90)
    await past.event(edge - timedelta(milliseconds=1), "older")
    kept = await past.event(edge, "at-it")
    await past.questline.drain()
    assert await past.prune(Retention(keys=90)) == []
    older = await past.again(edge - timedelta(milliseconds=1), "older", 0)
    at_it = await past.again(edge, "at-it", 1)
    await past.questline.drain()
    assert (older["duplicate"], at_it["duplicate"], at_it["eventId"]) == (False, True, str(kept))
    assert await past.app.balance("ada", "XP") == 120


NEEDS: dict[str, tuple[str, str]] = {
    "it waits in the queue": ("", "1 wait to be applied: start workers"),
    "it is tried again later": (
        "WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO retries SELECT project_id, event_id, user_hash, seq FROM gone",
        "1 wait to be tried again",
    ),
    "it is a dead letter": (
        "WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO dead_letters SELECT project_id, event_id, user_hash, "
        "'STORE_ERROR', 'no', 1, now() FROM gone",
        "1 are dead letters: questline dlq retry, or discard",
    ),
    "a guard holds it": (
        "WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO reviews SELECT project_id, 1, event_id, 'waiting', now(), '' "
        "FROM gone",
        "1 are held for review: approve or deny them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("need", NEEDS)
async def test_a_month_stays_while_an_event_of_it_is_needed(past: Past, need: str) -> None:
    statement, reason = NEEDS[need]
    await past.event(MARCH, "needed")
    await past.owner.execute(statement or "SELECT 1")
    kept = await past.prune(Retention(events=30, keys=30))
    assert [k for k in kept if "2025_03" in k.name] == [
        Kept(f"{t}_2025_03", reason) for t in ("events", "decisions", "attempts")
    ]
    assert [await past.count(table) for table in ("events", "dedupe_keys")] == [1, 1]
    assert "events_2025_04" not in await past.tables()
    await past.owner.execute("TRUNCATE outbox, retries, reviews")
    await past.owner.execute("UPDATE dead_letters SET discarded_at = now(), discarded_by = 'x', discarded_for = 'y'")
    assert await past.prune(Retention(events=30, keys=30)) == []
    assert [await past.count(table) for table in ("events", "dedupe_keys")] == [0, 0]


async def test_what_comes_to_need_a_month_after_it_was_looked_at_keeps_it(past: Past) -> None:
    made = await plan(past.owner, Retention(events=30), NOW)
    assert "events_2025_03" in [step.name for step in made.steps]
    await past.event(MARCH, "late")
    left = await prune(past.owner, made, Retention(events=30), NOW, EventIds().new, None, quietly)
    assert [k.name for k in left] == ["events_2025_03", "decisions_2025_03", "attempts_2025_03"]
    assert await past.count("events") == 1


async def test_attempts_go_earlier_where_that_is_set_and_the_event_is_still_explained(past: Past) -> None:
    id_ = await past.event(MARCH, "march")
    await past.questline.drain()
    await past.prune(Retention(attempts=30))
    event = (await past.app.get(f"/v1/events/{id_}")).json()
    assert (event["status"], event["attempts"], event["decision"]["transfers"][0]["amount"]) == ("processed", [], 40)


async def test_notices_go_by_a_retention_of_their_own(past: Past) -> None:
    await past.event(MARCH, "march")
    await past.event(JUNE, "june", "bea")
    await past.questline.drain()
    both = await past.count("notices")
    await past.prune(Retention(notices=days_since(JUNE)))
    assert (both, await past.count("notices"), await past.count("events")) == (2, 1, 2)


async def test_rows_of_a_month_that_has_no_partition_are_taken_out_of_the_default_one(past: Past) -> None:
    february = datetime(2025, 2, 1, tzinfo=UTC)
    await past.event(february, "slipped")
    await past.event(NOW - timedelta(days=3), "young", "bea")
    await past.questline.drain()
    assert await past.count("events_default") == 2
    await past.prune(Retention(events=30, notices=30))
    assert [await past.count(f"{t}_default") for t in PARTITIONED] == [1, 1, 1, 1]


async def test_facts_cannot_be_deleted_without_pruning_and_transfers_not_even_then(past: Past) -> None:
    await past.event(datetime(2025, 2, 1, tzinfo=UTC), "slipped")
    await past.questline.drain()
    with pytest.raises(asyncpg.RestrictViolationError):
        await past.owner.execute("DELETE FROM events")
    async with past.owner.transaction():
        await past.owner.execute("SET LOCAL questline.pruning = 'on'")
        with pytest.raises(asyncpg.RestrictViolationError):
            async with past.owner.transaction():  # so that the one around it goes on
                await past.owner.execute("DELETE FROM transfers")


async def test_events_of_visitors_whom_nobody_named_go_with_the_events(past: Past) -> None:
    for at, visitor in ((MARCH, "old"), (NOW - timedelta(days=29), "young")):
        id_ = earliest_id(int(at.timestamp() * 1000))
        await past.owner.execute(
            "INSERT INTO anonymous_events SELECT p.id, $2, $3, $4, '', 'task', '{}', $5, $5, $2 FROM projects p WHERE app_id = $1",
            past.app.app_id, visitor, id_, visitor.encode(), at,
        )  # fmt: skip
    await past.prune(Retention(events=30))
    assert [row[0] for row in await past.owner.fetch("SELECT anonymous_id FROM anonymous_events")] == ["young"]


async def test_a_repeated_command_of_a_pruned_time_is_told_so_and_not_run_again(past: Past) -> None:
    first = await past.app.post("/v1/check-in", json={"userId": "ada"}, headers={"Idempotency-Key": "c"})
    assert first.status_code == 200, first.text
    later = datetime.fromisoformat(
        (await past.app.get(f"/v1/events/{first.json()['eventId']}")).json()["receivedAt"]
    ) + timedelta(days=99)
    await past.prune(Retention(events=30), now=later)
    again = await past.app.post("/v1/check-in", json={"userId": "ada"}, headers={"Idempotency-Key": "c"})
    assert (again.status_code, again.json()["code"]) == (410, "event-pruned")
    assert again.json()["eventId"] == first.json()["eventId"]
    await ensure_partitions(past.owner, later)


async def test_every_organization_reads_in_its_log_what_was_pruned(past: Past) -> None:
    await past.event(MARCH, "march")
    await past.questline.drain()
    await past.prune(Retention(events=30))
    row = await past.owner.fetchrow(
        "SELECT a.actor, a.action, a.after FROM audit_log a JOIN projects p USING (organization_id) WHERE p.app_id = $1 "
        "AND a.action = 'data.prune' ORDER BY a.id DESC LIMIT 1",
        past.app.app_id,
    )
    after = json.loads(row["after"])
    assert (row["actor"], after["retentionDays"]["events"]) == ("operator", 30)
    assert "events_2025_03" in after["taken"]


TOLD_AS = {"attempts": {"at": "attempted_at"}, "notices": {"at": "occurred_at"}}


@pytest.mark.parametrize("table", PARTITIONED)
async def test_an_archive_has_every_column_of_its_table_and_the_page_says_which(past: Past, table: str) -> None:
    rows = await past.owner.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    columns = [column.name for column in COLUMNS[table]]
    assert sorted(columns) == sorted(["project", *(TOLD_AS.get(table, {}).get(row[0], row[0]) for row in rows)])
    assert f"| `{table}` | {', '.join(f'`{name}`' for name in columns)} |" in PAGE.read_text(encoding="utf-8")


ARCHIVED = {
    "events": "SELECT p.app_id, e.id::text, e.type, e.external_user, e.payload::text, e.occurred_at AT TIME ZONE 'UTC', e.external_id "
    "FROM events_2025_03 e JOIN projects p ON p.id = e.project_id ORDER BY 2",
    "decisions": "SELECT p.app_id, e.event_id::text, e.user_id, e.status, e.program_version, e.trace::text "
    "FROM decisions_2025_03 e JOIN projects p ON p.id = e.project_id ORDER BY 2",
    "attempts": "SELECT p.app_id, e.event_id::text, e.number, e.status, e.reason, e.message, e.duration_us, e.at AT TIME ZONE 'UTC' "
    "FROM attempts_2025_03 e JOIN projects p ON p.id = e.project_id ORDER BY 2",
    "notices": "SELECT p.app_id, e.event_id::text, e.ordinal, e.user_id, e.type, e.data::text, e.at AT TIME ZONE 'UTC' "
    "FROM notices_2025_03 e JOIN projects p ON p.id = e.project_id ORDER BY 2, 3",
}  # fmt: skip
IN_DUCKDB = {
    "events": "SELECT project, id, type, external_user, payload, timezone('UTC', occurred_at), external_id FROM t ORDER BY 2",
    "decisions": "SELECT project, event_id, user_id, status, program_version, trace FROM t ORDER BY 2",
    "attempts": "SELECT project, event_id, number, status, reason, message, duration_us, timezone('UTC', attempted_at) FROM t ORDER BY 2",
    "notices": "SELECT project, event_id, ordinal, user_id, type, data, timezone('UTC', occurred_at) FROM t ORDER BY 2, 3",
}


def in_duckdb(statement: str, files: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as duck:
        duck.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet('{files}')")
        return duck.execute(statement).fetchall()


async def test_duckdb_reads_in_the_archive_what_postgresql_had(past: Past, tmp_path: Path) -> None:
    for number, user in enumerate(("ada", "béa", "\U0001f389", "ada")):
        await past.event(MARCH, f"k{number}", user)
    await past.questline.drain()
    had = {table: [tuple(row) for row in await past.owner.fetch(sql)] for table, sql in ARCHIVED.items()}
    assert await past.prune(Retention(events=30, notices=30), Archive(tmp_path)) == []
    assert {table: len(rows) for table, rows in had.items()} == {
        "events": 4,
        "decisions": 4,
        "attempts": 4,
        "notices": 3,
    }
    for table, rows in had.items():
        assert in_duckdb(IN_DUCKDB[table], tmp_path / table / "2025-03.parquet") == rows
    assert await past.tables() == []


async def test_the_manifest_says_what_is_in_the_file(past: Past, tmp_path: Path) -> None:
    first = await past.event(MARCH, "a")
    last = await past.event(MARCH + timedelta(days=3), "b")
    archive = Archive(tmp_path)
    await copy(past.owner, archive, MAY, quietly)
    manifest = json.loads((tmp_path / "events/2025-03.json").read_bytes())
    file = tmp_path / "events/2025-03.parquet"
    assert (manifest["rows"], manifest["minId"], manifest["maxId"]) == (2, str(first), str(last))
    assert (manifest["bytes"], manifest["sha256"]) == (
        file.stat().st_size,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    assert sorted(path.name for path in (tmp_path / "events").iterdir()) == [
        "2025-03.json", "2025-03.parquet", "2025-04.json", "2025-04.parquet"
    ]  # fmt: skip
    assert await past.count("events") == 2


async def test_a_file_that_is_not_what_was_written_keeps_its_month(past: Past, tmp_path: Path) -> None:
    await past.event(MARCH, "a")
    await past.questline.drain()
    archive = Spoiling(tmp_path)
    with pytest.raises(ArchiveFailed, match="SHA-256"):
        await past.prune(Retention(events=30), archive)
    assert await past.count("events_2025_03") == 1


class Spoiling(Archive):
    """An archive whose disk changes a byte."""

    async def write(self, *args: Any, **more: Any) -> Any:
        manifest = await super().write(*args, **more)
        path = self.file(manifest.table, manifest.name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        return manifest


class Broken(Archive):
    """An archive whose process is killed once `rows` were written of a table."""

    table = "decisions"

    async def write(self, conn: Any, table: str, *args: Any, **more: Any) -> Any:
        if table == self.table:
            raise ConnectionAbortedError("killed")
        return await super().write(conn, table, *args, **more)


async def test_what_breaks_off_is_gone_on_with_and_nothing_is_lost_or_written_twice(past: Past, tmp_path: Path) -> None:
    await past.event(MARCH, "a")
    await past.event(datetime(2025, 2, 1, tzinfo=UTC), "slipped")
    await past.questline.drain()
    with pytest.raises(ConnectionAbortedError):
        await past.prune(Retention(events=30), Broken(tmp_path))
    assert "events_2025_03" not in await past.tables()
    assert await past.owner.fetchval("SELECT NOT relispartition FROM pg_class WHERE relname = 'decisions_2025_03'")
    assert await past.prune(Retention(events=30), Archive(tmp_path)) == []
    for table in ("events", "decisions", "attempts"):
        assert in_duckdb("SELECT count(*) FROM t", tmp_path / table / "*.parquet") == [(2,)]
        assert await past.count(table) == 0


async def test_what_lies_in_the_default_partition_is_archived_once_however_often_it_breaks_off(
    past: Past, tmp_path: Path
) -> None:
    slipped = datetime(2025, 2, 1, tzinfo=UTC)
    await past.event(slipped, "a")
    await past.questline.drain()
    made = await plan(past.owner, Retention(events=30), NOW)
    step = next(step for step in made.steps if step.name == "events_default")
    archive = Archive(tmp_path)
    archive.prepare()
    name = "rest-before-2026-06-1"  # what a run writes that is killed before it deletes
    await archive.write(past.owner, "events", "events_default", name, lambda _: None, step.below, final=True)
    await past.prune(Retention(events=30), archive)
    assert (await past.count("events"), in_duckdb("SELECT count(*) FROM t", tmp_path / "events/rest-*.parquet")) == (
        0,
        [(1,)],
    )


async def test_a_month_in_use_is_left_for_the_next_time_and_nobody_waits_behind(past: Past, monkeypatch: Any) -> None:
    monkeypatch.setattr("questline.processing.retention.PRUNE_LOCK_TRIES", 2)
    monkeypatch.setattr("questline.processing.retention.PRUNE_LOCK_PAUSE_SECONDS", 0.0)
    reader = await connect(past.questline.settings.dsn)
    try:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM events")
            left = await past.prune(Retention(events=30))
        assert left[0] == Kept("events_2025_03", "its table was in use all the time: repeat it when less is going on")
        assert "decisions_2025_03" in await past.tables()
        assert await past.prune(Retention(events=30)) == []
    finally:
        await reader.close()


async def test_a_worker_prunes_by_itself_when_it_is_time_and_only_one_does(past: Past, database: Any) -> None:
    await past.event(MARCH, "march")
    await past.questline.drain()
    moment = [NOW]

    def pruning(dsn: str = database.owner_dsn) -> Pruning:
        return Pruning(dsn, lambda: moment[0], EventIds().new, Retention(events=30), None, 24)

    assert await pruning(past.questline.settings.dsn).run_once() is False  # it does not own the tables
    assert sorted(await asyncio.gather(pruning().run_once(), pruning().run_once())) == [False, True]
    assert await past.count("events") == 0
    moment[0] += timedelta(hours=23)
    assert await pruning().run_once() is False
    moment[0] += timedelta(hours=1)
    assert await pruning().run_once() is True


async def test_a_worker_that_stops_leaves_between_two_steps_and_the_next_goes_on_at_once(
    past: Past, database: Any
) -> None:
    await past.event(MARCH, "march")
    await past.questline.drain()
    retention, stop, steps = Retention(events=30), asyncio.Event(), []

    def told(name: str, done: int, total: int) -> None:
        steps.append(name)
        stop.set()

    await prune(past.owner, await plan(past.owner, retention, NOW), retention, NOW, EventIds().new, None, told, stop)
    assert set(steps) == {steps[0]}
    assert await Pruning(database.owner_dsn, lambda: NOW, EventIds().new, retention, None, 24).run_once() is True
    assert await past.count("decisions") == 0


async def test_boards_by_metric_are_not_counted_from_events_that_are_gone(past: Past) -> None:
    counted = {**PROGRAM, "metrics": {"tasks": {"on": "task", "count": True}}, "boards": {"t": {"metric": "tasks"}}}
    assert (await past.app.put("/v1/program", json=counted)).status_code == 200
    await past.event(MARCH, "march")
    await past.questline.drain()
    row = await projects.find(past.owner, past.app.app_id)
    program = (await ProgramCache().in_force(past.owner, [row.project.id]))[row.project.id]
    assert await compare(past.owner, row.project, program) == []
    await past.prune(Retention(events=30))
    with pytest.raises(EventsPruned):
        await compare(past.owner, row.project, program)


async def run(past: Past, *command: str, **more: str) -> tuple[int, str]:
    """Run a command of the operator as it stands on the page; return how it ended and what it said."""
    environment = {"QUESTLINE_OWNER_DSN": past.owner_dsn, **more}
    done = await asyncio.to_thread(CliRunner().invoke, main.app, command, env=environment)
    return done.exit_code, done.output.strip()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


async def test_the_commands_of_the_page_do_what_it_says(past: Past, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    await past.event(MARCH, "march")
    await past.questline.drain()
    lines = [
        shlex.split(line)[1:] for block in blocks("sh") for line in block.splitlines() if line.startswith("questline ")
    ]
    look, take, write = lines
    status, said = await run(past, *look)
    assert (status, "events_2025_03" in said, "attempts_2025_03" in said) == (0, True, True), said
    assert await past.count("events") == 1
    assert await run(past, *write) == (0, "16 partitions are in archive")
    status, said = await run(past, *take)
    assert (status, said.splitlines()[-1]) == (0, "12 taken away, archived in archive"), said
    assert await past.count("events") == 0
    (sql,) = blocks("sql")
    with duckdb.connect() as duck:
        assert duck.execute(sql.replace("'archive/", f"'{tmp_path}/archive/")).fetchall() == [("task", "processed", 1)]


@pytest.mark.parametrize(
    ("given", "more", "said"),
    [
        ([],                                        {},      "everything is kept for ever"),
        (["--events", "365", "--yes"],              {"owner": "app"}, "only the owner of the tables may drop them"),
        (["--events", "365", "--archive-to", "/proc/no", "--yes"], {}, "/proc/no cannot be written to"),
        (["--events", "365"],                       {},      "Take this away without an archive?"),
    ],
)  # fmt: skip
async def test_what_stops_pruning_is_said_and_nothing_is_gone(
    past: Past, given: list[str], more: dict[str, str], said: str
) -> None:
    await past.event(MARCH, "march")
    await past.questline.drain()
    dsn = {"QUESTLINE_OWNER_DSN": past.questline.settings.dsn} if more else {}
    status, text = await run(past, "prune", *given, **dsn)
    assert (status, said in text) == (1, True), text
    assert await past.count("events_2025_03") == 1


async def test_events_are_accepted_while_months_are_detached_and_dropped(past: Past) -> None:
    for month in (MARCH, APRIL, MAY):
        await past.event(month, f"{month:%m}")
    await past.questline.drain()
    done = asyncio.Event()

    async def send() -> int:
        sent = 0
        while not done.is_set() or not sent:
            assert (await past.app.send("task", "bea", {"n": sent})).status_code == 202
            sent += 1
        return sent

    async with past.questline.worker():
        sender = asyncio.create_task(send())
        try:
            left = await past.prune(Retention(events=30))
        finally:
            done.set()
        sent = await sender
    await past.questline.drain()
    assert left == []
    assert await past.app.balance("bea", "XP") == 40 * sent


async def test_keys_are_gone_over_by_pages_without_an_index_of_their_own(past: Past) -> None:
    plan_of = await past.owner.fetch(
        "EXPLAIN DELETE FROM dedupe_keys WHERE ctid >= '(0,0)'::tid AND ctid < '(64,0)'::tid AND event_id < $1", uuid4()
    )
    assert any("Tid Range Scan" in row[0] for row in plan_of)
    indexes = await past.owner.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'dedupe_keys'")
    assert [row[0] for row in indexes] == ["dedupe_keys_pk"]


async def test_users_whose_history_lost_its_beginning_are_not_reprocessed(past: Past) -> None:
    await past.event(MARCH, "march")
    await past.event(JUNE, "june")
    await past.event(JUNE, "new", "bea")
    await past.questline.drain()
    await past.owner.execute("UPDATE users SET created_at = $1 WHERE external_id = 'ada'", MARCH)
    dearer = {**PROGRAM, "rules": {"task": {"on": "task", "award": {"XP": 50}}}}
    assert (await past.app.put("/v1/program", json=dearer)).status_code == 200
    body = {"mode": "reprocess", "dryRun": True}
    before = (await past.app.post("/v1/admin/replay", json=body)).json()
    await past.prune(Retention(events=days_since(JUNE)))
    after = (await past.app.post("/v1/admin/replay", json=body)).json()
    assert [sorted({item["userId"] for item in shown["differences"]}) for shown in (before, after)] == [
        ["ada", "bea"],
        ["bea"],
    ]
