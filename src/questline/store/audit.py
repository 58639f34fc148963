"""The log of administrative acts. It is only ever appended to, by the transaction that does what it tells."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.audit import Act, without_secrets
from questline.model.limits import AUDIT_VALUE_BYTES_MAX, SHORT_TEXT_CHARS_MAX
from questline.store.statements import statements

SQL = statements("audit")


class Filter(msgspec.Struct, frozen=True):
    """Which acts: None leaves a thing open; `since` is in, `until` is not."""

    actor: str | None = None
    action: str | None = None
    target_kind: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class ActRow(msgspec.Struct, frozen=True):
    """An act as it is read: the project and a user by their names outside."""

    id: UUID
    at: datetime
    actor: str
    action: str
    target_kind: str
    target: str
    before: Any
    after: Any
    event_id: UUID | None
    correlation_id: str
    address: str
    app_id: str | None


async def add(conn: Connection, acts: Sequence[Act]) -> None:
    """Write acts down, in the caller's transaction, without any secret."""
    await conn.execute(
        SQL["add"],
        [act.project_id for act in acts],
        [act.organization_id for act in acts],
        [act.id for act in acts],
        [act.actor for act in acts],
        [act.action for act in acts],
        [act.target_kind for act in acts],
        [act.target for act in acts],
        [_text(act.before) for act in acts],
        [_text(act.after) for act in acts],
        [act.event_id for act in acts],
        [act.correlation_id[:SHORT_TEXT_CHARS_MAX] for act in acts],
        [act.address for act in acts],
    )


async def page(
    conn: Connection, organization_id: int, project_id: int | None, before: UUID, chosen: Filter, limit: int
) -> list[ActRow]:
    """Return acts below an id, newest first; without a project, those of the organization and of all its projects."""
    rows = await conn.fetch(
        SQL["page"], project_id, organization_id, before, chosen.actor, chosen.action, chosen.target_kind, chosen.target,
        chosen.since, chosen.until, limit,
    )  # fmt: skip
    return [_row(row) for row in rows]


def _row(row: Any) -> ActRow:
    values = dict(row)
    for name in ("before", "after"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return ActRow(**values)


def _text(value: Any) -> str | None:
    """Return a value as JSON that PostgreSQL can hold; one that is too large is told by its size."""
    if value is None:
        return None
    text = msgspec.json.encode(without_secrets(msgspec.to_builtins(value)))
    if len(text) > AUDIT_VALUE_BYTES_MAX:
        text = msgspec.json.encode({"tooLarge": True, "bytes": len(text)})
    return text.decode()
