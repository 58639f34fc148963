"""Secrets of signed events: made or taken, sealed, shown once; two of a project are valid at once while it rotates."""

import secrets
from uuid import UUID

import msgspec

from questline.store import signing_secrets
from questline.store.pool import Connection
from questline.store.sealing import Sealer

_PREFIX = "ss_live_"
_SHOWN = 12  # characters of one of ours kept to recognise it by
_SHOWN_OF_THEIRS = 4


class NewSecret(msgspec.Struct, frozen=True, rename="camel"):
    """A secret just stored: the only time it is shown whole."""

    id: UUID
    secret: str
    prefix: str


async def rotate(
    conn: Connection, sealer: Sealer, project_id: int, purpose: str, id_: UUID, given: str | None, overlap_seconds: int
) -> NewSecret:
    """Store a new secret, `given` or of 32 random bytes, as the current one; raises CannotSeal.

    The one before it stays valid for the overlap; one that is older still ends at once.
    """
    secret = _PREFIX + secrets.token_hex(32) if given is None else given
    prefix = secret[: _SHOWN if given is None else _SHOWN_OF_THEIRS]
    await signing_secrets.hold(conn, project_id)
    await signing_secrets.rotate(conn, project_id, id_, sealer.seal(secret, purpose), prefix, overlap_seconds)
    return NewSecret(id_, secret, prefix)
