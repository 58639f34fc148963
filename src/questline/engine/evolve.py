"""Fold an accepted decision into the state it was made from: what the next event of the batch finds."""

from questline.model.decision import Account, Decision
from questline.model.guards import BlockState
from questline.model.referrals import ReferralState
from questline.model.state import UserState
from questline.model.stocks import StockState

_USER, _DEBT = Account.USER.value, Account.DEBT.value
_UNTOUCHED = StockState()


def evolve(state: UserState, decision: Decision) -> None:
    """Write the decision's effects into `state`, in place; a refusal has none but what guards made of it."""
    balances = state.balances
    for transfer in decision.transfers:
        if transfer.credit == _USER:
            balances[transfer.currency] = balances.get(transfer.currency, 0) + transfer.amount
        if transfer.debit == _USER:
            balances[transfer.currency] = balances.get(transfer.currency, 0) - transfer.amount
        if transfer.debit == _DEBT:
            state.debts[transfer.currency] = state.debts.get(transfer.currency, 0) + transfer.amount
        elif transfer.credit == _DEBT:
            state.debts[transfer.currency] = state.debts.get(transfer.currency, 0) - transfer.amount
    for level in decision.levels:
        state.levels[level.track] = level.after
    for metric in decision.metrics:
        state.metrics[metric.metric] = metric.state
        if metric.seen_value is not None:
            state.seen_values.add((metric.metric, metric.seen_value))
    for streak in decision.streaks:
        state.streaks[streak.streak] = streak.state
    for use in decision.rule_uses:
        state.rule_uses[use.rule, use.window_start] = use.uses
    for unlock in decision.unlocks:
        state.achievements[unlock.achievement] = unlock.state
    for record in decision.records:
        state.records[record.kind, record.name] = record.state
        if type(record.state) is ReferralState and record.before is None:
            state.lineage[state.id] = record.state.chain
        if isinstance(record.state, BlockState):
            state.blocked = record.state.blocked
    for sighting in decision.sightings:
        state.sightings[sighting.guard, sighting.value_hash] = sighting.state
    move_stocks(state.stocks, decision)
    if decision.profile is not None:
        state.attributes = decision.profile.attributes
        state.display_name = decision.profile.display_name
        state.timezone = decision.profile.timezone
        state.zone_history = decision.profile.zone_history


def move_stocks(stocks: dict[str, StockState], decision: Decision) -> None:
    """Write what the decision takes of stocks, or puts back, into `stocks`, in place."""
    for move in decision.stocks:
        before = stocks.get(move.name, _UNTOUCHED)
        stocks[move.name] = StockState(before.taken + move.units, before.added)
