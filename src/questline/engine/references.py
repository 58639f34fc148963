"""What a program's definitions name must be there, and fit: the second half of validation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from questline.engine import (
    boosts,
    catalogue,
    commissions,
    guards,
    items,
    leagues,
    named_rewards,
    quest_forms,
    redemptions,
    referrals,
    seasons,
    segments,
    tiers,
    vitals,
)
from questline.engine.fields import CONTEXT, EVENT_FIELDS, STATE_ROOTS, split_field
from questline.engine.program_error import ProgramError, hint
from questline.model import calendar
from questline.model.definition import REWARD_KINDS, Reward
from questline.model.items import Span
from questline.model.limits import WINDOW_BUCKETS_MAX
from questline.model.program import ProgramDocument
from questline.model.requirements import REQUIREMENT_KINDS, Requirement

# Each mechanic of its own file checks its own sections.
MECHANICS = (
    vitals.references,
    items.references,
    segments.references,
    boosts.references,
    tiers.references,
    referrals.references,
    commissions.references,
    seasons.references,
    leagues.references,
    guards.references,
    named_rewards.references,
    quest_forms.references,
    redemptions.references,
    catalogue.references,
)


def references(program: ProgramDocument, document: Mapping[str, Any]) -> Iterator[ProgramError]:
    """Yield every reference to what is not there; `document` may name more than `program`, which lacks what is malformed."""
    yield from _zone(program)
    names = Names(program, document)
    for name, currency in program.currencies.items():
        yield from _levels(names, name, currency)
    for name, metric in program.metrics.items():
        path = f"metrics.{name}"
        kinds = [k for k in ("count", "sum", "min", "max", "last", "distinct") if getattr(metric, k)]
        if len(kinds) != 1:
            yield ProgramError(path, "must have exactly one of count, sum, min, max, last, distinct")
        if metric.field and split_field(metric.field)[0]:
            yield ProgramError(f"{path}.{metric.kind}", "metrics aggregate fields of the payload only")
        yield from names.condition(metric.when, f"{path}.when")
    for name, rule in program.rules.items():
        yield from _rule(names, f"rules.{name}", rule)
    for name, streak in program.streaks.items():
        path = f"streaks.{name}"
        if streak.remind is not None and streak.every != "day":
            yield ProgramError(f"{path}.remind", "only a daily streak has an hour at which it is at risk")
        yield from names.condition(streak.when, f"{path}.when")
        days_max = {"day": 1, "week": 7, "month": 28}[streak.every]
        if streak.days > days_max:
            yield ProgramError(f"{path}.days", f"is above {days_max}: the days that every {streak.every} has")
        for length, milestone in streak.milestones.items():
            yield from names.award(milestone.award, f"{path}.milestones.{length}.award")
            yield from names.rewards(milestone.rewards, f"{path}.milestones.{length}.rewards")
    for name, achievement in program.achievements.items():
        yield from _achievement(names, name, achievement)
    for name, board in program.boards.items():
        yield from _board(names, program, name, board)
    for mechanic in MECHANICS:
        yield from mechanic(names, program)


def _zone(program: ProgramDocument) -> Iterator[ProgramError]:
    if program.timezone is not None:
        try:
            calendar.zone(program.timezone)
        except calendar.UnknownZone as error:
            yield ProgramError("timezone", str(error))


def _entries(document: Mapping[str, Any], section: str) -> set[str]:
    entries = document.get(section)
    return set(entries) if isinstance(entries, Mapping) else set()


class Names:
    """What the program defines, to check references against."""

    def __init__(self, program: ProgramDocument, document: Mapping[str, Any]) -> None:
        """`document` may name more than `program`, which lacks the definitions whose form is wrong."""
        self.program = program
        broken = _entries(document, "currencies") - program.currencies.keys()
        self.known: dict[str, set[str]] = {
            "currency": _entries(document, "currencies"),
            "metric": _entries(document, "metrics"),
            "streak": _entries(document, "streaks"),
            "achievement": _entries(document, "achievements"),
            "vital": _entries(document, "vitals"),
            "item": _entries(document, "items"),
            "rule": _entries(document, "rules"),
            "segment": _entries(document, "segments"),
            "boost": _entries(document, "boosts"),
            "tier": _entries(document, "tiers"),
            "reward": _entries(document, "rewards"),
            "quest": _entries(document, "quests"),
            "level": {n for n, c in program.currencies.items() if c.levels} | broken,
        }

    def check(self, kind: str, name: str, path: str) -> Iterator[ProgramError]:
        """Yield an error when the program has no such thing."""
        known = self.known[kind]
        if name not in known:
            what = "currency with levels" if kind == "level" else kind
            yield ProgramError(path, f"there is no {what} {name!r}{hint(name, known)}")

    def award(self, award: Mapping[str, Any], path: str) -> Iterator[ProgramError]:
        """Yield errors of an award's currencies and fields."""
        for currency, amount in award.items():
            yield from self.check("currency", currency, f"{path}.{currency}")
            if isinstance(amount, dict):
                if ("field" in amount) == ("value" in amount):
                    yield ProgramError(f"{path}.{currency}", "must have exactly one of field and value")
                elif "field" in amount:
                    yield from self.field(amount["field"], f"{path}.{currency}.field")
                elif amount.keys() - {"value", "round"}:
                    yield ProgramError(f"{path}.{currency}", "times, min and max belong to a field")

    def rewards(self, rewards: Sequence[Reward], path: str) -> Iterator[ProgramError]:
        """Yield errors of what rewards give."""
        for index, reward in enumerate(rewards):
            at = f"{path}[{index}]"
            kinds = [kind for kind in REWARD_KINDS if getattr(reward, kind) is not None]
            if len(kinds) != 1:
                yield ProgramError(at, f"must have exactly one of {', '.join(REWARD_KINDS)}")
                continue
            yield from self.check(kinds[0], getattr(reward, kinds[0]), f"{at}.{kinds[0]}")
            if kinds[0] == "currency" and reward.value < 1:
                yield ProgramError(f"{at}.value", "a currency is given in whole amounts from 1")
            elif kinds[0] == "vital" and reward.value == 0:
                yield ProgramError(f"{at}.value", "a vital moves by a whole number other than 0")
            elif kinds[0] == "boost" and (boost := self.program.boosts.get(reward.boost or "")) and not boost.lasts:
                yield ProgramError(f"{at}.boost", "only a boost that 'lasts' for a time can be given to a user")

    def requirement(self, requirement: Requirement, path: str) -> Iterator[ProgramError]:
        """Yield an error when a requirement does not look at exactly one thing that is there."""
        kinds = [k for k in REQUIREMENT_KINDS if getattr(requirement, k) is not None]
        if len(kinds) != 1:
            yield ProgramError(path, f"must have exactly one of {', '.join(REQUIREMENT_KINDS)}")
            return
        if requirement.timeframe is not None:
            yield from _timeframe(self, f"{path}.timeframe", requirement.metric, requirement.timeframe)
        kind, name = requirement.source
        yield from self.check("achievement" if kind == "progress" else kind, name, f"{path}.{kind}")

    def condition(self, raw: Mapping[str, Any] | None, path: str) -> Iterator[ProgramError]:
        """Yield errors of the fields a condition reads."""
        if raw is None:
            return
        for form in ("all", "any"):
            for index, part in enumerate(raw.get(form, ())):
                yield from self.condition(part, f"{path}.{form}[{index}]")
        if "not" in raw:
            yield from self.condition(raw["not"], f"{path}.not")
        if "field" in raw:
            yield from self.field(raw["field"], f"{path}.field")

    def field(self, field: str, path: str) -> Iterator[ProgramError]:
        """Yield an error when a field reaches for something that is not there."""
        root, name = split_field(field)
        if root in STATE_ROOTS:
            yield from self.check("currency" if root == "balance" else root, name, path)
        elif root == "event" and name not in EVENT_FIELDS and not name.startswith(CONTEXT):
            yield ProgramError(path, f"there is no event.{name}{hint(name, EVENT_FIELDS)}")


