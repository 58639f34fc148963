"""A program compiled: plain closures, indexed by event type, so an event pays for what its own type concerns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any, Generic, TypeVar

import msgspec

from questline.engine import achievements, metrics, progress, rules, runs, windows
from questline.engine.boards import NamedBoards, PeriodKeys
from questline.engine.boosts import Boosts
from questline.engine.commands import COMMANDS, Command, Keys
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.fields import MISSING, PayloadGet, payload_field
from questline.engine.footprints import Touched, readers_of
from questline.engine.gains import compile_gains
from questline.engine.leagues import LeagueScores
from questline.engine.levels import Curve
from questline.engine.seasons import SeasonScores
from questline.engine.trades import trades_of
from questline.engine.validate import ProgramInvalid, validate
from questline.model import calendar
from questline.model.event import SYSTEM_PREFIX, Event
from questline.model.footprint import Footprint
from questline.model.program import Board, Metric, ProgramDocument, Rule, Streak, parse, string_keys, types_of
from questline.model.records import RecordKey

Step = Callable[[Draft], None]
D = TypeVar("D", Metric, Streak, Rule)
_ANY = "*"


class Plan(msgspec.Struct, frozen=True):
    """What one event type sets off, in order: the command it is, metrics, streaks, rules, then sales and referrals."""

    steps: tuple[Step, ...]
    footprint: Footprint
    limited_rules: tuple[tuple[str, Rule], ...]
    distinct_metrics: tuple[tuple[str, PayloadGet], ...]
    command: Command | None = None
    keys: tuple[Keys, ...] = ()


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
        self.gains = {name: compile_gains(c.gains) for name, c in document.currencies.items() if c.gains}
        self.vitals = document.vitals
        self.vital_gains = {name: compile_gains(v.gains) for name, v in document.vitals.items() if v.gains}
        self.items = document.items
        self.inventory = document.inventory
        self.segments = {name: compile_condition(segment.when) for name, segment in document.segments.items()}
        self.boosts = Boosts(document.boosts, document.boosting) if document.boosts else None
        self.tiers = document.tiers
        self.tiers_by_currency = _tiers_by_currency(document)
        self.season_scores = SeasonScores(document.seasons, self.zone) if document.seasons else None
        self.league_scores = LeagueScores(document.leagues, self.timezone) if document.leagues else None
        self.unlockers = _unlockers(document)
        self.windows = windows.spans_of(document)
        self.reported = progress.reported(document)
        self._metrics = Listeners(document.metrics, metrics.compile_metric)
        self._streaks = Listeners(document.streaks, runs.compile_streak)
        enabled = {name: rule for name, rule in document.rules.items() if rule.enabled}
        self._rules = Listeners(enabled, rules.compile_rule)
        self._readers = readers_of(document)
        self._trades = trades_of(document)
        self._types = frozenset(
            {*COMMANDS, *self._metrics.types, *self._streaks.types, *self._rules.types, *self._trades}
        )
        self.commission_tests = {
            name: [compile_condition(plan.when) if plan.when else None for plan in commission.plans]
            for name, commission in document.commissions.items()
        }
        self._plans: dict[str, Plan] = {}
        self._other = self._plan(None)
        self._system = Plan((), Footprint(), (), ())

    def plan(self, event_type: str) -> Plan:
        """Return what an event of a type sets off; it is put together when the type first comes, from parts compiled."""
        found = self._plans.get(event_type)
        if found is not None:
            return found
        if event_type in self._types:
            found = self._plans[event_type] = self._plan(event_type)
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

    def record_keys(self, event: Event, zone: tzinfo) -> Iterable[RecordKey]:
        """Return the records that the event itself names, beside those of its footprint."""
        return (key for keys in self.plan(event.type).keys for key in keys(event, zone))

    def names_records(self, event_type: str) -> bool:
        """Tell whether events of a type name records."""
        return bool(self.plan(event_type).keys)

    def distinct_keys(self, event: Event) -> list[tuple[str, bytes]]:
        """Return (metric, value hash) for each `distinct` metric of the event's type."""
        found = []
        for name, get in self.plan(event.type).distinct_metrics:
            value = get(event)
            if value is not MISSING and value is not None:
                found.append((name, metrics.value_hash(value)))
        return found

    def _plan(self, event_type: str | None) -> Plan:
        document = self.document
        touched = Touched(document, self._readers, self.windows)
        own_metrics, own_streaks = self._metrics.of(event_type), self._streaks.of(event_type)
        own_rules = self._rules.of(event_type)
        for name, metric, _ in own_metrics:
            touched.metric(name)
            touched.condition(metric.when)
        for name, streak, _ in own_streaks:
            touched.streak(name, streak)
        for name, rule, _ in own_rules:
            touched.rule(name, rule)
        command = COMMANDS.get(event_type or "")
        if command is not None:
            command.touch(touched, document)
        limited = tuple((n, r) for n, r, _ in own_rules if r.limit)
        distinct = tuple((n, payload_field(m.field)) for n, m, _ in own_metrics if m.kind == "distinct")
        steps = [step for own in (own_metrics, own_streaks, own_rules) for _, _, step in own]
        keys = [command.keys] if command is not None and command.keys is not None else []
        for trade in self._trades.get(event_type or "", ()):
            steps.append(trade.step)
            trade.touch(touched)
            if trade.keys is not None:
                keys.append(trade.keys)
        touched.follow()
        return Plan(
            tuple(steps),
            touched.footprint((n for n, _ in limited), (n for n, _ in distinct)),
            limited,
            distinct,
            command,
            tuple(keys),
        )


class Listeners(Generic[D]):
    """Definitions of one kind with their compiled steps, found by the event types they listen to."""

    def __init__(self, definitions: Mapping[str, D], compile_one: Callable[[str, D], Step]) -> None:
        self._all: list[tuple[str, D, Step]] = [
            (name, one, compile_one(name, one)) for name, one in definitions.items()
        ]
        self._by_type: dict[str, list[int]] = defaultdict(list)
        for place, (_, definition, _) in enumerate(self._all):
            for type_ in types_of(definition.on):
                self._by_type[type_].append(place)
        self.types = frozenset(self._by_type) - {_ANY}

    def of(self, event_type: str | None) -> list[tuple[str, D, Step]]:
        """Return (name, definition, step) of those a type concerns, in the document's order; None: a type nobody names."""
        places = set(self._by_type.get(event_type, ())) if event_type is not None else set()
        if event_type is None or not event_type.startswith(SYSTEM_PREFIX):
            places.update(self._by_type.get(_ANY, ()))
        return [self._all[place] for place in sorted(places)]


def compile_program(document: Mapping[str, Any], version: int, default_timezone: str = "UTC") -> Program:
    """Return the compiled program; raises ProgramInvalid with every error of the document."""
    document = string_keys(document)
    errors = validate(document)
    if errors:
        raise ProgramInvalid(errors)
    return Program(parse(document), version, default_timezone)


def _tiers_by_currency(document: ProgramDocument) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, tiers in document.tiers.items():
        found[tiers.currency].append(name)
    return dict(found)


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
        for source in {requirement.source: None for requirement in achievement.requirements}:
            found[source].append((name, step))
    return dict(found)
