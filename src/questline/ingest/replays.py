"""Nonces of signed events that arrive together: each is burnt with its event, by the statement that stores both."""

from collections.abc import Sequence
from uuid import UUID

from questline.model.event import AcceptedEvent, Nonce


class Burning:
    """The nonces of one group, through all tries to store it and the parts it is split into.

    The first event that brings a nonce claims it; any other with the same one is a replay.
    """

    def __init__(self) -> None:
        self._burnt_by: dict[bytes, UUID] = {}
        self._claimed_by: dict[bytes, UUID] = {}

    def claims(self, events: Sequence[AcceptedEvent]) -> list[Nonce]:
        """Return the nonces that these events have yet to burn."""
        claims: dict[bytes, Nonce] = {}
        self._claimed_by = {}
        for event in events:
            nonce = event.nonce
            if nonce is not None and nonce.hash not in self._burnt_by:
                claims.setdefault(nonce.hash, nonce)
                self._claimed_by.setdefault(nonce.hash, event.id)
        return list(claims.values())

    def is_all_free(self, events: Sequence[AcceptedEvent]) -> bool:
        """Tell whether each of the events has just claimed a nonce of its own."""
        return len(self._claimed_by) == len(events)

    def burnt(self, hashes: set[bytes]) -> None:
        """Be told which of the nonces claimed last were burnt for them, and committed; those of the others were before."""
        self._burnt_by.update((hash_, self._claimed_by[hash_]) for hash_ in hashes)
        self._claimed_by = {}

    def is_free(self, event: AcceptedEvent) -> bool:
        """Tell whether an event is no replay, as far as is known."""
        if event.nonce is None:
            return True
        hash_ = event.nonce.hash
        return (self._burnt_by.get(hash_) or self._claimed_by.get(hash_)) == event.id
