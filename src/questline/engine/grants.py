"""Grants of named rewards: made within stock and limit, claimed once, expired in time, revoked with what they gave."""

from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, cast

import msgspec

from questline.engine import allowances, badges, inventory, stocks
from questline.engine.named_rewards import badge_of, pool_of
from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.event import Event
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind
from questline.model.rewards import TRANSITIONS, Given, GrantState, GrantStatus, NamedReward
from questline.model.stocks import pool_stock, reward_stock

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.model.program import ProgramDocument


def keys(event: Event, _: tzinfo) -> tuple[RecordKey, ...]:
    """Return the grant that a command names."""
    name = event.payload.get("grant")
    return ((RecordKind.GRANT, name),) if isinstance(name, str) and "\0" not in name else ()


def touch_claim(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what any named reward gives."""
    for name, reward in document.rewards.items():
        touched.gift(name, reward)


def touch_expiry(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what a grant of any named reward puts back."""
    for name, reward in document.rewards.items():
        touched.held(name, reward)


def touch_revocation(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what a grant may have given: the reward may have been defined otherwise then.

    Currencies that it gave and the program has no more are added by the shell, which reads the grant for that.
    """
    touch_expiry(touched, document)
    touch_claim(touched, document)
    touched.currencies(document.currencies)
    for item in document.items:
        touched.item(item)


def grant(draft: "Draft", name: str, times: int, cause: str) -> None:
    """Grant a named reward `times` over; where there is none left, the user is left out and a notice says why."""
    reward = draft.program.rewards[name]
    for done in range(times):
        why = _why_not(draft, name, reward)
        if why is not None:
            draft.notice("reward.left_out", reward=name, left=times - done, reason=why.value, cause=cause)
            return
        _grant(draft, name, reward, cause)


def claim(draft: "Draft") -> None:
    """`$reward_claim` {grant}: give what a pending grant holds, or refuse; there is no second claim."""
    id_, state = named(draft, GrantStatus.CLAIMED)
    reward = draft.program.rewards.get(state.reward)
    if reward is None:
        raise Refusal(Reason.UNKNOWN_REWARD, f"the program has no reward {state.reward!r} any more")
    taking: dict[str, int] = {}
    for item, units in reward.items.items():
        free = inventory.room(draft, item, taking)
        if free is not None and free < units:
            beside = f" beside the {', '.join(map(repr, taking))} that come with it" if taking else ""
            raise Refusal(Reason.INVENTORY_FULL, f"there is room for {free} more of {item!r}{beside}, not for {units}")
        taking[item] = units
    _settle(draft, id_, state, reward)


def expire(draft: "Draft") -> None:
    """`$reward_expire` {grant}: end a grant that nobody claimed in time, and put back what it holds."""
    id_, state = named(draft, GrantStatus.EXPIRED)
    if state.status_at(draft.event.occurred_at) is not GrantStatus.EXPIRED:
        raise Refusal(Reason.REQUIREMENT_NOT_MET, f"the grant can be claimed until {state.expires_at}")
    put_back(draft, id_, state, "expire")
    _become(draft, id_, state, GrantStatus.EXPIRED, "reward:expire")
    draft.notice("reward.expired", grant=id_, reward=state.reward)


def revoke(draft: "Draft") -> None:
    """`$reward_revoke` {grant, policy}: end a grant, and take back by transfers what it gave."""
    id_, state = named(draft, GrantStatus.REVOKED)
    reward = draft.program.rewards.get(state.reward)
    policy = draft.event.payload.get("policy") or (reward.clawback if reward is not None else "zero")
    if policy not in ("zero", "debt", "refuse"):
        raise Refusal(Reason.INVALID_COMMAND, "policy: must be one of zero, debt, refuse")
    cause = f"reward:{state.reward}:revoke"
    for given in state.given:
        _claw_back(draft, given, policy, cause)
    put_back(draft, id_, state, cause)
    _become(draft, id_, state, GrantStatus.REVOKED, cause)
    draft.notice("reward.revoked", grant=id_, reward=state.reward, policy=policy)


def named(draft: "Draft", wanted: GrantStatus) -> tuple[str, GrantState]:
    """Return the grant that a command names; raises Refusal where it cannot become what is wanted."""
    id_ = draft.event.payload.get("grant")
    state = cast(GrantState | None, draft.record(RecordKind.GRANT, id_)) if isinstance(id_, str) else None
    if state is None:
        raise Refusal(Reason.UNKNOWN_REWARD, f"the user has no grant {id_!r}")
    # What is due to expire may be expired, and nothing else, whether or not the sweep has been there.
    status = state.status if wanted is GrantStatus.EXPIRED else state.status_at(draft.event.occurred_at)
    if wanted not in TRANSITIONS[status]:
        raise Refusal(Reason.NOT_PENDING, f"the grant of {state.reward!r} is {status.value.lower()}")
    return str(id_), state


def put_back(draft: "Draft", id_: str, state: GrantState, cause: str) -> None:
    """Put back the units a grant holds; a code that was shown stays spent."""
    for stock in state.holds:
        if not stock.startswith(pool_stock("")):
            stocks.move(draft, stock, -1)
        elif state.status is GrantStatus.PENDING:
            stocks.return_code(draft, stock.removeprefix(pool_stock("")), id_)
    if state.limited:
        allowances.put_back(draft, reward_stock(state.reward), cause)


def _why_not(draft: "Draft", name: str, reward: NamedReward) -> Reason | None:
    if reward.limit is not None and allowances.taken(draft, reward_stock(name)) >= reward.limit:
        return Reason.LIMIT_REACHED
    if reward.stock is not None and stocks.left(draft, reward_stock(name), reward.stock) < 1:
        return Reason.OUT_OF_STOCK
    if reward.type == "coupon" and stocks.codes_left(draft, pool_of(name, reward)) < 1:
        return Reason.OUT_OF_STOCK
    return None


def _grant(draft: "Draft", name: str, reward: NamedReward, cause: str) -> None:
    number = sum(1 for kind, _ in draft.records if kind is RecordKind.GRANT)
    id_ = f"{draft.event.id}-{number}"
    at = draft.event.occurred_at
    holds = []
    if reward.stock is not None:
        stocks.move(draft, reward_stock(name), 1)
        holds.append(reward_stock(name))
    if reward.type == "coupon":
        stocks.draw_code(draft, pool_of(name, reward), id_)
        holds.append(pool_stock(pool_of(name, reward)))
    if reward.limit is not None:
        allowances.take(draft, reward_stock(name), cause)
    expires_at = None
    if reward.expires_after is not None:
        expires_at = at + timedelta(seconds=reward.expires_after.seconds)
    state = GrantState(name, GrantStatus.PENDING, cause, at, expires_at, None, tuple(holds), reward.limit is not None)
    draft.put(RecordKind.GRANT, id_, state, cause)
    draft.notice("reward.granted", grant=id_, reward=name, type=reward.type, pending=reward.grant == "claim")
    if reward.grant == "auto":
        _settle(draft, id_, state, reward)


def _settle(draft: "Draft", id_: str, state: GrantState, reward: NamedReward) -> None:
    """Give what the reward says now, and note what was given, so that it can be taken back."""
    cause = f"reward:{state.reward}"
    given: list[Given] = []
    if reward.currency is not None:
        given.append(Given("currency", reward.currency, draft.credit(reward.currency, reward.value, cause)))
    for item, units in reward.items.items():
        given.append(Given("item", item, inventory.receive(draft, item, units, cause)))
    if reward.type == "badge":
        badge = badge_of(state.reward, reward)
        badges.earn(draft, badge, cause)
        given.append(Given("badge", badge, 1))
    for stock in state.holds:
        if stock.startswith(pool_stock("")):
            stocks.show_code(draft, stock.removeprefix(pool_stock("")), id_)
    state = msgspec.structs.replace(state, given=tuple(one for one in given if one.units))
    _become(draft, id_, state, GrantStatus.CLAIMED, cause if reward.grant == "claim" else state.cause)
    draft.notice("reward.claimed", grant=id_, reward=state.reward, type=reward.type, data=reward.data)


def _become(draft: "Draft", id_: str, state: GrantState, status: GrantStatus, cause: str) -> None:
    ended = msgspec.structs.replace(state, status=status, settled_at=draft.event.occurred_at)
    draft.put(RecordKind.GRANT, id_, ended, cause)


def _claw_back(draft: "Draft", given: Given, policy: str, cause: str) -> None:
    """Take back what was given, as far as it is there; the rest is let go, owed, or a reason to refuse."""
    if given.kind == "badge":
        badges.lose(draft, given.name, cause)
        return
    if given.kind == "item":
        there = inventory.held(draft, given.name).units(draft.event.occurred_at)
    else:
        there = draft.balance(given.name)
    if there < given.units and policy == "refuse":
        reason = Reason.INSUFFICIENT_BALANCE if given.kind == "currency" else Reason.NOT_OWNED
        raise Refusal(reason, f"of {given.units} {given.name!r} that were given, {there} are left")
    taken = min(there, given.units)
    if given.kind == "item":
        if taken:  # an item that the program has no more was not loaded, and is left as it lies
            inventory.remove(draft, given.name, taken, cause)
    elif policy == "debt":
        draft.claw_back(given.name, given.units, Account.ISSUANCE, cause)
    elif taken:
        draft.debit(given.name, taken, Account.ISSUANCE, cause)
