"""Tiers: steps that users stand on by a balance, or by what they have earned in all."""

import msgspec

from questline.model.definition import Definition, Reward


class TierStep(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One step: reached `at` an amount, rewarded the first time."""

    name: str
    at: int
    rewards: tuple[Reward, ...] = ()


class Tiers(Definition, frozen=True, rename="camel", omit_defaults=True):
    """Steps by exactly one of `balance` and `earned`, each the name of a currency. With `demote` a falling balance leads down."""

    steps: tuple[TierStep, ...]
    balance: str | None = None
    earned: str | None = None
    demote: bool = False
    title: str = ""

    @property
    def currency(self) -> str:
        """What the steps go by."""
        return self.balance or self.earned or ""


class TierState(msgspec.Struct, frozen=True, gc=False):
    """Places in the list of steps, from 0: the one stood on, and the highest ever; and what was earned.

    That is what the user held when the tiers began, and what they have earned since.
    """

    step: int
    best: int
    earned: int
