"""What a friend's events set off for others: attributions, referrals that count, commissions and their refunds."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import TYPE_CHECKING

import msgspec

from questline.engine import commissions, referrals
from questline.engine.footprints import Touched
from questline.model.event import Event
from questline.model.program import ProgramDocument
from questline.model.records import RecordKey
from questline.model.referrals import Commission, Referrals

if TYPE_CHECKING:
    from questline.engine.draft import Draft


class Trade(msgspec.Struct, frozen=True):
    """One step of an event type: what it does, which rows it touches, and which records the event names.

    `when_blocked`: it is run for a blocked user as well, whose event is refused: it takes back what others were paid.
    """

    step: Callable[["Draft"], None]
    touch: Callable[[Touched], None]
    keys: Callable[[Event, tzinfo], Iterable[RecordKey]] | None = None
    when_blocked: bool = False


def trades_of(document: ProgramDocument) -> dict[str, list[Trade]]:
    """Return the steps by event type: an attribution before what counts on it."""
    found: dict[str, list[Trade]] = defaultdict(list)
    if document.referrals is not None:
        found[document.referrals.on].append(_attribution(document.referrals))
        if document.referrals.qualify is not None:
            found[document.referrals.qualify.on].append(_qualification(document.referrals))
    for name, commission in document.commissions.items():
        found[commission.on].append(_sale(name, commission))
        if commission.refund_on is not None:
            found[commission.refund_on].append(_refund(name, commission))
    return dict(found)


def paying_types(document: ProgramDocument) -> frozenset[str]:
    """Return the types whose events pay others or take back what they were paid, so that only servers may send them."""
    qualify = None if document.referrals is None else document.referrals.qualify
    sales = [type_ for one in document.commissions.values() for type_ in (one.on, one.refund_on) if type_ is not None]
    return frozenset(sales if qualify is None else [*sales, qualify.on])


def _attribution(of: Referrals) -> Trade:
    def touch(touched: Touched) -> None:
        touched.record(referrals.KEY)
        touched.rewards(of.friend)

    return Trade(referrals.attribute, touch, lambda event, _: referrals.codes(of, event))


def _qualification(of: Referrals) -> Trade:
    def touch(touched: Touched) -> None:
        touched.record(referrals.KEY)
        touched.rewards(of.friend)
        touched.condition(of.qualify.when if of.qualify is not None else None)

    return Trade(referrals.compile_qualify(of), touch)


def _sale(name: str, commission: Commission) -> Trade:
    def touch(touched: Touched) -> None:
        touched.record(referrals.KEY)
        touched.condition(commission.when)

    # Only a commission that can be refunded has orders to ask about.
    keys = _orders(name, commission) if commission.refund_on is not None else None
    return Trade(commissions.compile_sale(name, commission), touch, keys)


def _refund(name: str, commission: Commission) -> Trade:
    keys = _orders(name, commission)
    return Trade(commissions.compile_refund(name, commission), lambda _: None, keys, when_blocked=True)


def _orders(name: str, commission: Commission) -> Callable[[Event, tzinfo], Iterable[RecordKey]]:
    return lambda event, _: commissions.orders(name, commission, event)
