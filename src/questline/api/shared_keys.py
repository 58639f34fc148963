"""Keys that one process has asked the database for, known to all: a shared cache in front of `control.keys.find`.

An entry tells whom a key belonged to at a moment of the database's clock. Each process hears of revocations by itself
(store/listener.py), and believes no entry of a moment before the last one that it heard of, or may have missed. So what
the cache holds may be as old as it likes: nobody has to delete it, and a cache that comes back from a backup does no harm.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version

import msgspec

from questline.api.auth import CONCERNED, Find
from questline.cache.entries import Entries
from questline.model.limits import KEY_CACHE_SECONDS, REVOCATIONS_REMEMBERED
from questline.store.history import History
from questline.store.keys import Found


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """Whom a key belonged to at a moment, in seconds since 1970."""

    at: float
    found: Found


class SharedKeys:
    """Finds keys in the cache, and else by `find`. What it keeps is found by a key's hash only, and holds no secret."""

    def __init__(self, find: Find, entries: Entries, history: History) -> None:
        self._find = find
        self._entries = entries
        self._history = history
        self._release = version("questline")  # another one may mean something else by what it reads
        self._hears = False
        self._line: str | None = None  # whose clock the moments below are of
        self._all_since = -math.inf  # entries of before this are not believed
        self._since: OrderedDict[tuple[str, str], float] = OrderedDict()  # nor of this, those it is about
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Entry).decode

    async def find(self, secret: bytes, tenant: str | None) -> Found | None:
        """Return whom a secret belongs to, and for how long that may be believed; None for nobody."""
        line = self._history.line
        if line is None or not self._hears:
            return await self._find(secret, tenant)
        if line != self._line:
            self._line = line
            self._believe_none()
        key = self._key(line, secret, tenant)
        known = (await self._entries.get([key]))[0]
        found = None if known is None or self._history.line != line else self._believed(known)
        if found is None:
            at = self._history.now().earliest
            found = await self._find(secret, tenant)
            if found is not None:
                self._entries.put({key: self._encode(_Entry(at, found))}, KEY_CACHE_SECONDS)
        return found

    def hears(self, hears: bool) -> None:
        """Be told whether revocations are heard of; those that were not cannot be known, so nothing older is believed."""
        if hears and not self._hears:
            self._believe_none()
        self._hears = hears

    def forget(self, announced: str) -> None:
        """Believe nothing older of whom an announcement is about; see KeyRing.forget."""
        kind, _, id_ = announced.partition(" ")
        if kind not in CONCERNED:
            self._believe_none()
            return
        self._since[kind, id_] = self._history.now().latest
        self._since.move_to_end((kind, id_))
        if len(self._since) > REVOCATIONS_REMEMBERED:
            self._all_since = max(self._all_since, self._since.popitem(last=False)[1])

    def _believe_none(self) -> None:
        """Believe nothing that is there already."""
        self._all_since = self._history.now().latest
        self._since.clear()

    def _believed(self, known: bytes) -> Found | None:
        try:
            entry = self._decode(known)
        except msgspec.MsgspecError:
            return None
        age_seconds = self._history.now().latest - entry.at
        left_seconds = _lives_seconds(entry.found) - age_seconds
        if left_seconds <= 0 or not self._is_believed(entry):
            return None
        return Found(entry.found.principal, left_seconds)

    def _is_believed(self, entry: _Entry) -> bool:
        principal = entry.found.principal
        about: dict[str, Callable[..., object]] = CONCERNED
        return entry.at > self._all_since and all(
            entry.at > self._since.get((kind, str(concerned(principal))), -math.inf)
            for kind, concerned in about.items()
        )

    def _key(self, line: str, secret: bytes, tenant: str | None) -> bytes:
        """Return a hash of what a caller sent; the secret has 32 random bytes, so nobody finds it by its hash."""
        named = b"" if tenant is None else b"%d:%b" % (len(tenant.encode()), tenant.encode())
        return sha256(b"%b:%b:%b:%b" % (line.encode(), self._release.encode(), named, secret)).digest()


def _lives_seconds(found: Found) -> float:
    return KEY_CACHE_SECONDS if found.seconds_left is None else min(KEY_CACHE_SECONDS, found.seconds_left)
