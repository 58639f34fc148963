"""A program compiled: plain closures, indexed by event type, so an event pays for what its own type concerns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import tzinfo
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from questline.engine import achievements, guards, metrics, progress, quests, rules, runs, windows
from questline.engine.boards import NamedBoards, PeriodKeys
from questline.engine.boosts import Boosts
from questline.engine.catalogue import compile_readers, marked_types
from questline.engine.commands import COMMANDS, UNKNOWN, Command, Keys
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.fields import MISSING, HasPayload, PayloadGet, attributes_read, payload_field
from questline.engine.footprints import Source, Touched, readers_of
from questline.engine.gains import compile_gains
from questline.engine.guard_kinds import value_key
from questline.engine.leagues import LeagueScores
from questline.engine.levels import Curve
from questline.engine.seasons import SeasonScores
from questline.engine.trades import paying_types, trades_of
from questline.engine.validate import ProgramInvalid, validate
from questline.model import calendar
from questline.model.event import SYSTEM_PREFIX, Event
from questline.model.footprint import Footprint
from questline.model.guards import SightingKey, Suspicion
from questline.model.program import Board, Metric, ProgramDocument, Rule, Streak, parse, string_keys, types_of
from questline.model.records import RecordKey, RecordKind
from questline.model.trust import TRUSTED_TYPES

Step = Callable[[Draft], None]
D = TypeVar("D")
S = TypeVar("S")
ValueKey = Callable[[HasPayload], bytes | None]
Unlocker = Callable[[Draft], bool]  # tells whether it did
_ANY = "*"


class Plan(msgspec.Struct, frozen=True):
    """What one event type sets off, in order: guards, its command, metrics, streaks, rules, quests, then sales and referrals."""

    steps: tuple[Step, ...]
    footprint: Footprint
    limited_rules: tuple[tuple[str, Rule], ...]
    distinct_metrics: tuple[tuple[str, PayloadGet], ...]
    command: Command | None = None
    keys: tuple[Keys, ...] = ()
    watches: tuple[guards.Watch, ...] = ()
    shared: tuple[tuple[str, ValueKey], ...] = ()  # guards that compare users, and what they tell values apart by
    follows: bool = True  # consequences are looked for
    when_blocked: tuple[Step, ...] = ()  # those of its steps that a blocked user's event takes as well


class Program:
    """One version of a project's rules, ready to decide events."""

    def __init__(
        self,
        document: ProgramDocument,
        version: int,
        default_timezone: str,
        trusted_types: frozenset[str] = frozenset(),
    ) -> None:
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
        self.rewards = document.rewards
        self.store = document.store
        self.unlock_steps = {n: achievements.compile_achievement(n, a) for n, a in document.achievements.items()}
        self.windows = windows.spans_of(document)
        self.reported = progress.reported(document)
        self.suspicion = document.suspicion or Suspicion()
        self.guards = document.guards
        watching = {name: guard for name, guard in document.guards.items() if guard.enabled}
        self._guards = Listeners(watching, guards.compile_guard, lambda guard: guard.listens)
        self._metrics = Listeners(document.metrics, metrics.compile_metric, _on)
        self._streaks = Listeners(document.streaks, runs.compile_streak, _on)
        enabled = {name: rule for name, rule in document.rules.items() if rule.enabled}
        self._rules = Listeners(enabled, rules.compile_rule, _on)
        self.quests = {name: quests.CompiledQuest(name, quest) for name, quest in document.quests.items()}
        listening = {name: quest for name, quest in self.quests.items() if quest.on}
        self._quests = Listeners(listening, lambda _, quest: quests.compile_listener(quest), lambda quest: quest.on)
        self._readers = readers_of(document)
        self.unlockers = self._unlockers()
        self._trades = trades_of(document)
        listeners = (self._guards, self._metrics, self._streaks, self._rules, self._quests)
        self._types = frozenset({*COMMANDS, *self._trades, *(type_ for one in listeners for type_ in one.types)})
        self.commission_tests = {
            name: [compile_condition(plan.when) if plan.when else None for plan in commission.plans]
            for name, commission in document.commissions.items()
        }
        self.marked_types = marked_types(document) | paying_types(document)
        self.trusted_types = self.marked_types | TRUSTED_TYPES | trusted_types
        self._payload_readers = compile_readers(document)
        self._plans: dict[str, Plan] = {}
        self._other = self._plan(None)
        self._system = Plan((), Footprint(), (), (), UNKNOWN)

    @property
    def known_types(self) -> frozenset[str]:
        """The event types that the program names: those of its catalogue, and those that something listens to."""
        own = (name for name in self._types if not name.startswith(SYSTEM_PREFIX))
        return frozenset(self.document.event_types).union(own)

    @cached_property
    def attributes_read(self) -> frozenset[str]:
        """The attributes of users that decide about anything in the program: servers alone set them."""
        return attributes_read(msgspec.to_builtins(self.document))

    def read(self, event: Event) -> str | None:
        """Bring an event's payload, in place, to the version that rules read; return what is wrong with it, if anything."""
        reader = self._payload_readers.get(event.type)
        return None if reader is None else reader(event.schema_version, event.payload)

    def as_read(self, event: Event) -> Event:
        """Return an event in the form that rules read, as far as upcasts bring it; the one given stays as it was sent."""
        if event.type not in self._payload_readers:
            return event
        read = msgspec.structs.replace(event, payload=deepcopy(event.payload))
        self.read(read)
        return read

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
        for keys in self.plan(event.type).keys:
            yield from keys(event, zone)
        if event.approval is not None:
            yield RecordKind.REVIEW, str(event.approval.event_id)

    def names_records(self, event: Event) -> bool:
        """Tell whether an event names records."""
        return event.approval is not None or bool(self.plan(event.type).keys)

    def sighting_keys(self, event: Event) -> list[SightingKey]:
        """Return (guard, value hash) for each guard that compares users by a value of the event."""
        return [(name, key) for name, key_of in self.plan(event.type).shared if (key := key_of(event)) is not None]

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
        own_rules, own_guards = self._rules.of(event_type), self._guards.of(event_type)
        touched.guards({name: guard for name, guard, _ in own_guards})
        own_quests = self._quests.of(event_type)
        for name, metric, _ in own_metrics:
            touched.metric(name)
            touched.condition(metric.when)
        for name, streak, _ in own_streaks:
            touched.streak(name, streak)
        for name, rule, _ in own_rules:
            touched.rule(name, rule)
        for name, _, _ in own_quests:
            touched.quest(name)
        command = COMMANDS.get(event_type or "")
        if command is not None:
            command.touch(touched, document)
        limited = tuple((n, r) for n, r, _ in own_rules if r.limit)
        distinct = tuple((n, payload_field(m.field)) for n, m, _ in own_metrics if m.kind == "distinct")
        if command is not None and command.distinct is not None:
            distinct += tuple(command.distinct(document))
        steps = [step for own in (own_metrics, own_streaks, own_rules, own_quests) for _, _, step in own]
        keys = [command.keys] if command is not None and command.keys is not None else []
        trades = self._trades.get(event_type or "", ())
        for trade in trades:
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
            tuple(one for _, _, one in own_guards),
            tuple((name, value_key(guard)) for name, guard, _ in own_guards if guard.is_shared),
            command is None or command.follows,
            tuple(trade.step for trade in trades if trade.when_blocked),
        )

    def _unlockers(self) -> dict[Source, list[tuple[Source, Unlocker]]]:
        """Return, by what they look at, the achievements and quests that may follow when it changes."""
        steps: dict[Source, Unlocker] = {("achievement", name): step for name, step in self.unlock_steps.items()}
        steps |= {("quest", name): quests.compile_settling(quest) for name, quest in self.quests.items()}
        return {source: [(what, steps[what]) for what in readers] for source, readers in self._readers.items()}


