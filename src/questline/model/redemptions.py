"""The reward store: items redeemed for currencies, and their fulfilment, which may fail and is then refunded."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from questline.model.definition import Definition

Method = Literal["webhook", "code", "manual"]


class StoreItem(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One thing in the reward store. `stock` is shared by all users, `limit` is of one user.

    A `code` comes from the pool of the item's own name unless another is named, and is fulfilled at once; `webhook` and
    `manual` wait until they are completed or failed.
    """

    price: dict[str, int]
    fulfilment: Method
    title: str = ""
    description: str = ""
    badge: str | None = None  # that a user must have
    level: dict[str, int] = {}  # track → the level a user needs
    stock: int | None = None
    limit: int | None = None
    pool: str | None = None


class FulfilmentStatus(StrEnum):
    PENDING = "PENDING"
    FULFILLED = "FULFILLED"
    FAILED = "FAILED"


FULFILMENT_TRANSITIONS: dict[FulfilmentStatus, tuple[FulfilmentStatus, ...]] = {
    FulfilmentStatus.PENDING: (FulfilmentStatus.FULFILLED, FulfilmentStatus.FAILED),
    FulfilmentStatus.FULFILLED: (),
    FulfilmentStatus.FAILED: (),
}
"""What a fulfilment may become; a code is fulfilled at once."""


class FulfilmentState(msgspec.Struct, frozen=True, gc=False):
    """One redemption; its name is the redeeming event's id. While it is pending its price waits in escrow.

    `holds` are the stocks it has a unit of, which go back when it fails.
    """

    item: str
    method: Method
    status: FulfilmentStatus
    price: dict[str, int]
    at: datetime
    settled_at: datetime | None = None
    note: str = ""
    holds: tuple[str, ...] = ()
    limited: bool = False
