"""The second lock: a tenant that forgot its WHERE sees its own project, and one that forgot who it is sees nothing."""

from typing import Any

import asyncpg
import pytest
from conftest_api import PROGRAM, Instance


async def test_a_role_that_forgot_its_where_sees_its_own_project_only(questline: Instance, database: Any) -> None:
    for n in range(2):
        app = await questline.app(PROGRAM)
        for k in range(3):
            await app.send("task", f"u{n}", eventId=str(k), headers={"Prefer": "wait=5"})
        await app.send("task", "waiting", eventId="later")
    tables = await questline.owner.fetch(
        """SELECT DISTINCT c.table_name AS name FROM information_schema.columns c
           JOIN information_schema.tables t USING (table_schema, table_name)
           JOIN pg_class r ON r.relname = c.table_name AND NOT r.relispartition
           WHERE c.table_schema = 'public' AND c.column_name = 'project_id' AND t.table_type = 'BASE TABLE'"""
    )
    names = sorted(row["name"] for row in tables)
    assert {"events", "users", "transfers", "balances", "board_entries", "outbox", "api_keys"} <= set(names)
    mine = await questline.owner.fetchval("SELECT min(id) FROM projects")
    conn = await asyncpg.connect(database.app_dsn)
    try:
        for name in names:
            async with conn.transaction():
                await conn.execute("SELECT set_config('role', 'questline_tenant', true)")
                try:
                    async with conn.transaction():
                        assert await conn.fetchval(f"SELECT count(*) FROM {name}") == 0, (
                            f"{name} is seen without a project"
                        )
                except asyncpg.InsufficientPrivilegeError:
                    continue  # not a tenant's table at all
                await conn.execute("SELECT set_config('questline.project_id', $1, true)", str(mine))
                seen = {row["project_id"] for row in await conn.fetch(f"SELECT DISTINCT project_id FROM {name}")}
                assert seen <= {mine}, f"{name} shows another project's rows"
    finally:
        await conn.close()


async def test_the_process_is_no_superuser_and_does_not_bypass_row_level_security(database: Any) -> None:
    conn = await asyncpg.connect(database.app_dsn)
    row = await conn.fetchrow("SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    await conn.close()
    assert tuple(row) == (False, False, False)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE events SET type = 'x'", "DELETE FROM events", "UPDATE transfers SET amount = 1", "DELETE FROM transfers",
     "UPDATE program_versions SET version = 9"],
)  # fmt: skip
async def test_facts_are_changed_by_nobody_not_even_the_owner(
    questline: Instance, database: Any, statement: str
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "u", headers={"Prefer": "wait=5"})
    conn = await asyncpg.connect(database.app_dsn)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute(statement)
    await conn.close()
    with pytest.raises(asyncpg.RestrictViolationError):
        await questline.owner.execute(statement)


async def test_a_balance_below_zero_and_a_transfer_of_nothing_are_impossible(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "u", headers={"Prefer": "wait=5"})
    with pytest.raises(asyncpg.CheckViolationError, match="balances_never_negative"):
        await questline.owner.execute("UPDATE balances SET amount = -1")
    with pytest.raises(asyncpg.CheckViolationError, match="transfers_amount_is_positive"):
        await questline.owner.execute(
            "INSERT INTO transfers SELECT project_id, event_id, 99, user_id, currency, debit, credit, 0, rule, program_version, at "
            "FROM transfers LIMIT 1"
        )
