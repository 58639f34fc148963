"""The state to measure on: three projects, many users with balances and streaks, a million stored events.

Made by set statements in a database of its own, in an embedded PostgreSQL with the settings of `questline dev`.
An empty database flatters: its indexes fit into a processor's cache.
"""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from bench.program import PROGRAM
from questline.store import boards
from questline.store.embedded import EmbeddedPostgres, ensure_database
from questline.store.migrate import migrate
from questline.store.roles import APP_ROLE, ensure_app_role

_PARTS = re.split(r"^-- name: (\w+)\n", (Path(__file__).parent / "state.sql").read_text(), flags=re.MULTILINE)
_SQL = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
_FROM_SEEDS = (
    "events", "dedupe_keys", "attempts", "decisions", "transfers", "balances", "metrics", "streaks",
    "board_periods", "board_entries", "board_counts", "board_crowds",
)  # fmt: skip


class Size(msgspec.Struct, frozen=True):
    """How much is stored. The name is the database's."""

    name: str = "bench"
    users: int = 100_000
    events: int = 1_000_000


class State(msgspec.Struct, frozen=True):
    """A filled database and how to reach it. Users are `user-1` .. `user-N`; user n is of project 1 + n mod 3."""

    owner_dsn: str
    app_dsn: str
    size: Size

    def key(self, project: int) -> str:
        """The secret key of project 1, 2 or 3."""
        return f"sk_live_bench-{project}"


async def build(server: EmbeddedPostgres, size: Size, program: dict[str, Any] = PROGRAM) -> State:
    """Return the state, made now unless the server has it from an earlier run."""
    state = State(server.dsn(size.name), server.dsn(size.name, APP_ROLE), size)
    await ensure_database(server.dsn("postgres"), size.name)
    await migrate(state.owner_dsn, datetime.now(UTC))
    await ensure_app_role(state.owner_dsn)
    conn = await asyncpg.connect(state.owner_dsn)
    try:
        if await conn.fetchval("SELECT count(*) FROM api_keys") == 0:
            await _fill(conn, size)
        await use_program(conn, program)
    finally:
        await conn.close()
    return state


async def use_program(conn: Any, program: dict[str, Any]) -> None:
    """Make `program` the one in force in all three projects."""
    await conn.execute(_SQL["programs"], json.dumps(program))
    await conn.execute(_SQL["use_programs"])


async def settle(conn: Any) -> None:
    """Write out what was done before, so that it is not measured with what follows.

    After a checkpoint PostgreSQL puts the first change of each page into the log as a whole page, and after a start it reads
    each page once. A run of some seconds is to be measured as those in the ten minutes between checkpoints are: so a run as
    long comes first, and is not counted.
    """
    await conn.execute("CHECKPOINT")


async def _fill(conn: Any, size: Size) -> None:
    started = time.perf_counter()
    print(f"filling {size.name}: {size.users:,} users, {size.events:,} events ...", flush=True)
    await conn.execute(
        "SET jit = off; SET work_mem = '128MB'; SET maintenance_work_mem = '256MB'; SET timezone = 'UTC'"
    )
    await conn.execute("SET synchronous_commit = off")
    await conn.execute(_SQL["tenants"])
    await conn.execute(_SQL["users"], size.users)
    await conn.execute("ANALYZE users")
    await conn.execute(_SQL["seeds"], size.events, size.users)
    await conn.execute("ANALYZE seeds")
    for name in _FROM_SEEDS:
        await conn.execute(_SQL[name])
    await boards.split_crowds(conn, 10_000)
    await conn.execute("DROP TABLE seeds")
    await conn.execute("VACUUM (ANALYZE)")
    await conn.execute(_SQL["key"])
    await conn.execute("CHECKPOINT")
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
