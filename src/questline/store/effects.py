"""What a batch decided, gathered into columns and written in one statement with a part for each table."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.decision import Account, Decision, ProfileChange, StreakChange
from questline.model.event import WaitingEvent
from questline.model.guards import SightingChange
from questline.model.reasons import Reason
from questline.model.records import UNTOLD, Record, RecordKind
from questline.model.state import AchievementState, MetricState, UserState
from questline.model.stocks import CodeMove, CodeUse
from questline.store import coupons, deliveries, marks, records, sightings, stocks, users
from questline.store.round_trips import Writes
from questline.store.statements import statements

SQL = statements("effects")
_encode = msgspec.json.Encoder(decimal_format="number").encode
_DETAIL_CHARS_MAX = 1_000
_PLAIN = (int, str, bool, datetime, int | None, str | None, datetime | None)


class Balance(msgspec.Struct):
    """The sums of a batch's movements on one balance and on the debt beside it, and the level its user ends with."""

    delta: int = 0
    level: int = -1
    debt: int = 0


class Effects:
    """The columns of one transaction. Add every decision in order, then `write` once."""

    def __init__(self, known_balances: set[tuple[int, str]], at: datetime) -> None:
        """`known_balances` are the (user id, currency) that have a row; `at` is when the batch was applied."""
        self._known = known_balances
        self._at = at
        self._transfers: list[tuple[object, ...]] = []
        self._decisions: list[tuple[object, ...]] = []
        self._attempts: list[tuple[object, ...]] = []
        self._dead: list[tuple[object, ...]] = []
        self._balances: dict[tuple[int, int, str], Balance] = {}
        self._metrics: dict[tuple[int, int, str], MetricState] = {}
        self._metric_values: list[tuple[object, ...]] = []
        self._streaks: dict[tuple[int, int, str], list[StreakChange]] = {}
        self._rule_uses: dict[tuple[int, int, str, int], int] = {}
        self._achievements: dict[tuple[int, int, str], AchievementState] = {}
        self._profiles: dict[tuple[int, int], ProfileChange] = {}
        self._records: dict[tuple[RecordKind, int, int, str], Record] = {}
        self._notices: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[object, ...]] = []
        self._sightings: dict[sightings.ProjectKey, SightingChange] = {}
        self._stocks: dict[tuple[int, str], int] = {}
        self._codes: list[tuple[int, UUID, CodeMove]] = []

    def add(self, event: WaitingEvent, user: UserState, decision: Decision, duration_us: int) -> None:
        """Add what was decided of one event."""
        project_id, event_id, user_id = event.project_id, event.id, user.id
        reason = decision.reason.value
        message = decision.message or None
        status = decision.outcome.value
        self._attempts.append((project_id, event_id, event.attempt, status, reason, message, duration_us, self._at))
        self._decisions.append(
            (project_id, event_id, user_id, status, reason, decision.program_version, trace_of(decision, user))
        )
        if decision.transfers:
            self._add_transfers(event, user_id, decision)
        for level in decision.levels:
            self._balance(project_id, user_id, level.track).level = level.after
        for metric in decision.metrics:
            self._metrics[project_id, user_id, metric.metric] = metric.state
            if metric.seen_value is not None:
                self._metric_values.append((project_id, user_id, metric.metric, metric.seen_value))
        for streak in decision.streaks:
            self._streaks.setdefault((project_id, user_id, streak.streak), []).append(streak)
        for use in decision.rule_uses:
            self._rule_uses[project_id, user_id, use.rule, use.window_start] = use.uses
        for unlock in decision.unlocks:
            self._achievements[project_id, user_id, unlock.achievement] = unlock.state
        if decision.profile is not None:
            self._profiles[project_id, user_id] = decision.profile
        for record in decision.records:
            self._records[record.kind, project_id, user_id, record.name] = record.state
        for sighting in decision.sightings:
            self._sightings[project_id, sighting.guard, sighting.value_hash] = sighting
        for stock in decision.stocks:
            taken = self._stocks.get((project_id, stock.name), 0)
            self._stocks[project_id, stock.name] = taken + stock.units
        for code in decision.codes:
            self._codes.append((project_id, event_id, code))
        for ordinal, notice in enumerate(decision.notices):
            data = _encode(notice.data).decode()
            self._notices.append((project_id, event_id, ordinal, user_id, notice.type, data, event.occurred_at))
            if notice.type == deliveries.REDEEMED and notice.data["method"] == "webhook":
                self._deliveries.append(deliveries.row(event, user_id, notice.type, data))

    def add_dead_letter(self, event: WaitingEvent, reason: Reason, message: str, duration_us: int) -> None:
        """Add an event that gave up; it has no decision and no effect."""
        detail = message[:_DETAIL_CHARS_MAX].replace("\0", "�")
        project_id, number = event.project_id, event.attempt
        self._attempts.append((project_id, event.id, number, "failed", reason.value, detail, duration_us, self._at))
        self._dead.append((project_id, event.id, event.user_hash, reason.value, detail, number, self._at))

    async def write(self, conn: Connection) -> None:
        """Write everything in the caller's transaction; a violated constraint is asyncpg's error, unchanged."""
        writes = Writes()
        writes.add(SQL["add_attempts"], self._attempts)
        writes.add(SQL["add_decisions"], self._decisions)
        writes.add(SQL["add_dead_letters"], self._dead)
        writes.add(SQL["add_transfers"], self._transfers)
        self._write_balances(writes)
        writes.add(SQL["put_metrics"], [(*k, m.value, m.last_at) for k, m in self._metrics.items()])
        writes.add(SQL["add_metric_values"], self._metric_values)
        writes.add(SQL["put_streaks"], [_streak_row(k, changes) for k, changes in self._streaks.items()])
        writes.add(SQL["put_rule_uses"], [(*k, uses) for k, uses in self._rule_uses.items()])
        writes.add(
            SQL["put_achievements"],
            [
                (*k, a.tier, a.times, a.event_id, a.unlocked_at, marks.of_achievement(a))
                for k, a in self._achievements.items()
            ],
        )
        records.put(writes, self._records)
        sightings.put(writes, self._sightings, self._at)
        stocks.move(writes, self._stocks)
        writes.add(SQL["add_notices"], self._notices)
        deliveries.add(writes, self._deliveries)
        users.update_profiles(writes, self._profiles)
        await writes.send(conn)
        if self._codes:
            await coupons.write(conn, self._codes)

    def _add_transfers(self, event: WaitingEvent, user_id: int, decision: Decision) -> None:
        project_id, event_id, at, version = event.project_id, event.id, event.occurred_at, decision.program_version
        for ordinal, t in enumerate(decision.transfers):
            self._transfers.append(
                (project_id, event_id, ordinal, user_id, t.currency, t.debit, t.credit, t.amount, t.rule, version, at)
            )
            if t.credit == Account.USER:
                self._balance(project_id, user_id, t.currency).delta += t.amount
            if t.debit == Account.USER:
                self._balance(project_id, user_id, t.currency).delta -= t.amount
            if t.credit == Account.DEBT:
                self._balance(project_id, user_id, t.currency).debt -= t.amount
            elif t.debit == Account.DEBT:
                self._balance(project_id, user_id, t.currency).debt += t.amount

    def _balance(self, project_id: int, user_id: int, currency: str) -> Balance:
        key = (project_id, user_id, currency)
        found = self._balances.get(key)
        if found is None:
            found = self._balances[key] = Balance()
        return found

    def _write_balances(self, writes: Writes) -> None:
        known = self._known
        rows = [(*key, b.delta, b.level, b.debt) for key, b in self._balances.items()]
        writes.add(SQL["move_balances"], [row for row in rows if (row[1], row[2]) in known])
        writes.add(
            SQL["open_balances"],
            [(*row[:4], max(row[4], 0), row[5]) for row in rows if (row[1], row[2]) not in known],
        )


