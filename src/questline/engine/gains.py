"""Gains: what a user receives of a currency or a vital grows with a level of theirs."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from questline.engine.numbers import EXACT, exact, rounded
from questline.model.definition import Gains

if TYPE_CHECKING:
    from questline.engine.draft import Draft

Gain = Callable[["Draft", int], int]

_ONE = Decimal(1)


def compile_gains(gains: Gains) -> Gain:
    """Return the closure that multiplies what is gained; the level it read is kept among the reads."""
    track, per_level, rounding = gains.level, exact(gains.per_level), gains.round
    most = None if gains.max is None else exact(gains.max)

    def gain(draft: "Draft", amount: int) -> int:
        level = draft.view.reads["level." + track] = draft.level(track)
        factor = EXACT.add(_ONE, EXACT.multiply(per_level, Decimal(level - 1)))
        if most is not None and factor > most:
            factor = most
        return rounded(EXACT.multiply(Decimal(amount), factor), rounding)

    return gain
