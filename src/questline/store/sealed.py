"""Every secret that is stored sealed, whatever it is for: found and replaced when a sealing key is rotated."""

import msgspec
from asyncpg import Connection

from questline.store.sealing import signing_purpose, webhook_purpose
from questline.store.statements import statements

SQL = statements("sealed")


class SealedSecret(msgspec.Struct, frozen=True):
    """A secret as it is stored, and what it is for; `slot` None: the project's webhook secret."""

    project_id: int
    app_id: str
    slot: int | None
    stored: str

    @property
    def purpose(self) -> str:
        return webhook_purpose(self.app_id) if self.slot is None else signing_purpose(self.app_id)


async def all_secrets(conn: Connection) -> list[SealedSecret]:
    """Return every stored secret of every project, sealed or from before secrets were sealed."""
    return [SealedSecret(*row) for row in await conn.fetch(SQL["all"])]


async def replace(conn: Connection, secret: SealedSecret, stored: str) -> bool:
    """Store a secret sealed anew; False: it has been changed meanwhile, and is left as it is."""
    name = "replace_webhook" if secret.slot is None else "replace_signing"
    slot = () if secret.slot is None else (secret.slot,)
    found = await conn.fetchval(SQL[name], secret.project_id, secret.stored, stored, *slot)
    return found is not None
