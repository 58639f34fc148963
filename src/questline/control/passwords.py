"""Passwords: kept as argon2id hashes, and checked in threads, a few at once, since each takes memory and a processor."""

import asyncio
from typing import TYPE_CHECKING

from questline.model.limits import PASSWORDS_AT_ONCE

if TYPE_CHECKING:
    from argon2 import PasswordHasher


class Passwords:
    """Hashes and checks passwords with the parameters of RFC 9106 for little memory (the library's defaults)."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(PASSWORDS_AT_ONCE)
        self._hasher: PasswordHasher | None = None
        self._nobodys = ""

    async def hashed(self, password: str) -> str:
        """Return the hash to store."""
        async with self._free:
            return await asyncio.to_thread(self._made().hash, password)

    async def fits(self, stored: str | None, password: str) -> bool:
        """Tell whether a password is the stored one; without one, False after as long a time."""
        async with self._free:
            return await asyncio.to_thread(self._verify, stored, password)

    def _verify(self, stored: str | None, password: str) -> bool:
        from argon2.exceptions import VerificationError

        hasher = self._made()
        if stored is None and not self._nobodys:
            self._nobodys = hasher.hash("nobody has this password")
        try:
            return hasher.verify(stored or self._nobodys, password) and stored is not None
        except VerificationError:
            return False

    def _made(self) -> "PasswordHasher":
        if self._hasher is None:
            from argon2 import PasswordHasher  # a process that nobody logs in to does without it

            self._hasher = PasswordHasher()
        return self._hasher
