"""Rules of the store: one truth of the schema, statements described, every tenant's table under its lock."""

import re
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from questline.store.embedded import EmbeddedPostgres, ensure_database
from questline.store.migrate import migrations
from questline.store.statements import statements

SQL = files("questline.store").joinpath("sql")
FILES = sorted(f.name for f in SQL.iterdir())

# The whole catalog of a database as text, one line a thing.
CATALOG = """
SELECT format('%s %s.%s %s %s default %s identity %s collate %s', 'column', c.relname, a.attname,
              format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
              pg_get_expr(d.adbin, d.adrelid), a.attidentity, co.collname) AS line
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL SELECT format('table %s %s %s rls %s/%s %s %s', relname, relkind, reloptions, relrowsecurity, relforcerowsecurity,
                        pg_get_partkeydef(oid), relacl)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT format('policy %s %s %s %s %s %s', tablename, policyname, roles, cmd, qual, with_check) FROM pg_policies
UNION ALL SELECT format('function %s %s', pg_get_functiondef(oid), proacl) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY line
"""


async def catalog(server: EmbeddedPostgres, name: str, *scripts: str) -> list[str]:
    await ensure_database(server.dsn("postgres"), name)
    conn = await asyncpg.connect(server.dsn(name))
    try:
        for script in scripts:
            await conn.execute(script)
        return [row["line"] for row in await conn.fetch(CATALOG)]
    finally:
        await conn.close()


async def test_schema_sql_equals_all_migrations(postgres: EmbeddedPostgres) -> None:
    schema = files("questline.store").joinpath("schema.sql").read_text(encoding="utf-8")
    told = await catalog(postgres, "tidy_schema", schema)
    made = await catalog(postgres, "tidy_migrations", *(m.sql for m in migrations()))
    assert len(told) > 200
    assert told == made


@pytest.mark.parametrize("file", FILES)
def test_every_statement_is_named_and_described(file: str) -> None:
    text = SQL.joinpath(file).read_text(encoding="utf-8")
    first = text.index("-- name: ")
    assert all(line.startswith("--") or not line.strip() for line in text[:first].splitlines())
    for name, body in statements(file.removesuffix(".sql")).items():
        assert body.startswith("-- "), f"{file}: {name} has no description"
        assert not re.fullmatch(r"(--.*\s*)+", body), f"{file}: {name} is empty"


async def test_every_table_with_a_project_is_under_row_level_security(database: Any) -> None:
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        unlocked = await conn.fetch("""
            SELECT c.relname FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project_id'
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
                AND (NOT c.relrowsecurity OR NOT EXISTS (
                    SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant_sees_its_project'))""")
        assert [row["relname"] for row in unlocked] == []
    finally:
        await conn.close()


async def test_every_constraint_has_a_name_of_its_own(database: Any) -> None:
    """A name that says what holds is what an operator reads in an error."""
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        names = await conn.fetch("""
            SELECT conrelid::regclass::text AS at, conname FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conparentid = 0 AND coninhcount = 0
                AND NOT (SELECT relispartition FROM pg_class WHERE oid = conrelid) AND contype <> 'n'""")
        unnamed = [
            f"{r['at']}: {r['conname']}" for r in names if re.search(r"_(pkey|key|fkey|check)\d*$", r["conname"])
        ]
        assert unnamed == []
    finally:
        await conn.close()
