"""`$compensate`: what an event would have given under another program version, less what it gave."""

from typing import TYPE_CHECKING

from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.model.program import ProgramDocument

CAUSE = "compensation:"
REPLAYED_CAUSES = ("rule:", "streak:")
"""What is worked out again: awards of rules and of streaks' milestones. Levels, achievements and tiers follow from those."""


def compensate(draft: "Draft") -> None:
    """`$compensate` {replay, event, version, amounts}: credit what is above zero, take back what is below.

    What the user no longer has becomes their debt. Nothing is multiplied: the amounts are those that were worked out.
    """
    payload = draft.event.payload
    rule = f"{CAUSE}{payload.get('event')}"
    for currency, amount in sorted(payload.get("amounts", {}).items()):
        if currency not in draft.program.document.currencies:
            raise Refusal(Reason.UNKNOWN_CURRENCY, f"the program has no currency {currency!r} any more")
        if amount > 0:
            draft.pay_out(currency, amount, Account.ISSUANCE, rule)
        elif amount < 0:
            draft.claw_back(currency, -amount, Account.ISSUANCE, rule)
            draft.earned[currency] = draft.earned.get(currency, 0) + amount


def touch(touched: "Touched", document: "ProgramDocument") -> None:
    """Add every currency: an event may name any of them."""
    touched.currencies(document.currencies)
