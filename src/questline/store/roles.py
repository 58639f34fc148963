"""The role the processes log in as: a member of questline_service and questline_tenant, and nothing more."""

import asyncpg

from questline.store.statements import statements

SQL = statements("roles")

APP_ROLE = "questline_app"


async def ensure_app_role(owner_dsn: str) -> None:
    """Create the login role where it is missing, for an embedded database that trusts its local socket."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        await conn.execute(SQL["ensure_app"])
    finally:
        await conn.close()
