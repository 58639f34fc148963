"""Tiers: steps that users stand on by a balance, or by what they have earned in all."""

from typing import ClassVar

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


class StepMark(msgspec.Struct, frozen=True, gc=False):
    """A step as it was when a state was written: what a program with other steps finds it by."""

    name: str
    at: int


class TierState(msgspec.Struct, frozen=True, gc=False):
    """Places in the list of steps, from 0: the one stood on, and the highest ever; and what was earned.

    That is what the user held when the tiers began, and what they have earned since. Places are of the program that wrote
    them, `stood` and `reached` the steps at these places; None where an older release wrote the state, whose places hold as
    they are.
    """

    hidden: ClassVar[tuple[str, ...]] = ("stood", "reached")

    step: int
    best: int
    earned: int
    stood: StepMark | None = None
    reached: StepMark | None = None
