"""Projects, which customers call apps: created with a first key."""

from typing import Any
from uuid import UUID

import msgspec

from questline.control.keys import NewKey, create
from questline.control.signing import rotate
from questline.model.principal import KeyType, Role, SignedEvents
from questline.store import projects
from questline.store.pool import Connection
from questline.store.projects import ProjectRow
from questline.store.sealing import Sealer, webhook_purpose

NO_KEYS = Sealer(())


class AppTaken(Exception):
    """There is a project of that id already."""


class FirstSecret(msgspec.Struct, frozen=True):
    """The signing secret that a project is created with."""

    id: UUID
    secret: str
    purpose: str


async def create_app(
    conn: Connection,
    organization_id: int | None,
    key_id: UUID,
    app_id: str,
    name: str,
    timezone: str,
    settings: dict[str, Any],
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    signing: FirstSecret | None = None,
    sealer: Sealer = NO_KEYS,
) -> tuple[ProjectRow, NewKey]:
    """Create a project and its first ADMIN key, in the caller's transaction; raises AppTaken, and CannotSeal for a secret.

    Without an organization it belongs to the default one, which is there for those who need no other. One that is created
    with a signing secret wants its events signed, where the settings do not say otherwise.
    """
    if signing is not None:
        settings = {"signedEvents": SignedEvents.REQUIRED.value, **settings}
    if webhook_secret is not None:
        webhook_secret = sealer.seal(webhook_secret, webhook_purpose(app_id))
    if organization_id is None:
        organization_id = await projects.default_organization(conn)
    row = await projects.create(conn, organization_id, app_id, name, timezone, settings, webhook_url, webhook_secret)
    if row is None:
        raise AppTaken(app_id)
    if signing is not None:
        await rotate(conn, sealer, row.project.id, signing.purpose, signing.id, signing.secret, 0)
    return row, await create(conn, row.project.id, key_id, KeyType.SECRET, Role.ADMIN, "bootstrap")
