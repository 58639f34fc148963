"""`$spend`: an amount of a currency leaves the user for good."""

from typing import TYPE_CHECKING

from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.limits import AMOUNT_MAX
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def spend(draft: "Draft") -> None:
    """`$spend` {currency, amount}: move an amount from the user to burn, or refuse."""
    payload = draft.event.payload
    currency, amount = payload.get("currency"), payload.get("amount")
    if not isinstance(currency, str):
        raise Refusal(Reason.INVALID_COMMAND, "currency: must be the name of a currency")
    if type(amount) is not int or not 0 < amount <= AMOUNT_MAX:
        raise Refusal(Reason.INVALID_COMMAND, f"amount: must be a whole number from 1 to {AMOUNT_MAX}")
    definition = draft.program.currencies.get(currency)
    if definition is None:
        raise Refusal(Reason.UNKNOWN_CURRENCY, f"the program has no currency {currency!r}")
    if not definition.can_be_spent:
        raise Refusal(Reason.UNKNOWN_CURRENCY, f"{currency!r} cannot be spent")
    draft.debit(currency, amount, Account.BURN, "command:spend")
