"""Items: bought for currencies, used for what they give; money and inventory together or not at all."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from questline.engine import inventory, rewards
from questline.engine.forms import AMOUNT, LEVEL, NAME, REWARDS, SPAN, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.items import Item
from questline.model.limits import ITEM_UNITS_MAX
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "title": TEXT,
            "description": TEXT,
            "price": map_of(AMOUNT, 20),
            "level": map_of(LEVEL, 20, NAME),
            "stack": {"type": "integer", "minimum": 0, "maximum": ITEM_UNITS_MAX},
            "use": REWARDS,
            "cooldown": SPAN,
            "expiresAfter": SPAN,
        }
    ),
    500,
)
INVENTORY_SCHEMA: dict[str, Any] = object_of(
    {"cap": {"type": "integer", "minimum": 1, "maximum": ITEM_UNITS_MAX}, "by": {"enum": ["kinds", "units"]}}, ("cap",)
)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what the items name and is not there."""
    for name, item in program.items.items():
        path = f"items.{name}"
        yield from names.award(item.price, f"{path}.price")
        for track in item.level:
            yield from names.check("level", track, f"{path}.level.{track}")
        yield from names.rewards(item.use, f"{path}.use")
        if item.cooldown is not None and not item.use:
            yield ProgramError(f"{path}.cooldown", "has no meaning for an item without 'use'")


def buy(draft: "Draft") -> None:
    """`$buy` {item, quantity}: take the price and put the units into the inventory, or refuse."""
    name, item = _named(draft)
    quantity = draft.event.payload.get("quantity", 1)
    if type(quantity) is not int or not 0 < quantity <= ITEM_UNITS_MAX:
        raise Refusal(Reason.INVALID_COMMAND, f"quantity: must be a whole number from 1 to {ITEM_UNITS_MAX}")
    if not item.price:
        raise Refusal(Reason.UNKNOWN_ITEM, f"{name!r} is not for sale")
    for track, level in item.level.items():
        if draft.level(track) < level:
            raise Refusal(
                Reason.REQUIREMENT_NOT_MET,
                f"{name!r} needs level {level} of {track}; the user is at {draft.level(track)}",
            )
    free = inventory.room(draft, name)
    if free is not None and free < quantity:
        raise Refusal(Reason.INVENTORY_FULL, f"there is room for {free} more of {name!r}, not for {quantity}")
    for currency, price in item.price.items():
        draft.debit(currency, price * quantity, Account.BURN, f"item:{name}:buy")
    inventory.receive(draft, name, quantity, f"item:{name}:buy")
    draft.notice("item.bought", item=name, quantity=quantity)


def use(draft: "Draft") -> None:
    """`$use` {item}: take one unit and give what it does, or refuse."""
    name, item = _named(draft)
    if not item.use:
        raise Refusal(Reason.INVALID_COMMAND, f"item: {name!r} has no use; it is kept")
    used_at, at = inventory.held(draft, name).used_at, draft.event.occurred_at
    if item.cooldown is not None and used_at is not None:
        ready_at = used_at + timedelta(seconds=item.cooldown.seconds)
        if at < ready_at:
            raise Refusal(Reason.COOLDOWN, f"{name!r} can be used again at {ready_at.isoformat()}")
    inventory.take(draft, name, f"item:{name}:use")
    rewards.give(draft, item.use, 1, f"item:{name}:use")
    draft.notice("item.used", item=name)


def _named(draft: "Draft") -> tuple[str, Item]:
    name = draft.event.payload.get("item")
    item = draft.program.items.get(name) if isinstance(name, str) else None
    if item is None:
        raise Refusal(Reason.UNKNOWN_ITEM, f"the program has no item {name!r}")
    return str(name), item
