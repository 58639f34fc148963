"""The reward store: a redemption takes the price, the stock and the code together or nothing; a failed one is refunded."""

from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, cast

import msgspec

from questline.engine import allowances, badges, stocks
from questline.engine.forms import AMOUNT, LEVEL, NAME, TEXT, map_of, object_of
from questline.engine.named_rewards import LIMIT, STOCK, badge_of
from questline.engine.program_error import ProgramError, hint
from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.event import Event
from questline.model.limits import FULFILMENT_NOTE_CHARS_MAX
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind
from questline.model.redemptions import FULFILMENT_TRANSITIONS, FulfilmentState, FulfilmentStatus, StoreItem
from questline.model.stocks import pool_stock, store_stock

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "title": TEXT,
            "description": TEXT,
            "price": {**map_of(AMOUNT, 20), "minProperties": 1},
            "fulfilment": {"enum": ["webhook", "code", "manual"]},
            "badge": NAME,
            "level": map_of(LEVEL, 20),
            "stock": STOCK,
            "limit": LIMIT,
            "pool": NAME,
        },
        ("price", "fulfilment"),
    ),
    1_000,
)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what the reward store names and is not there."""
    given = {badge_of(name, reward) for name, reward in program.rewards.items() if reward.type == "badge"}
    for name, item in program.store.items():
        path = f"store.{name}"
        yield from names.award(item.price, f"{path}.price")
        for track in item.level:
            yield from names.check("level", track, f"{path}.level.{track}")
        if item.badge is not None and item.badge not in given:
            yield ProgramError(f"{path}.badge", f"no reward gives a badge {item.badge!r}{hint(item.badge, given)}")
        if item.pool is not None and item.fulfilment != "code":
            yield ProgramError(f"{path}.pool", "has no meaning where no code is drawn: fulfilment: code")


def keys(event: Event, _: tzinfo) -> tuple[RecordKey, ...]:
    """Return the fulfilment that a command names."""
    name = event.payload.get("fulfilment")
    return ((RecordKind.FULFILMENT, name),) if isinstance(name, str) and "\0" not in name else ()


def touch_redeem(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what redeeming any item reads and takes."""
    for name, item in document.store.items():
        touched.currencies(item.price)
        touched.levels(item.level)
        if item.badge is not None:
            touched.record((RecordKind.BADGE, item.badge))
        _touch_holds(touched, name, item)


