"""Rewards as they are shown: grants with what they gave, badges, redemptions and their fulfilment."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

import msgspec

from questline.engine.compile import Program
from questline.engine.named_rewards import badge_of
from questline.model.deliveries import DeliveryStatus
from questline.model.records import RecordKind
from questline.model.redemptions import FulfilmentStatus
from questline.model.rewards import BadgeState, Given, GrantState, GrantStatus
from questline.model.state import UserState
from questline.model.stocks import StockState, pool_stock, reward_stock, store_stock
from questline.store.fulfilments import DeliveryState, FulfilmentRow
from questline.store.grants import GrantRow


class GrantView(msgspec.Struct, frozen=True, rename="camel"):
    """A grant as of now; `cause` is what gave it, `given` what its claim gave, `code` a coupon's, once it is claimed."""

    grant: str
    reward: str
    title: str
    type: str
    status: GrantStatus
    cause: str
    granted_at: datetime
    expires_at: datetime | None
    settled_at: datetime | None
    given: list[Given]
    code: str | None


class BadgeView(msgspec.Struct, frozen=True, rename="camel"):
    badge: str
    title: str
    earned_at: datetime


def grant_view(program: Program, row: GrantRow, now: datetime) -> GrantView:
    """Return a grant as of `now`; one whose reward the program has no more keeps its name only."""
    state = row.state
    reward = program.rewards.get(state.reward)
    return GrantView(
        row.id,
        state.reward,
        reward.title if reward is not None else "",
        reward.type if reward is not None else "",
        state.status_at(now),
        state.cause,
        state.at,
        state.expires_at,
        state.settled_at,
        list(state.given),
        row.code,
    )


def pending_of(program: Program, state: UserState, now: datetime) -> list[GrantView]:
    """Return what a user can claim now, newest first, of the grants that were loaded."""
    views = [
        grant_view(program, GrantRow(name, cast(GrantState, grant), None), now)
        for (kind, name), grant in state.records.items()
        if kind is RecordKind.GRANT
    ]
    return [view for view in views if view.status is GrantStatus.PENDING]


def badges_of(program: Program, state: UserState) -> list[BadgeView]:
    """Return the badges a user has, the first earned first; their titles are those of the rewards that give them."""
    titles = {
        badge_of(name, reward): reward.title for name, reward in program.rewards.items() if reward.type == "badge"
    }
    held = [
        BadgeView(name, titles.get(name, ""), cast(BadgeState, badge).at)
        for (kind, name), badge in state.records.items()
        if kind is RecordKind.BADGE and cast(BadgeState, badge).times
    ]
    return sorted(held, key=lambda view: (view.earned_at, view.badge))


class DeliveryView(msgspec.Struct, frozen=True, rename="camel"):
    """The message to a project's webhook: how often it was sent, the last answer, and when it is sent again."""

    status: DeliveryStatus
    tries: int
    last_answer: str | None
    next_try_at: datetime | None


class FulfilmentView(msgspec.Struct, frozen=True, rename="camel"):
    """A redemption: what was paid for it, how it is fulfilled, and how far that is.

    `code` is what a code item told, `delivery` the message about an item that a webhook fulfils.
    """

    fulfilment: str
    user_id: str
    item: str
    title: str
    method: str
    status: FulfilmentStatus
    price: dict[str, int]
    redeemed_at: datetime
    settled_at: datetime | None
    note: str
    code: str | None
    delivery: DeliveryView | None


def fulfilment_view(program: Program, row: FulfilmentRow) -> FulfilmentView:
    """Return a redemption; one of an item that the store has no more keeps its name only."""
    state, item = row.state, program.store.get(row.state.item)
    return FulfilmentView(
        row.id,
        row.user,
        state.item,
        item.title if item is not None else "",
        state.method,
        state.status,
        state.price,
        state.at,
        state.settled_at,
        state.note,
        row.code,
        None if row.delivery is None else delivery_view(row.delivery),
    )


def delivery_view(state: DeliveryState) -> DeliveryView:
    """Return how far a message is; while it is being sent, nobody knows when it is sent next."""
    waits = state.status is DeliveryStatus.PENDING and not state.under_way
    return DeliveryView(state.status, state.tries, state.answer, state.due_at if waits else None)


class StockView(msgspec.Struct, frozen=True, rename="camel"):
    """What all users share: `reward:NAME` and `store:NAME` with the program's bound, `pool:NAME` with its codes."""

    stock: str
    bound: int
    taken: int
    left: int


def stocks_of(program: Program, states: Mapping[str, StockState]) -> list[StockView]:
    """Return every stock that the program bounds, and every pool of codes, by name."""
    bounds = {reward_stock(name): reward.stock for name, reward in program.rewards.items() if reward.stock is not None}
    bounds |= {store_stock(name): item.stock for name, item in program.store.items() if item.stock is not None}
    bounds |= {name: state.added for name, state in states.items() if name.startswith(pool_stock("")) and state.added}
    views = []
    for name, bound in sorted(bounds.items()):
        taken = states[name].taken if name in states else 0
        views.append(StockView(name, bound, taken, max(bound - taken, 0)))
    return views
