"""Items: things of a catalogue that users buy or are given, keep in a bounded inventory, and use."""

from datetime import datetime
from typing import Literal

import msgspec

from questline.model.definition import Definition, Reward

Unit = Literal["minutes", "hours", "days"]
UNIT_SECONDS = {"minutes": 60, "hours": 3_600, "days": 86_400}


class Span(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A length of time, such as {duration: 12, unit: hours}."""

    duration: int
    unit: Unit

    @property
    def seconds(self) -> int:
        return self.duration * UNIT_SECONDS[self.unit]


class Item(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One thing of the catalogue. Without a price it cannot be bought; without `use` it is kept and not used."""

    title: str = ""
    description: str = ""
    price: dict[str, int] = {}
    level: dict[str, int] = {}  # track → the level a buyer needs
    stack: int = 0  # units of it that one user may hold; 0: no bound of its own
    use: tuple[Reward, ...] = ()  # what one unit does; a `value` below zero takes from a vital
    cooldown: Span | None = None  # between two uses
    expires_after: Span | None = None  # from when it was received


class Inventory(Definition, frozen=True, rename="camel", omit_defaults=True):
    """How much one user may hold: `cap` kinds of items, or `cap` units of all."""

    cap: int
    by: Literal["kinds", "units"] = "units"


class Lot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Units received together; `expires_at` None: never."""

    units: int
    expires_at: datetime | None = None


class ItemState(msgspec.Struct, frozen=True, gc=False):
    """What a user holds of an item: lots, the first to expire first, and when one was last used."""

    lots: tuple[Lot, ...]
    used_at: datetime | None = None

    def units(self, at: datetime) -> int:
        """How many units have not expired."""
        return sum(lot.units for lot in self.lots if lot.expires_at is None or lot.expires_at > at)
