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
    """One step of an event type: what it does, which rows it touches, and which records the event names."""

    step: Callable[["Draft"], None]
    touch: Callable[[Touched], None]
    keys: Callable[[Event, tzinfo], Iterable[RecordKey]] | None = None


def trades_of(document: ProgramDocument) -> dict[str, list[Trade]]:
    """Return the steps by event type: an attribution before what counts on it."""
    found: dict[str, list[Trade]] = defaultdict(list)
    if document.referrals is not None:
        found[document.referrals.on].append(_attribution(document.referrals))
        if document.referrals.qualify is not None:
            found[document.referrals.qualify.on].append(_qualification(document.referrals))
    for name, commission in document.commissions.items():
        found[commission.on].append(_sale(commissions.compile_sale(name, commission), commission))
        if commission.refund_on is not None:
            found[commission.refund_on].append(_sale(commissions.compile_refund(name, commission), commission))
    return dict(found)


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


def _sale(step: Callable[["Draft"], None], commission: Commission) -> Trade:
    def touch(touched: Touched) -> None:
        touched.record(referrals.KEY)
        touched.condition(commission.when)

    return Trade(step, touch)
