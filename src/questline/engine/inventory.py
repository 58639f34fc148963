"""The inventory: units of items received within its bounds, expired with time, and taken, the first to expire first."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

import msgspec

from questline.engine.refusal import Refusal
from questline.model.items import ItemState, Lot
from questline.model.reasons import Reason
from questline.model.records import RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_EMPTY = ItemState(())
_NOTHING: Mapping[str, int] = {}


def held(draft: "Draft", item: str) -> ItemState:
    """Return what the user holds of an item at the event's time; expired lots are left out."""
    state = cast(ItemState, draft.record(RecordKind.ITEM, item) or _EMPTY)
    return _unexpired(state, draft.event.occurred_at)


def room(draft: "Draft", item: str, beside: Mapping[str, int] = _NOTHING) -> int | None:
    """Return how many more units of an item fit; None: any number. `beside` are units of others that come with it."""
    stack, bounds = draft.program.items[item].stack, draft.program.inventory
    at = draft.event.occurred_at
    mine = held(draft, item).units(at)
    rooms = [stack - mine] if stack else []
    if bounds is not None:
        units = {name: held(draft, name).units(at) + beside.get(name, 0) for name in draft.program.items}
        if bounds.by == "units":
            rooms.append(bounds.cap - sum(units.values()))
        elif not mine and sum(1 for count in units.values() if count) >= bounds.cap:
            rooms.append(0)
    return max(min(rooms), 0) if rooms else None


def receive(draft: "Draft", item: str, quantity: int, cause: str) -> int:
    """Put units into the inventory and return how many fitted; what did not fit is told in a notice."""
    free = room(draft, item)
    fitting = quantity if free is None else min(quantity, free)
    if fitting < quantity:
        draft.notice("inventory.full", item=item, left=quantity - fitting)
    if fitting:
        state, at = held(draft, item), draft.event.occurred_at
        span = draft.program.items[item].expires_after
        lots = _with(state.lots, Lot(fitting, None if span is None else at + timedelta(seconds=span.seconds)))
        draft.put(RecordKind.ITEM, item, ItemState(lots, state.used_at), cause)
    return fitting


def take(draft: "Draft", item: str, cause: str) -> None:
    """Take one unit, of the lot that expires first; raises Refusal when there is none."""
    state = held(draft, item)
    if not state.lots:
        raise Refusal(Reason.NOT_OWNED, f"the user has no {item!r} left")
    first, *others = state.lots
    lots = (Lot(first.units - 1, first.expires_at), *others) if first.units > 1 else tuple(others)
    draft.put(RecordKind.ITEM, item, ItemState(lots, draft.event.occurred_at), cause)


def remove(draft: "Draft", item: str, quantity: int, cause: str) -> None:
    """Take back units that are there, those that expire first; it is no use, so nothing cools down."""
    state = held(draft, item)
    lots = []
    for lot in state.lots:
        taken = min(quantity, lot.units)
        quantity -= taken
        if lot.units > taken:
            lots.append(Lot(lot.units - taken, lot.expires_at))
    draft.put(RecordKind.ITEM, item, ItemState(tuple(lots), state.used_at), cause)


def _unexpired(state: ItemState, at: datetime) -> ItemState:
    lots = tuple(lot for lot in state.lots if lot.expires_at is None or lot.expires_at > at)
    return state if len(lots) == len(state.lots) else ItemState(lots, state.used_at)


def _with(lots: tuple[Lot, ...], new: Lot) -> tuple[Lot, ...]:
    """Add a lot in the order of expiry; one that expires with another is counted with it."""
    for place, lot in enumerate(lots):
        if lot.expires_at == new.expires_at:
            return (*lots[:place], msgspec.structs.replace(lot, units=lot.units + new.units), *lots[place + 1 :])
    return tuple(sorted((*lots, new), key=_expiry))


def _expiry(lot: Lot) -> float:
    return float("inf") if lot.expires_at is None else lot.expires_at.timestamp()
