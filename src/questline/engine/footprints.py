"""Which rows of a user's state an event type can touch, consequences included."""

from collections.abc import Iterable, Mapping
from typing import Any

from questline.engine.fields import split_field
from questline.model.footprint import Footprint
from questline.model.program import Achievement, ProgramDocument, Rule, Streak


class Touched:
    """Names gathered while following consequences; `follow` ends when nothing new is reached."""

    def __init__(self, program: ProgramDocument) -> None:
        self._program = program
        self.currencies: set[str] = set()
        self.metrics: set[str] = set()
        self.streaks: set[str] = set()
        self.achievements: set[str] = set()

    def condition(self, raw: Mapping[str, Any] | None) -> None:
        """Add what a condition reads."""
        if raw is None:
            return
        for part in (*raw.get("all", ()), *raw.get("any", ()), *([raw["not"]] if "not" in raw else ())):
            self.condition(part)
        if "field" in raw:
            self.field(raw["field"])

    def field(self, field: str) -> None:
        """Add what a field reads."""
        root, name = split_field(field)
        if root in ("balance", "level"):
            self.currencies.add(name)
        elif root == "streak":
            self.streaks.add(name)
        elif root == "metric":
            self.metrics.add(name)

    def rule(self, rule: Rule) -> None:
        """Add what a rule reads and awards."""
        self.condition(rule.when)
        for currency, amount in rule.award.items():
            self.currencies.add(currency)
            if not isinstance(amount, int):
                self.field(amount["field"])
        for multiplier in rule.multiply:
            if multiplier.streak is not None:
                self.streaks.add(multiplier.streak)
            if multiplier.field is not None:
                self.field(multiplier.field)

    def streak(self, name: str, streak: Streak) -> None:
        """Add a streak that advances, what it reads and its milestones pay."""
        self.streaks.add(name)
        self.condition(streak.when)
        for milestone in streak.milestones.values():
            self.currencies.update(milestone.award)

    def follow(self) -> None:
        """Add level rewards, and achievements that may unlock with what they read and pay, until nothing is new."""
        size = -1
        while size != (size := self._size()):
            for currency in list(self.currencies):
                levels = self._program.currencies[currency].levels if currency in self._program.currencies else None
                for reward in levels.rewards.values() if levels else ():
                    self.currencies.update(reward.award)
            for name, achievement in self._program.achievements.items():
                if name not in self.achievements and any(self._reads(r.source) for r in achievement.requirements):
                    self._achievement(name, achievement)

    def _size(self) -> int:
        return len(self.currencies) + len(self.metrics) + len(self.streaks) + len(self.achievements)

    def _reads(self, source: tuple[str, str]) -> bool:
        kind, name = source
        if kind in ("level", "currency"):
            return name in self.currencies
        return name in {"metric": self.metrics, "streak": self.streaks, "achievement": self.achievements}[kind]

    def _achievement(self, name: str, achievement: Achievement) -> None:
        self.achievements.add(name)
        for kind, source in (r.source for r in achievement.requirements):
            if kind in ("level", "currency"):
                self.currencies.add(source)
            else:
                {"metric": self.metrics, "streak": self.streaks, "achievement": self.achievements}[kind].add(source)
        for reward in (*achievement.rewards, *(r for tier in achievement.tiers for r in tier.rewards)):
            self.currencies.add(reward.currency)

    def footprint(self, limited_rules: Iterable[str], distinct_metrics: Iterable[str]) -> Footprint:
        """Return what was gathered."""
        return Footprint(
            frozenset(self.currencies),
            frozenset(self.metrics),
            frozenset(self.streaks),
            frozenset(self.achievements),
            frozenset(limited_rules),
            frozenset(distinct_metrics),
        )
