"""Which rows of a user's state an event type can touch, consequences included."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from questline.engine.fields import split_field
from questline.engine.windows import Spans
from questline.model.definition import Reward
from questline.model.footprint import Footprint
from questline.model.guards import Guard
from questline.model.program import Achievement, ProgramDocument, Rule, Streak, rewards_of
from questline.model.records import SELF, RecordKey, RecordKind
from questline.model.requirements import Requirement
from questline.model.rewards import NamedReward
from questline.model.stocks import pool_stock, reward_stock
from questline.model.windows import window_name

_RECORD_KINDS = tuple(kind.value for kind in RecordKind)

Source = tuple[str, str]  # what a requirement looks at: (kind, name)
Readers = Mapping[Source, Sequence[Source]]


def readers_of(program: ProgramDocument) -> Readers:
    """Return, by what they look at, the achievements and quests that may follow when it changes."""
    found: dict[Source, list[Source]] = defaultdict(list)
    for name, achievement in program.achievements.items():
        for source in {requirement.source: None for requirement in achievement.requirements}:
            found[source].append(("achievement", name))
    for name, quest in program.quests.items():
        own = ("quest", name)
        for source in {own: None, **{requirement.source: None for requirement in quest.all_requirements}}:
            found[source].append(own)
    return found


class Touched:
    """Names gathered while following consequences; `follow` ends when nothing new is reached.

    What is only read must be loaded, and nothing follows from it; what may change is loaded, and what looks at it may
    unlock. An achievement that another one requires is read; it may unlock only where something that it requires changes.
    """

    def __init__(self, program: ProgramDocument, readers: Readers, windows: Spans) -> None:
        self._program = program
        self._readers = readers
        self._windows = windows
        self._read: set[Source] = set()
        self._changed: set[Source] = set()
        self._due: list[Source] = []
        self._stocks: set[str] = set()

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
        if root == "balance":
            self._read.add(("currency", name))
        elif root in ("level", "streak", "metric", "vital", "tier", "quest"):
            self._read.add((root, name))
        elif root == "segment" and name in self._program.segments:
            self.condition(self._program.segments[name].when)

    def metric(self, name: str) -> None:
        """Add a metric that an event may change."""
        self._change("metric", name)
        self._read.update(("window", window_name(name, span)) for span in self._windows.get(name, ()))

    def counted(self, metric: str) -> None:
        """Add a metric that may change without anything following from it."""
        self._read.add(("metric", metric))
        self._read.update(("window", window_name(metric, span)) for span in self._windows.get(metric, ()))

    def progress(self, achievement: str) -> None:
        """Add an achievement whose progress customers report."""
        self._change("progress", achievement)

    def currencies(self, names: Iterable[str]) -> None:
        """Add currencies that are paid or taken, and the levels they may raise."""
        for name in names:
            self._change("currency", name)
            self._change("level", name)
            currency = self._program.currencies.get(name)
            if currency is not None and currency.gains is not None:
                self._read.add(("level", currency.gains.level))
            for tier, steps in self._program.tiers.items():
                if steps.currency == name and ("tier", tier) not in self._changed:
                    self._change("tier", tier)
                    self.rewards(reward for step in steps.steps for reward in step.rewards)

    def boosts(self, rule: str, award: Iterable[str]) -> None:
        """Add what the boosts of a rule's awards look at."""
        currencies = set(award)
        for name, boost in self._program.boosts.items():
            concerns = not boost.currencies or not currencies.isdisjoint(boost.currencies)
            if not concerns or (boost.rules and rule not in boost.rules):
                continue
            if boost.lasts is not None:
                self._read.add(("boost", name))
            if boost.segment is not None:
                self.field(f"segment.{boost.segment}")

    def levels(self, tracks: Iterable[str]) -> None:
        """Add tracks whose level is read."""
        self._read.update(("level", track) for track in tracks)

    def item(self, name: str) -> None:
        """Add an item that may come or go; where the inventory is bounded, what else lies in it is read."""
        self._change("item", name)
        if self._program.inventory is not None:
            self._read.update(("item", other) for other in self._program.items)

    def record(self, key: RecordKey) -> None:
        """Add a record that is there once for a user."""
        self._read.add((key[0].value, key[1]))

    def stock(self, name: str) -> None:
        """Add a stock that may be taken of or put back to."""
        self._stocks.add(name)

    def vital(self, name: str) -> None:
        """Add a vital that may change, and what its top gives."""
        vital = self._program.vitals.get(name)
        if vital is None or ("vital", name) in self._changed:
            return
        self._change("vital", name)
        if vital.gains is not None:
            self._read.add(("level", vital.gains.level))
        if vital.at_top is not None:
            self.rewards(vital.at_top.rewards)

    def rewards(self, rewards: Iterable[Reward]) -> None:
        """Add what rewards give."""
        for reward in rewards:
            if reward.currency is not None:
                self.currencies((reward.currency,))
            elif reward.item is not None:
                self.item(reward.item)
            elif reward.vital is not None:
                self.vital(reward.vital)
            elif reward.boost is not None:
                self._change("boost", reward.boost)
            elif reward.reward is not None:
                self.grant(reward.reward)

    def grant(self, name: str) -> None:
        """Add a named reward that may be granted: its stock, the user's allowance, and what it gives at once."""
        reward = self._program.rewards.get(name)
        if reward is None or ("reward", name) in self._changed:
            return
        self._changed.add(("reward", name))
        self.held(name, reward)
        if reward.grant == "auto":
            self.gift(name, reward)

    def held(self, name: str, reward: NamedReward) -> None:
        """Add what a grant takes and may put back."""
        if reward.stock is not None:
            self.stock(reward_stock(name))
        if reward.type == "coupon":
            self.stock(pool_stock(reward.pool or name))
        if reward.limit is not None:
            self._read.add(("allowance", reward_stock(name)))

    def gift(self, name: str, reward: NamedReward) -> None:
        """Add what a named reward gives when it is claimed."""
        if reward.currency is not None:
            self.currencies((reward.currency,))
        for item in reward.items:
            self.item(item)
        if reward.type == "badge":
            self._read.add(("badge", reward.badge or name))

    def guards(self, guards: Mapping[str, Guard]) -> None:
        """Add what guards read and remember."""
        for name, guard in guards.items():
            self.condition(guard.when)
            if guard.kind != "bounds" and not guard.is_shared:
                self.record((RecordKind.GUARD, name))
            if guard.action == "block":
                self.record((RecordKind.BLOCK, SELF))
        if guards:
            self.record((RecordKind.SUSPICION, SELF))
            suspicion = self._program.suspicion
            if suspicion is not None and "block" in suspicion.actions.values():
                self.record((RecordKind.BLOCK, SELF))

    def rule(self, name: str, rule: Rule) -> None:
        """Add what a rule reads and awards."""
        self.condition(rule.when)
        self.boosts(name, rule.award)
        self.currencies(rule.award)
        self.rewards(rule.rewards)
        for amount in rule.award.values():
            if not isinstance(amount, int) and "field" in amount:
                self.field(amount["field"])
        for multiplier in rule.multiply:
            if multiplier.streak is not None:
                self._read.add(("streak", multiplier.streak))
            if multiplier.field is not None:
                self.field(multiplier.field)

    def streak(self, name: str, streak: Streak) -> None:
        """Add a streak that advances, what it reads and its milestones pay."""
        self._change("streak", name)
        if streak.has_choices:
            self._read.add(("streak_choices", name))
        self.condition(streak.when)
        for milestone in streak.milestones.values():
            self.rewards(rewards_of(milestone))

    def quest(self, name: str) -> None:
        """Add a quest that may move, what it looks at and pays, and what it listens to for that."""
        quest = self._program.quests[name]
        self._change("quest", name)
        self._requirements(quest.all_requirements)
        self.rewards((*quest.rewards, *(reward for step in quest.steps for reward in step.rewards)))
        for listening in (*quest.steps, *([quest.fails] if quest.fails is not None else ())):
            self.condition(listening.when)

    def achievement(self, name: str) -> None:
        """Add an achievement that may unlock without anything it looks at changing."""
        if ("achievement", name) not in self._changed:
            self._achievement(name, self._program.achievements[name])

    def follow(self) -> None:
        """Add level rewards, and achievements and quests that may follow with what they read and pay, until nothing is new."""
        while self._due:
            source = self._due.pop()
            if source[0] == "level":
                self._level(source[1])
            for kind, name in self._readers.get(source, ()):
                if (kind, name) in self._changed:
                    continue
                if kind == "quest":
                    self.quest(name)
                else:
                    self._achievement(name, self._program.achievements[name])

    def _change(self, kind: str, name: str) -> None:
        source = (kind, name)
        if source not in self._changed:
            self._changed.add(source)
            self._due.append(source)

    def _level(self, track: str) -> None:
        currency = self._program.currencies.get(track)
        if currency is not None and currency.levels is not None:
            for reward in currency.levels.rewards.values():
                self.rewards(rewards_of(reward))

    def _achievement(self, name: str, achievement: Achievement) -> None:
        self._change("achievement", name)
        self._requirements(achievement.requirements)
        self.rewards((*achievement.rewards, *(r for tier in achievement.tiers for r in tier.rewards)))

    def _requirements(self, requirements: Iterable[Requirement]) -> None:
        for requirement in requirements:
            self._read.add(requirement.source)
            if requirement.metric is not None and requirement.timeframe is not None:
                self._read.add(("window", window_name(requirement.metric, requirement.timeframe)))

    def footprint(self, limited_rules: Iterable[str], distinct_metrics: Iterable[str]) -> Footprint:
        """Return what was gathered; a track's level stands in the row of its balance."""
        named: dict[str, set[str]] = defaultdict(set)
        for kind, name in self._read | self._changed:
            named["currency" if kind == "level" else kind].add(name)
        return Footprint(
            frozenset(named["currency"]),
            frozenset(named["metric"]),
            frozenset(named["streak"]),
            frozenset(named["achievement"]),
            frozenset(limited_rules),
            frozenset(distinct_metrics),
            frozenset((RecordKind(kind), name) for kind in _RECORD_KINDS for name in named[kind]),
            frozenset(self._stocks),
        )
