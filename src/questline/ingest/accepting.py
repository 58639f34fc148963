"""What takes events in: PostgreSQL first (`accept.Acceptor`) or a log first (`log_first.LogAcceptor`)."""

from collections.abc import Sequence
from typing import Protocol

from questline.ingest.accept import Acceptance
from questline.ingest.turns import Turn
from questline.model.event import AcceptedEvent, Nonce


class Accepting(Protocol):
    """Makes events durable, for one process."""

    def start(self) -> None:
        """Begin to serve; call once, inside the running loop."""

    async def close(self) -> None:
        """Finish what was taken, then stop; what comes later is refused as overload."""

    def refuse(self, *, full: bool) -> None:
        """Be told whether so much waits to be applied that nothing more is to be taken in."""

    @property
    def takes_many(self) -> bool:
        """Whether a batch would be taken now: else its body need not be read."""

    async def accept_one(self, event: AcceptedEvent) -> Acceptance:
        """Make one event durable; raises Overloaded or Unavailable."""

    async def accept(
        self, events: Sequence[AcceptedEvent], nonce: Nonce | None = None, turn: Turn | None = None
    ) -> list[Acceptance]:
        """Make a batch durable; return what became of each, in order. Raises Overloaded, Unavailable or Replayed.

        A group of a stream has its turn; its caller ends it.
        """

    async def burn(self, nonce: Nonce) -> None:
        """Burn the nonce of a signed request whose parts are stored one after the other; raises Replayed or Unavailable."""
