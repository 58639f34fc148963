"""Level curves: how much XP makes which level. Levels start at 1."""

from bisect import bisect_right
from math import isqrt

from questline.model.limits import LEVELS_MAX
from questline.model.program import Levels, rewards_of


class Curve:
    """One track's curve, in exact integer arithmetic."""

    def __init__(self, levels: Levels) -> None:
        self._curve = levels.curve
        self._base = levels.base
        self._table = levels.table
        highest = len(levels.table) if levels.curve == "table" else LEVELS_MAX
        self.highest = min(highest, levels.max or highest)
        self.rewards = {int(level): rewards_of(reward) for level, reward in levels.rewards.items()}

    def level_of(self, xp: int) -> int:
        """Return the level that an amount of XP makes.

        sqrt: floor(sqrt(xp / base)) + 1; linear: floor(xp / base) + 1; table: the last level whose need is met.
        """
        if self._curve == "sqrt":
            level = isqrt(xp // self._base) + 1
        elif self._curve == "linear":
            level = xp // self._base + 1
        else:
            level = bisect_right(self._table, xp)
        return min(max(level, 1), self.highest)

    def xp_for(self, level: int) -> int | None:
        """Return the XP at which a level begins; None for a level above the highest."""
        if level > self.highest:
            return None
        if self._curve == "sqrt":
            return (level - 1) ** 2 * self._base
        if self._curve == "linear":
            return (level - 1) * self._base
        return self._table[level - 1]
