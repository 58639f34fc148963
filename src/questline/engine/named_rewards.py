"""The section `rewards`: what is given under one name, and what its definitions must be."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from questline.engine.forms import AMOUNT, NAME, SPAN, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.model.limits import ITEM_UNITS_MAX, STOCK_MAX
from questline.model.rewards import NamedReward

if TYPE_CHECKING:
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

STOCK: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": STOCK_MAX}
LIMIT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": STOCK_MAX}

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "type": {"enum": ["xp", "currency", "item", "badge", "coupon", "custom"]},
            "title": TEXT,
            "description": TEXT,
            "currency": NAME,
            "value": AMOUNT,
            "items": map_of({"type": "integer", "minimum": 1, "maximum": ITEM_UNITS_MAX}, 20),
            "badge": NAME,
            "pool": NAME,
            "data": {"type": "object", "maxProperties": 100},
            "grant": {"enum": ["auto", "claim"]},
            "expiresAfter": SPAN,
            "stock": STOCK,
            "limit": LIMIT,
            "clawback": {"enum": ["zero", "debt", "refuse"]},
        },
        ("type",),
    ),
    1_000,
)

# Which members say what a type gives; `badge` and `pool` have the reward's own name where they are left out.
_MEMBERS = {
    "xp": ("currency", "value"),
    "currency": ("currency", "value"),
    "item": ("items",),
    "badge": ("badge",),
    "coupon": ("pool",),
    "custom": ("data",),
}
_NEEDED = {"currency", "value", "items"}


def badge_of(name: str, reward: NamedReward) -> str:
    """Return the badge that a reward of type badge gives."""
    return reward.badge or name


def pool_of(name: str, reward: NamedReward) -> str:
    """Return the pool that a reward of type coupon draws from."""
    return reward.pool or name


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit among the named rewards."""
    for name, reward in program.rewards.items():
        path = f"rewards.{name}"
        own = _MEMBERS[reward.type]
        for member in ("currency", "value", "items", "badge", "pool", "data"):
            if getattr(reward, member) and member not in own:
                yield ProgramError(f"{path}.{member}", f"has no meaning for a reward of type {reward.type}")
        for member in own:
            if member in _NEEDED and not getattr(reward, member):
                yield ProgramError(path, f"a reward of type {reward.type} lacks '{member}'")
        if reward.currency is not None and reward.type in ("xp", "currency"):
            yield from names.check("currency", reward.currency, f"{path}.currency")
            definition = program.currencies.get(reward.currency)
            if definition is not None and definition.kind != reward.type:
                kind = f"{reward.currency!r} is of kind {definition.kind}, the reward of type {reward.type}"
                yield ProgramError(f"{path}.currency", kind)
        for item in reward.items if reward.type == "item" else ():
            yield from names.check("item", item, f"{path}.items.{item}")
        if reward.expires_after is not None and reward.grant != "claim":
            yield ProgramError(f"{path}.expiresAfter", "only a grant that waits to be claimed expires: grant: claim")