def _levels(names: Names, name: str, currency: Any) -> Iterator[ProgramError]:
    path, levels = f"currencies.{name}.levels", currency.levels
    if currency.gains is not None:
        yield from names.check("level", currency.gains.level, f"currencies.{name}.gains.level")
    if levels is None:
        return
    if currency.kind != "xp":
        yield ProgramError(path, "only a currency of kind xp has levels")
    if (levels.curve == "table") != bool(levels.table):
        yield ProgramError(path, "a table belongs to the curve 'table', and only to it")
    if levels.table and (
        levels.table[0] != 0 or any(a >= b for a, b in zip(levels.table, levels.table[1:], strict=False))
    ):
        yield ProgramError(f"{path}.table", "must begin with 0 and rise from each level to the next")
    for level, reward in levels.rewards.items():
        if int(level) < 2:
            yield ProgramError(f"{path}.rewards.{level}", "level 1 is where users begin; rewards start at level 2")
        yield from names.award(reward.award, f"{path}.rewards.{level}.award")
        yield from names.rewards(reward.rewards, f"{path}.rewards.{level}.rewards")


def _rule(names: Names, path: str, rule: Any) -> Iterator[ProgramError]:
    yield from names.condition(rule.when, f"{path}.when")
    yield from names.award(rule.award, f"{path}.award")
    yield from names.rewards(rule.rewards, f"{path}.rewards")
    if not rule.award and not rule.rewards:
        yield ProgramError(path, "lacks 'award' or 'rewards': what it gives")
    for index, multiplier in enumerate(rule.multiply):
        at = f"{path}.multiply[{index}]"
        forms = [k for k in ("field", "streak", "hours") if getattr(multiplier, k) is not None]
        if len(forms) != 1:
            yield ProgramError(at, "must have exactly one of field (with map), streak (with every or from), hours")
            continue
        if multiplier.field is not None:
            if multiplier.map is None:
                yield ProgramError(at, "lacks 'map': which values of the field give which factor")
            yield from names.field(multiplier.field, f"{at}.field")
        if multiplier.streak is not None:
            if (multiplier.every is None) == (multiplier.from_ is None):
                yield ProgramError(at, "must have exactly one of every and from")
            yield from names.check("streak", multiplier.streak, f"{at}.streak")