def touch_settling(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what may wait in escrow and what may be put back: prices may have been others then."""
    touched.currencies(document.currencies)
    for name, item in document.store.items():
        _touch_holds(touched, name, item)


def _touch_holds(touched: "Touched", name: str, item: StoreItem) -> None:
    if item.stock is not None:
        touched.stock(store_stock(name))
    if item.fulfilment == "code":
        touched.stock(pool_stock(item.pool or name))
    if item.limit is not None:
        touched.record((RecordKind.ALLOWANCE, store_stock(name)))


def redeem(draft: "Draft") -> None:
    """`$redeem` {item}: take the price and what is shared, and begin the fulfilment; or refuse and take nothing."""
    name, item = _named(draft)
    _check(draft, name, item)
    id_, cause = str(draft.event.id), f"store:{name}"
    at_once = item.fulfilment == "code"
    for currency, price in item.price.items():
        draft.debit(currency, price, Account.BURN if at_once else Account.ESCROW, cause)
    holds = []
    if item.stock is not None:
        stocks.move(draft, store_stock(name), 1)
        holds.append(store_stock(name))
    if item.limit is not None:
        allowances.take(draft, store_stock(name), cause)
    if at_once:
        stocks.draw_code(draft, item.pool or name, id_)
        stocks.show_code(draft, item.pool or name, id_)
    at = draft.event.occurred_at
    status = FulfilmentStatus.FULFILLED if at_once else FulfilmentStatus.PENDING
    state = FulfilmentState(
        name, item.fulfilment, status, item.price, at, at if at_once else None, "", tuple(holds), item.limit is not None
    )
    draft.put(RecordKind.FULFILMENT, id_, state, cause)
    draft.notice("store.redeemed", fulfilment=id_, item=name, method=item.fulfilment, price=item.price)


def complete(draft: "Draft") -> None:
    """`$fulfilment_complete` {fulfilment, note}: what waited in escrow leaves for good."""
    id_, state = _pending(draft, FulfilmentStatus.FULFILLED)
    for currency, price in state.price.items():
        draft.burn_escrow(currency, price, f"store:{state.item}:fulfilled")
    _become(draft, id_, state, FulfilmentStatus.FULFILLED)
    draft.notice("store.fulfilled", fulfilment=id_, item=state.item)


def fail(draft: "Draft") -> None:
    """`$fulfilment_fail` {fulfilment, note}: give back what waited in escrow, and put back what was taken of the stock."""
    id_, state = _pending(draft, FulfilmentStatus.FAILED)
    cause = f"store:{state.item}:refund"
    for currency, price in state.price.items():
        draft.refund(currency, price, cause)
    for stock in state.holds:
        stocks.move(draft, stock, -1)
    if state.limited:
        allowances.put_back(draft, store_stock(state.item), cause)
    _become(draft, id_, state, FulfilmentStatus.FAILED)
    draft.notice("store.failed", fulfilment=id_, item=state.item, refund=state.price)


def _check(draft: "Draft", name: str, item: StoreItem) -> None:
    """Raise Refusal where a user may not have an item, or there is none left; the price is looked at last."""
    if item.badge is not None and not badges.has(draft, item.badge):
        raise Refusal(Reason.REQUIREMENT_NOT_MET, f"{name!r} needs the badge {item.badge!r}")
    for track, level in item.level.items():
        if draft.level(track) < level:
            at = draft.level(track)
            raise Refusal(Reason.REQUIREMENT_NOT_MET, f"{name!r} needs level {level} of {track}; the user is at {at}")
    if item.limit is not None and allowances.taken(draft, store_stock(name)) >= item.limit:
        raise Refusal(Reason.LIMIT_REACHED, f"a user may redeem {item.limit} of {name!r}")
    if item.stock is not None and stocks.left(draft, store_stock(name), item.stock) < 1:
        raise Refusal(Reason.OUT_OF_STOCK, f"there is no {name!r} left")
    if item.fulfilment == "code" and stocks.codes_left(draft, item.pool or name) < 1:
        raise Refusal(Reason.OUT_OF_STOCK, f"there is no code for {name!r} left")


def _named(draft: "Draft") -> tuple[str, StoreItem]:
    name = draft.event.payload.get("item")
    item = draft.program.store.get(name) if isinstance(name, str) else None
    if item is None:
        raise Refusal(Reason.UNKNOWN_ITEM, f"the reward store has no {name!r}")
    return str(name), item


def _pending(draft: "Draft", wanted: FulfilmentStatus) -> tuple[str, FulfilmentState]:
    """Return the fulfilment that a command names; raises Refusal where it cannot become what is wanted."""
    id_ = draft.event.payload.get("fulfilment")
    found = draft.record(RecordKind.FULFILMENT, id_) if isinstance(id_, str) else None
    if found is None:
        raise Refusal(Reason.UNKNOWN_REWARD, f"the user has no fulfilment {id_!r}")
    state = cast(FulfilmentState, found)
    if wanted not in FULFILMENT_TRANSITIONS[state.status]:
        raise Refusal(Reason.NOT_PENDING, f"the fulfilment of {state.item!r} is {state.status.value.lower()}")
    return str(id_), state


def _become(draft: "Draft", id_: str, state: FulfilmentState, status: FulfilmentStatus) -> None:
    note = str(draft.event.payload.get("note") or "")[:FULFILMENT_NOTE_CHARS_MAX]
    ended = msgspec.structs.replace(state, status=status, settled_at=draft.event.occurred_at, note=note)
    draft.put(RecordKind.FULFILMENT, id_, ended, f"store:{state.item}:{status.value.lower()}")
