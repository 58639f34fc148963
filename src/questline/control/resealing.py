"""Sealing every stored secret anew, with the key that is first now: after a key was put in front, before the old one goes."""

import msgspec

from questline.store import sealed
from questline.store.pool import Connection
from questline.store.sealing import CannotOpen, Sealer, is_sealed


class Resealed(msgspec.Struct, frozen=True):
    """How many secrets were sealed anew, are sealed with the first key already, and open with no key; of which projects."""

    anew: int
    current: int
    lost: list[str]


async def reseal(conn: Connection, sealer: Sealer) -> Resealed:
    """Seal all that is not sealed with the first key; raises CannotSeal. It may be repeated, and run beside the servers."""
    anew = current = 0
    lost: list[str] = []
    for secret in await sealed.all_secrets(conn):
        if sealer.is_current(secret.stored):
            current += 1
            continue
        try:
            plain = sealer.open(secret.stored, secret.purpose) if is_sealed(secret.stored) else secret.stored
        except CannotOpen:
            lost.append(secret.app_id)
            continue
        anew += await sealed.replace(conn, secret, sealer.seal(plain, secret.purpose))
    return Resealed(anew, current, sorted(set(lost)))
