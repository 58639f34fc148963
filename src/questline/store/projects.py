"""Projects, which customers call apps."""

from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.own import allowed_commands
from questline.model.principal import DedupeStrategy, Project, SignedEvents, Signing, SigningSecret
from questline.model.rates import ProjectRates
from questline.model.trust import TRUSTED_TYPES
from questline.store.statements import statements

SQL = statements("projects")

DEFAULT_ORGANIZATION = "default"


class ProjectRow(msgspec.Struct, frozen=True):
    """A project with what only its own page shows."""

    project: Project
    webhook_url: str | None
    created_at: datetime
    archived_at: datetime | None = None


async def default_organization(conn: Connection) -> int:
    """Return the id of the organization for projects that name none."""
    id_: int = await conn.fetchval(SQL["default_organization"], DEFAULT_ORGANIZATION)
    return id_


async def create(
    conn: Connection,
    organization_id: int,
    app_id: str,
    name: str,
    timezone: str,
    settings: dict[str, Any],
    webhook_url: str | None,
    webhook_secret: str | None,
) -> ProjectRow | None:
    """Create a project; None when the id is taken."""
    text = msgspec.json.encode(settings).decode()
    row = await conn.fetchrow(SQL["create"], organization_id, app_id, name, timezone, text, webhook_url, webhook_secret)
    return None if row is None else row_of(row)


async def app_ids(conn: Connection, ids: list[int]) -> dict[int, str]:
    """Return the ids outside of projects."""
    return dict(await conn.fetch(SQL["app_ids"], ids))


async def find(conn: Connection | Pool, app_id: str) -> ProjectRow | None:
    """Return a project by its id outside."""
    row: Record | None = await conn.fetchrow(SQL["find"], app_id)  # type: ignore[no-untyped-call]
    return None if row is None else row_of(row)


async def lock(conn: Connection, project_id: int) -> ProjectRow:
    """Return a project, held until the transaction ends."""
    return row_of(await conn.fetchrow(SQL["lock"], project_id))


async def update(
    conn: Connection,
    project_id: int,
    name: str,
    timezone: str,
    settings: dict[str, Any],
    webhook_url: str | None,
    webhook_secret: str | None,
) -> ProjectRow:
    """Set what a project's page shows, in the caller's transaction, which holds it; without a secret, that stays."""
    text = msgspec.json.encode(settings).decode()
    return row_of(await conn.fetchrow(SQL["update"], project_id, name, timezone, text, webhook_url, webhook_secret))


async def ids(pool: Pool) -> list[int]:
    """Return every project, for an operator."""
    return [row[0] for row in await pool.fetch(SQL["ids"])]


async def set_rates(conn: Connection, app_id: str, rates: ProjectRates | None) -> ProjectRow | None:
    """Set what an operator grants a project, None for the settings' limits; None when there is no such project."""
    text = None if rates is None else msgspec.json.encode(rates).decode()
    row: Record | None = await conn.fetchrow(SQL["set_rates"], app_id, text)
    return None if row is None else row_of(row)


def project_of(row: Record) -> Project:
    """Return the project of a row that has its columns."""
    settings = msgspec.json.decode(row["settings"], type=dict[str, Any])
    return Project(
        id=row["id"],
        organization_id=row["organization_id"],
        app_id=row["app_id"],
        name=row["name"],
        timezone=row["timezone"],
        program_version=row["program_version"],
        dedupe_strategy=DedupeStrategy(settings.get("dedupeStrategy", "full")),
        intent_window_seconds=settings.get("intentWindowSeconds", 300),
        cors_origins=frozenset(settings["corsOrigins"]) if settings.get("corsOrigins") else None,
        trusted_types=TRUSTED_TYPES.union(settings.get("trustedTypes", ()), row["trusted_types"]),
        known_types=None if row["known_types"] is None else frozenset(row["known_types"]),
        settings=settings,
        user_commands=allowed_commands(settings.get("userCommands")),
        open_registration=settings.get("registration", "open") == "open",
        rates=None if row["rates"] is None else msgspec.json.decode(row["rates"], type=ProjectRates),
        signing=_signing(row, settings),
    )


def row_of(row: Record) -> ProjectRow:
    """Return a project's row as the store keeps it."""
    return ProjectRow(project_of(row), row["webhook_url"], row["created_at"], row["archived_at"])


def _signing(row: Record, settings: dict[str, Any]) -> Signing | None:
    """Return how a project signs; only the row that authenticates a key has its secrets."""
    text, required = row.get("signing_secrets"), settings.get("signedEvents")
    if text is None and required is None:
        return None
    secrets = () if text is None else msgspec.json.decode(text, type=tuple[SigningSecret, ...])
    return Signing(SignedEvents(required or SignedEvents.OPTIONAL), secrets)