def trace_of(decision: Decision, user: UserState) -> str:
    """Return the JSON of what cannot be worked out again: rules fired, values read, changes that are no transfer.

    `user` is the state after the decision: the balances it ended with are kept, so that a repeated command is answered
    as the first was.
    """
    trace: dict[str, object] = {}
    if decision.message:
        trace["message"] = decision.message
    if decision.trips:
        trace["guards"] = [(t.guard, t.kind, t.action, t.values, t.score) for t in decision.trips]
    if decision.fired:
        trace["fired"] = decision.fired
    if decision.reads:
        trace["reads"] = decision.reads
    if decision.transfers:
        trace["balances"] = {t.currency: user.balances.get(t.currency, 0) for t in decision.transfers}
    if decision.levels:
        trace["levels"] = [(c.track, c.before, c.after) for c in decision.levels]
    if decision.streaks:
        trace["streaks"] = [
            (c.streak, c.length_before, c.state.length, c.longest_before, c.state.longest) for c in decision.streaks
        ]
    if decision.unlocks:
        trace["unlocks"] = [
            (u.achievement, u.tier_before, u.state.tier, u.times_before, u.state.times) for u in decision.unlocks
        ]
    told = [r for r in decision.records if r.kind not in UNTOLD]
    if told:
        trace["records"] = [(r.kind, r.name, shown(r.before), shown(r.state), r.cause) for r in told]
    if any(code.use is CodeUse.SHOW for code in decision.codes):
        trace["codes"] = True  # which ones, the coupons know
    if decision.metrics:
        trace["metrics"] = [
            (m.metric, m.state.value, m.cause) if m.cause else (m.metric, m.state.value) for m in decision.metrics
        ]
    return _encode(trace).decode() if trace else "{}"


def shown(record: Record | None) -> dict[str, object] | None:
    """Return a record as a trace, a history or an outcome shows it."""
    if record is None:
        return None
    names = _plain_fields(type(record))
    if names is not None:
        return {name: getattr(record, name) for name in names}
    hidden = _hidden(type(record))
    fields = msgspec.to_builtins(record, builtin_types=(datetime, Decimal))
    return {n: float(v) if isinstance(v, Decimal) else v for n, v in fields.items() if n not in hidden}


@cache
def _plain_fields(kind: type[Record]) -> tuple[str, ...] | None:
    """Return the names of a record's fields where its values are shown as they are; None where some must be converted."""
    told = [field for field in msgspec.structs.fields(kind) if field.name not in _hidden(kind)]
    return None if any(field.type not in _PLAIN for field in told) else tuple(field.name for field in told)


def _hidden(kind: type[Record]) -> tuple[str, ...]:
    """Return the fields that are not shown: the customer's words, which live in users and events only; the engine's notes."""
    hidden: tuple[str, ...] = getattr(kind, "hidden", ())
    return hidden


def _streak_row(key: tuple[int, int, str], changes: Sequence[StreakChange]) -> tuple[object, ...]:
    state = changes[-1].state
    active = _joined([c.added_active for c in changes])
    excused = _joined([c.added_excused for c in changes])
    return (
        *key, active, excused, state.run_start, state.last_period, state.length, state.longest, state.freeze_credit
    )  # fmt: skip


def _joined(multiranges: Sequence[str]) -> str:
    """Join multirange texts; PostgreSQL sorts and unites the ranges when it reads them."""
    if len(multiranges) == 1:
        return multiranges[0]
    return "{" + ",".join(inner for text in multiranges if (inner := text[1:-1])) + "}"
