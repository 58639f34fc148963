"""A program played in memory: a table of events in, their effects and the final state out. No clock, no database."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from questline.engine.compile import compile_program
from questline.engine.decide import decide
from questline.engine.evolve import evolve
from questline.engine.referrals import KEY
from questline.engine.reviews import as_approved
from questline.model import calendar
from questline.model.contests import LeagueStanding
from questline.model.decision import POINT, Account, BoardMode, Decision, Outcome, Transfer
from questline.model.event import APPROVE, COMMISSION, Event
from questline.model.guards import BlockState, ReviewState, Sighting, SightingKey, SuspicionState
from questline.model.items import ItemState
from questline.model.quests import QuestState
from questline.model.records import UNTOLD, Record, RecordKind
from questline.model.redemptions import FulfilmentState
from questline.model.referrals import CodeOwner, ReferralState
from questline.model.rewards import AllowanceState, BadgeState, GrantState
from questline.model.state import UserState
from questline.model.stocks import StockState
from questline.model.vitals import VitalState
from questline.model.windows import ProgressState

Row = tuple[str | datetime, str, Mapping[str, Any]] | tuple[str | datetime, str, str, Mapping[str, Any]]

DEFAULT_USER = "ada"


class Played(msgspec.Struct, frozen=True):
    """One line of a played table: the event, what was decided, and the effects as texts (see `effects_of`)."""

    event: Event
    decision: Decision
    effects: tuple[str, ...]


class Scenario:
    """Users under one program. Events are decided in the order they are played, whatever their times are.

    `users` are the states so far, by user; `boards` are the scores, by (board, period, user); `codes` are referral codes, by
    code the user; `sent` are the system events that decisions sent, which are applied at once. `stocks` are what users
    share, such as `pool:NAME` with the coupon codes added. The time of a row is an aware datetime or an RFC 3339 text.
    Raises ProgramInvalid where the document has errors.
    """

    def __init__(self, document: Mapping[str, Any], *, timezone: str = "UTC") -> None:
        self.program = compile_program(document, 1, timezone)
        self.users: dict[str, UserState] = {}
        self.stocks: dict[str, StockState] = {}
        self.boards: dict[tuple[str, str, str], int] = {}
        self._rests: dict[tuple[str, str, str], int] = {}  # of sums of fractions, what their scores leave out
        self.codes: dict[str, str] = {}
        self.sent: list[Event] = []
        self._applied: dict[UUID, Decision] = {}
        self._sent: set[tuple[str, str]] = set()
        self._earners: dict[str, str] = {}  # of commissions, by the key they were sent under
        self._events: dict[str, Event] = {}
        self._sightings: dict[SightingKey, Sighting] = {}

    def user(self, user: str = DEFAULT_USER) -> UserState:
        """Return a user's state, made empty where there is none: to look at, or to set before playing."""
        state = self.users.get(user)
        if state is None:
            number = len(self.users) + 1
            state = self.users[user] = UserState(number, user, sightings=self._sightings, stocks=self.stocks)
        return state

    def play(self, rows: Iterable[Row]) -> list[Played]:
        """Play rows of (time, type, payload) or (time, user, type, payload), and return what each did.

        Raises ValueError for a payload that violates its schema.
        """
        played = []
        for row in rows:
            when, user, type_, payload = row if len(row) == 4 else (row[0], DEFAULT_USER, row[1], row[2])
            event = Event(UUID(int=len(self._applied) + 1), 1, type_, user, deepcopy(dict(payload)), _instant(when))
            if (violation := self.program.read(event)) is not None:
                raise ValueError(f"{type_}: {violation}; it would be a dead letter")
            decision = self.apply(event)
            played.append(Played(event, decision, effects_of(decision)))
        return played

    def apply(self, event: Event) -> Decision:
        """Decide an event and fold it into its user's state; one with an id applied before changes nothing again."""
        known = self._applied.get(event.id)
        if known is not None:
            return known
        state = self.user(event.user)
        self._events[str(event.id)] = event
        if event.type == APPROVE and (held := self._events.get(str(event.payload.get("event")))) is not None:
            event = as_approved(event, held)
        self._look_up(state, event)
        decision = self._applied[event.id] = decide(self.program, state, event)
        evolve(state, decision)
        for points in decision.board_points:
            key = (points.board, points.period, event.user)
            score = self.boards.get(key)
            if points.mode is BoardMode.ADD:
                carried, self._rests[key] = divmod(self._rests.get(key, 0) + points.rest, POINT)
                self.boards[key] = (score or 0) + points.points + carried
            elif score is None or points.mode is BoardMode.SET:
                self.boards[key] = points.points
            else:
                self.boards[key] = max(score, points.points)
        for sent in decision.follow_ups:
            user = sent.user or self._earners.get(sent.key)
            if user is not None and (sent.type, sent.key) not in self._sent:
                self._sent.add((sent.type, sent.key))
                if sent.type == COMMISSION:
                    self._earners[sent.key] = user
                id_ = UUID(int=(1 << 64) + len(self._sent))
                at = sent.at or event.occurred_at
                self.sent.append(Event(id_, 1, sent.type, user, sent.payload, at))
                self.apply(self.sent[-1])
        return decision

    def _look_up(self, state: UserState, event: Event) -> None:
        """Put what lies with other users where the engine finds it: whose a referral code is."""
        zone = calendar.zone_in_force(state.timezone, state.zone_history, event.occurred_at, self.program.timezone)
        for kind, name in self.program.record_keys(event, zone):
            if kind is RecordKind.REFERRAL_CODE and (owner := self.codes.get(name)) is not None:
                state.records[kind, name] = CodeOwner(self.user(owner).id, owner, self._ancestors(owner))

    def _ancestors(self, user: str) -> tuple[int, ...]:
        found: list[int] = []
        while (referral := self.user(user).records.get(KEY)) is not None:
            user = cast(ReferralState, referral).user
            found.append(self.user(user).id)
        return tuple(found)