class Listeners(Generic[D, S]):
    """Definitions of one kind with what they are compiled to, found by the event types they listen to."""

    def __init__(
        self,
        definitions: Mapping[str, D],
        compile_one: Callable[[str, D], S],
        listens: Callable[[D], tuple[str, ...]],
    ) -> None:
        self._all: list[tuple[str, D, S]] = [(name, one, compile_one(name, one)) for name, one in definitions.items()]
        self._by_type: dict[str, list[int]] = defaultdict(list)
        for place, (_, definition, _) in enumerate(self._all):
            for type_ in listens(definition):
                self._by_type[type_].append(place)
        self.types = frozenset(self._by_type) - {_ANY}

    def of(self, event_type: str | None) -> list[tuple[str, D, S]]:
        """Return (name, definition, compiled) of those a type concerns, in the document's order; None: a type nobody names."""
        places = set(self._by_type.get(event_type, ())) if event_type is not None else set()
        if event_type is None or not event_type.startswith(SYSTEM_PREFIX):
            places.update(self._by_type.get(_ANY, ()))
        return [self._all[place] for place in sorted(places)]


def _on(definition: Metric | Streak | Rule) -> tuple[str, ...]:
    return types_of(definition.on)


def compile_program(
    document: Mapping[str, Any], version: int, default_timezone: str = "UTC", trusted_types: Iterable[str] = ()
) -> Program:
    """Return the compiled program; raises ProgramInvalid with every error of the document.

    `trusted_types` are event types that the project trusts servers alone with, beside those that the document marks.
    """
    document = string_keys(document)
    errors = validate(document)
    if errors:
        raise ProgramInvalid(errors)
    return Program(parse(document), version, default_timezone, frozenset(trusted_types))


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
