"""A program compiled: plain closures, indexed by event type, so an event pays for what its own type concerns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from questline.engine import achievements, metrics, rules, runs
from questline.engine.boards import NamedBoards, PeriodKeys
from questline.engine.draft import Draft
from questline.engine.fields import MISSING
from questline.engine.footprints import Touched
from questline.engine.levels import Curve
from questline.engine.validate import ProgramInvalid, validate
from questline.model import calendar
from questline.model.event import PROFILE_UPDATE, SPEND, SYSTEM_PREFIX, Event
from questline.model.footprint import Footprint
from questline.model.program import Board, ProgramDocument, Rule, parse, string_keys, types_of

Step = Callable[[Draft], None]
_ANY = "*"


class Plan(msgspec.Struct, frozen=True):
    """What one event type sets off, in order: metrics, then streaks, then rules."""

    steps: tuple[Step, ...]
    footprint: Footprint
    limited_rules: tuple[tuple[str, Rule], ...]
    distinct_metrics: tuple[tuple[str, str], ...]  # (metric, field)


class Program:
    """One version of a project's rules, ready to decide events."""

    def __init__(self, document: ProgramDocument, version: int, default_timezone: str) -> None:
        self.version = version
        self.document = document
        self.default_timezone = default_timezone
        self.timezone = document.timezone or default_timezone
        self.zone: tzinfo = calendar.zone(self.timezone)
        self.period_keys = PeriodKeys(self.zone)
        self.currencies = document.currencies
        self.metrics = document.metrics
        self.streaks = document.streaks
        self.achievements = document.achievements
        self.boards = document.boards
        self.rules_by_name = document.rules
        self.curves = {name: Curve(c.levels) for name, c in document.currencies.items() if c.levels}
        self.boards_by_currency = _boards_by(document.boards, lambda board: board.currency)
        self.boards_by_metric = _boards_by(document.boards, lambda board: board.metric)
        self.unlockers = _unlockers(document)
        self._plans = {type_: self._plan(type_) for type_ in _types(document)}
        self._other = self._plan(None)
        self._system = Plan((), Footprint(), (), ())

    def plan(self, event_type: str) -> Plan:
        """Return what an event of a type sets off."""
        found = self._plans.get(event_type)
        if found is not None:
            return found
        return self._system if event_type.startswith(SYSTEM_PREFIX) else self._other

    def footprint(self, event_type: str) -> Footprint:
        """Return the names of all that an event of a type can touch."""
        return self.plan(event_type).footprint

    def rule_windows(self, event: Event, zone: tzinfo) -> list[tuple[str, int]]:
        """Return (rule, window) for each limited rule of the event's type."""
        return [
            (name, calendar.period_number(rule.limit.per, event.occurred_at, zone))
            for name, rule in self.plan(event.type).limited_rules
            if rule.limit
        ]

    def distinct_keys(self, event: Event) -> list[tuple[str, bytes]]:
        """Return (metric, value hash) for each `distinct` metric of the event's type."""
        found = []
        for name, field in self.plan(event.type).distinct_metrics:
            value = metrics.payload_value(field, event)
            if value is not MISSING and value is not None:
                found.append((name, metrics.value_hash(value)))
        return found

    def _plan(self, event_type: str | None) -> Plan:
        document = self.document
        touched = Touched(document)
        own_metrics = {n: m for n, m in document.metrics.items() if _concerns(m.on, event_type)}
        own_streaks = {n: s for n, s in document.streaks.items() if _concerns(s.on, event_type)}
        own_rules = {n: r for n, r in document.rules.items() if r.enabled and _concerns(r.on, event_type)}
        for name, metric in own_metrics.items():
            touched.metrics.add(name)
            touched.condition(metric.when)
        for name, streak in own_streaks.items():
            touched.streak(name, streak)
        for rule in own_rules.values():
            touched.rule(rule)
        if event_type == SPEND:
            touched.currencies.update(n for n, c in document.currencies.items() if c.can_be_spent)
        if event_type == PROFILE_UPDATE:
            touched.streaks.update(document.streaks)
        touched.follow()
        limited = [(n, r) for n, r in own_rules.items() if r.limit]
        distinct = [(n, m.field) for n, m in own_metrics.items() if m.kind == "distinct"]
        steps: list[Step] = [metrics.compile_metric(n, m) for n, m in own_metrics.items()]
        steps += [runs.compile_streak(n, s) for n, s in own_streaks.items()]
        steps += [rules.compile_rule(n, r) for n, r in own_rules.items()]
        footprint = touched.footprint((n for n, _ in limited), (n for n, _ in distinct))
        return Plan(tuple(steps), footprint, tuple(limited), tuple(distinct))


def compile_program(document: Mapping[str, Any], version: int, default_timezone: str = "UTC") -> Program:
    """Return the compiled program; raises ProgramInvalid with every error of the document."""
    document = string_keys(document)
    errors = validate(document)
    if errors:
        raise ProgramInvalid(errors)
    return Program(parse(document), version, default_timezone)


def _concerns(on: str | tuple[str, ...], event_type: str | None) -> bool:
    types = types_of(on)
    if event_type is None:
        return _ANY in types
    return event_type in types or (_ANY in types and not event_type.startswith(SYSTEM_PREFIX))


def _types(document: ProgramDocument) -> set[str]:
    named: tuple[Any, ...] = (*document.metrics.values(), *document.streaks.values(), *document.rules.values())
    return {t for definition in named for t in types_of(definition.on) if t != _ANY} | {SPEND, PROFILE_UPDATE}


def _boards_by(boards: Mapping[str, Board], what: Callable[[Board], str | None]) -> dict[str, NamedBoards]:
    found: dict[str, list[tuple[str, Board]]] = defaultdict(list)
    for name, board in boards.items():
        if (ranked := what(board)) is not None:
            found[ranked].append((name, board))
    return dict(found)


def _unlockers(document: ProgramDocument) -> dict[tuple[str, str], list[tuple[str, achievements.Step]]]:
    """Return, by what they look at, the achievements that may unlock when it changes."""
    found: dict[tuple[str, str], list[tuple[str, achievements.Step]]] = defaultdict(list)
    for name, achievement in document.achievements.items():
        step = achievements.compile_achievement(name, achievement)
        for source in _sources(r.source for r in achievement.requirements):
            found[source].append((name, step))
    return dict(found)


def _sources(sources: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return set(sources)
