"""Rules: an event of a type, a condition, an award."""

from collections.abc import Callable
from decimal import Decimal

from questline.engine.amounts import compile_award, compile_factor, product
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.numbers import EXACT
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.decision import RuleUse
from questline.model.program import Limit, Rule

Step = Callable[[Draft], None]


def compile_rule(name: str, rule: Rule) -> Step:
    """Return the closure that pays a rule where its condition holds and its limit has room.

    A rule has fired, and a use is counted, only when something was paid. Multipliers concern its `award`; what it gives as
    `rewards` is given as it stands.
    """
    test = compile_condition(rule.when) if rule.when else None
    awards = [(currency, compile_award(amount)) for currency, amount in rule.award.items()]
    factors = [compile_factor(multiplier) for multiplier in rule.multiply]
    limit, rewards = rule.limit, rule.rewards
    cause = f"rule:{name}"

    def step(draft: Draft) -> None:
        if test is not None and not test(draft.view):
            return
        use = None
        if limit is not None:
            use = next_use(name, limit, draft)
            if use.uses > limit.times:
                return
        factor = product(factors, draft) if factors else None
        paid = False
        boosts = draft.program.boosts
        for currency, award in awards:
            amount = award(draft, factor if boosts is None else boosted(boosts.factor(draft, name, currency), factor))
            if amount:
                draft.credit(currency, amount, cause)
                paid = True
        if rewards:
            give(draft, rewards, 1, cause)
            paid = True
        if not paid:
            return
        if use is not None:
            draft.rule_uses[name, use.window_start] = use
        draft.fired.append(name)

    return step


def boosted(boost: Decimal | None, factor: Decimal | None) -> Decimal | None:
    """Return the product of a boost and a rule's own multipliers; None for 1."""
    if boost is None or factor is None:
        return boost if factor is None else factor
    return EXACT.multiply(boost, factor)


def next_use(name: str, limit: Limit, draft: Draft) -> RuleUse:
    """Return the use this event would be, in the window of its time in the user's zone."""
    window = calendar.period_number(limit.per, draft.event.occurred_at, draft.zone)
    uses = draft.state.rule_uses.get((name, window), 0)
    draft.view.reads[f"uses.{name}"] = uses
    return RuleUse(name, window, uses + 1)