def effects_of(decision: Decision) -> tuple[str, ...]:
    """Return what a decision did to the user as texts, for tables to compare.

    `coins +15 rule:hard-task`, `coins -5 command:spend`, `coins escrow→burn 5 store:mug` where neither account is the
    user's, `metric hard = 3`, `streak daily 3 → 4`, `level XP 1 → 2`, `unlock ten-hard tier 1 x1`, `vital energy 50 → 70`,
    `item coffee - → 1`, `progress course - → 3`, `quest tour - → IN_PROGRESS`, `refused INSUFFICIENT_BALANCE`, in this
    order; boards and profiles are left out. What guards said comes first: `hold burst`, `suspicion user 0 → 20`.
    """
    said = tuple(f"{trip.action} {trip.guard}" for trip in decision.trips)
    if decision.outcome is not Outcome.PROCESSED:
        return (*said, *_records(decision), f"{decision.outcome.value} {decision.reason.value}")
    return (
        *said,
        *(f"{t.currency} {_sign(t)}{t.amount} {t.rule}" for t in decision.transfers),
        *(f"metric {m.metric} = {m.state.value}" for m in decision.metrics),
        *_records(decision),
        *(f"streak {s.streak} {s.length_before} → {s.state.length}" for s in decision.streaks),
        *(f"level {c.track} {c.before} → {c.after}" for c in decision.levels),
        *(f"unlock {u.achievement} tier {u.state.tier} x{u.state.times}" for u in decision.unlocks),
    )


def _records(decision: Decision) -> tuple[str, ...]:
    told = (record for record in decision.records if record.kind not in UNTOLD)
    return tuple(f"{r.kind} {r.name} {_short(r.before)} → {_short(r.state)}" for r in told)


def _sign(transfer: Transfer) -> str:
    if transfer.credit == Account.USER:
        return "+"
    return "-" if transfer.debit == Account.USER else f"{transfer.debit}→{transfer.credit} "


def _short(record: Record | None) -> str:
    """A record in a word: a vital's value, an item's units, a quest's status and complete steps ..."""
    match record:
        case None:
            return "-"
        case VitalState():
            return str(record.value)
        case ProgressState():
            return f"{float(record.value):g}"
        case ItemState():
            return str(sum(lot.units for lot in record.lots))
        case LeagueStanding():
            return f"{record.tier} {record.outcome}"
        case SuspicionState():
            return str(record.score)
        case BlockState():
            return "blocked" if record.blocked else "free"
        case ReviewState():
            return record.status
        case BadgeState():
            return str(record.times)
        case AllowanceState():
            return str(record.units)
        case FulfilmentState():
            return f"{record.item} {record.status.value}"
        case GrantState():
            return f"{record.reward} {record.status.value}"
        case QuestState():
            return " ".join((record.status.value, *record.done))
        case _:
            return "set"


def _instant(when: str | datetime) -> datetime:
    at = datetime.fromisoformat(when) if isinstance(when, str) else when
    if at.tzinfo is None:
        raise ValueError(f"{when} has no offset; write 2026-01-05T12:00Z, or give an aware datetime")
    return at.astimezone(UTC)
