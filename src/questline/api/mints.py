"""Tokens made for users: of whom the audit log was told today."""

from datetime import date
from hashlib import blake2b

from questline.model.limits import MINTS_REMEMBERED_MAX


class Mints:
    """Who had tokens made for whom, from where, on a day, as one process knows it.

    What is forgotten (by a restart, at the bound, at midnight in UTC) is told to the log again: never less than once a day.
    """

    def __init__(self, remembered_max: int = MINTS_REMEMBERED_MAX) -> None:
        self._max = remembered_max
        self._day: date | None = None
        self._told: set[bytes] = set()

    def is_told(self, day: date, actor: str, user: str, address: str) -> bool:
        """Tell whether the log has this."""
        return day == self._day and _hash(actor, user, address) in self._told

    def told(self, day: date, actor: str, user: str, address: str) -> None:
        """Be told that the log has this, for good."""
        if day != self._day or len(self._told) >= self._max:
            self._day = day
            self._told.clear()
        self._told.add(_hash(actor, user, address))


def _hash(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()
