"""Referrals and commissions: who brought whom, what both get for it, and a share of what a friend buys."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from questline.model.definition import Condition, Definition, Reward
from questline.model.items import Span


class Qualify(Definition, frozen=True, rename="camel", omit_defaults=True):
    """The friend's event that makes a referral count; it must come `within` so long from the attribution."""

    on: str
    when: Condition | None = None
    within: Span | None = None


class Referrals(Definition, frozen=True, rename="camel", omit_defaults=True):
    """An event of type `on` with a referrer's code in the payload's `code` attributes its user, once for ever.

    `friend` is given to who came, `referrer` to who brought them: when the referral qualifies, or at once without `qualify`.
    """

    on: str
    code: str = "referralCode"
    qualify: Qualify | None = None
    friend: tuple[Reward, ...] = ()
    referrer: tuple[Reward, ...] = ()


class CommissionPlan(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A share in basis points (1/10,000); the last plan of the list whose condition holds for the earner is taken."""

    name: str
    basis_points: int
    when: Condition | None = None


class Commission(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A share of the payload's `amount` (in smallest units) to the user's referrer, or to the user whom `to` names.

    Once per `order`; an event of type `refund_on` with the same order takes it back. With `within` the referrer has a share of
    what comes so long from the attribution, whether or not the referral counts; without it, of all that ever comes.
    """

    on: str
    currency: str
    plans: tuple[CommissionPlan, ...]
    amount: str = "amount"
    order: str = "orderId"
    to: str | None = None
    within: Span | None = None
    when: Condition | None = None
    refund_on: str | None = None


class CodeOwner(msgspec.Struct, frozen=True, gc=False):
    """Whose a code is, and who brought that user, and so on upwards: internal ids, a bounded number of them."""

    owner: int
    user: str
    ancestors: tuple[int, ...]


class ReferralState(msgspec.Struct, frozen=True, gc=False):
    """Who brought the user, and whether it counted.

    `user`, the referrer's id outside, and `chain`, the referrer and those above as they were found, are not stored.
    """

    hidden: ClassVar[tuple[str, ...]] = ("user", "chain")

    referrer: int
    user: str
    at: datetime
    status: Literal["PENDING", "QUALIFIED"]
    chain: tuple[int, ...] = ()


class CommissionState(msgspec.Struct, frozen=True, gc=False):
    """What an order paid its earner, under which plan; reversed: it was taken back. A buyer's says that there was a refund.

    `currency` is the one that was paid; '' where that was not kept yet.
    """

    amount: int
    plan: str
    reversed: bool
    currency: str = ""
