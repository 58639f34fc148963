"""Named rewards: defined once, given in many places, kept as grants that are claimed, expire or are revoked."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from questline.model.definition import Definition
from questline.model.items import Span

Clawback = Literal["zero", "debt", "refuse"]


class NamedReward(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What a grant of this name gives. `xp` and `currency` have a `currency` and a `value`, `item` has `items`.

    `badge` gives the badge and `coupon` a code of the pool of the reward's own name, unless another is named. `custom` is
    handed to the customer with its `data`. `stock` is shared by all users, `limit` is of one user. `clawback` is what
    happens when a user no longer has what is taken back.
    """

    type: Literal["xp", "currency", "item", "badge", "coupon", "custom"]
    title: str = ""
    description: str = ""
    currency: str | None = None
    value: int = 0
    items: dict[str, int] = {}
    badge: str | None = None
    pool: str | None = None
    data: dict[str, Any] = {}
    grant: Literal["auto", "claim"] = "auto"
    expires_after: Span | None = None  # of a grant that nobody claims
    stock: int | None = None
    limit: int | None = None
    clawback: Clawback = "zero"


class GrantStatus(StrEnum):
    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


TRANSITIONS: dict[GrantStatus, tuple[GrantStatus, ...]] = {
    GrantStatus.PENDING: (GrantStatus.CLAIMED, GrantStatus.EXPIRED, GrantStatus.REVOKED),
    GrantStatus.CLAIMED: (GrantStatus.REVOKED,),
    GrantStatus.EXPIRED: (),
    GrantStatus.REVOKED: (),
}
"""What a grant may become; an automatic one is claimed at once."""


class Given(msgspec.Struct, frozen=True, gc=False):
    """Units that a claim gave: of a currency (as credited, gains included), of an item (as many as fitted), or a badge."""

    kind: Literal["currency", "item", "badge"]
    name: str
    units: int


class GrantState(msgspec.Struct, frozen=True, gc=False):
    """One grant of a named reward to a user; its name is the causing event's id and a number.

    `holds` are the stocks it has a unit of (the pool of a coupon among them), which go back when it expires or is revoked.
    """

    reward: str
    status: GrantStatus
    cause: str
    at: datetime
    expires_at: datetime | None = None
    settled_at: datetime | None = None  # when it was claimed, expired or was revoked
    holds: tuple[str, ...] = ()
    limited: bool = False  # it counts towards the user's limit
    given: tuple[Given, ...] = ()

    def status_at(self, at: datetime) -> GrantStatus:
        """Return the status as of an instant: an unclaimed grant has expired whether or not the sweep has been there."""
        due = self.status is GrantStatus.PENDING and self.expires_at is not None and at >= self.expires_at
        return GrantStatus.EXPIRED if due else self.status


class BadgeState(msgspec.Struct, frozen=True, gc=False):
    """A badge and how many grants of it stand; 0: it was taken back."""

    at: datetime
    times: int


class AllowanceState(msgspec.Struct, frozen=True, gc=False):
    """How many units of a limited thing a user has taken; the record's name is `reward:NAME` or `store:NAME`."""

    units: int