def _achievement(names: Names, name: str, achievement: Any) -> Iterator[ProgramError]:
    path = f"achievements.{name}"
    for index, requirement in enumerate(achievement.requirements):
        yield from names.requirement(requirement, f"{path}.requirements[{index}]")
        if requirement.achievement == name:
            yield ProgramError(f"{path}.requirements[{index}].achievement", "an achievement cannot require itself")
    first = achievement.requirements[0]
    if achievement.tiers:
        thresholds = [tier.threshold for tier in achievement.tiers]
        if len(achievement.requirements) != 1 or first.operator not in ("gte", "gt"):
            yield ProgramError(f"{path}.tiers", "tiers climb on exactly one requirement with gte or gt")
        if thresholds != sorted(set(thresholds)):
            yield ProgramError(f"{path}.tiers", "thresholds must rise from tier to tier")
        if achievement.repeatable or achievement.rewards:
            yield ProgramError(path, "with tiers, rewards belong to the tiers, and repeatable has no meaning")
    if achievement.repeatable and (
        len(achievement.requirements) != 1
        or first.operator != "gte"
        or first.threshold <= 0
        or not (first.metric or first.progress)
        or first.timeframe is not None
    ):
        text = "repeats on exactly one metric or progress, with gte, a threshold above 0 and no timeframe"
        yield ProgramError(f"{path}.repeatable", text)
    yield from names.rewards(achievement.rewards, f"{path}.rewards")
    for number, tier in enumerate(achievement.tiers):
        yield from names.rewards(tier.rewards, f"{path}.tiers[{number}].rewards")


def _timeframe(names: Names, path: str, metric: str | None, span: Span) -> Iterator[ProgramError]:
    found = names.program.metrics.get(metric or "")
    if metric is None or (found is not None and found.kind not in ("count", "sum")):
        yield ProgramError(path, "only a metric of kind count or sum is looked at through a timeframe")
    if span.duration > WINDOW_BUCKETS_MAX:
        yield ProgramError(f"{path}.duration", f"is above {WINDOW_BUCKETS_MAX} {span.unit}; use a larger unit")


def _board(names: Names, program: ProgramDocument, name: str, board: Any) -> Iterator[ProgramError]:
    path = f"boards.{name}"
    if (board.currency is None) == (board.metric is None):
        yield ProgramError(path, "must rank exactly one currency or metric")
        return
    if board.currency is not None:
        yield from names.check("currency", board.currency, f"{path}.currency")
        if board.decimals:
            yield ProgramError(f"{path}.decimals", "a currency is ranked in its smallest units")
        return
    yield from names.check("metric", board.metric, f"{path}.metric")
    metric = program.metrics.get(board.metric)
    if metric is not None and metric.kind in ("min", "last", "distinct") and board.periods != ("all-time",):
        yield ProgramError(f"{path}.periods", f"a metric of kind {metric.kind} has one period only: [all-time]")
