"""The books: what transfers say, held against what users hold and owe."""

from collections import Counter
from collections.abc import Iterable

from questline.model.decision import Account, Decision
from questline.model.state import UserState


def books_balance(user: UserState, decisions: Iterable[Decision]) -> bool:
    """Whether a user holds and owes, in each currency, what the transfers of all decisions say, and nothing below zero."""
    held, owed = Counter[str](), Counter[str]()
    for transfer in (transfer for decision in decisions for transfer in decision.transfers):
        if transfer.amount <= 0 or transfer.debit == transfer.credit:
            return False
        for account, sign in ((transfer.credit, 1), (transfer.debit, -1)):
            if account == Account.USER:
                held[transfer.currency] += sign * transfer.amount
            elif account == Account.DEBT:
                owed[transfer.currency] -= sign * transfer.amount
    balances, debts = ({n: v for n, v in found.items() if v} for found in (user.balances, user.debts))
    return (
        {n: v for n, v in held.items() if v} == balances
        and {n: v for n, v in owed.items() if v} == debts
        and min((*balances.values(), *debts.values()), default=0) >= 0
    )
