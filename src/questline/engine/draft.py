"""A decision in the making: what the event changed so far, laid over the state it found."""

from datetime import tzinfo
from typing import TYPE_CHECKING, Any, cast

from questline.engine import achievements, quests, tiers, vitals, windows
from questline.engine.fields import View
from questline.engine.notices import guard_notices, notices_of
from questline.engine.refusal import Refusal
from questline.model import calendar
from questline.model.decision import (
    Account,
    BoardPoints,
    Decision,
    FollowUp,
    LeaguePoints,
    LevelChange,
    MetricChange,
    Outcome,
    ProfileChange,
    RuleUse,
    StreakChange,
    Transfer,
    Unlock,
)
from questline.model.event import Event
from questline.model.guards import SightingChange, SightingKey, Trip
from questline.model.items import Span
from questline.model.limits import AMOUNT_MAX, EFFECTS_PER_EVENT_MAX, FOLLOW_UPS_MAX
from questline.model.quests import QuestState
from questline.model.reasons import Reason
from questline.model.records import KEPT_UNAPPLIED, Notice, Record, RecordChange, RecordKey, RecordKind
from questline.model.state import AchievementState, MetricState, Number, StreakState, UserState
from questline.model.stocks import CodeMove, StockMove, StockState
from questline.model.tiers import TierState
from questline.model.windows import ProgressState, WindowState, window_name

if TYPE_CHECKING:
    from questline.engine.compile import Program

_USER = Account.USER.value
_DEBT = Account.DEBT.value


class Draft:
    """The state as this event has left it so far; the state it was made from is never written to."""

    __slots__ = (
        "_before", "_zone", "balances", "codes", "debts", "earned", "event", "fired", "follow_ups", "league_points", "levels",
        "looks_back", "message", "metrics", "notices", "operands", "points", "profile", "program", "quests", "records",
        "rule_uses", "sightings", "state", "stock_moves", "stocks", "streaks", "transfers", "trips", "unlocks", "view",
    )  # fmt: skip

    def __init__(self, program: "Program", state: UserState, event: Event) -> None:
        self.program = program
        self.state = state
        self.event = event
        self.balances: dict[str, int] = {}
        self.debts: dict[str, int] = {}
        self.earned: dict[str, int] = {}  # issued to the user, by currency
        self.levels: dict[str, LevelChange] = {}
        self.metrics: dict[str, MetricChange] = {}
        self.operands: dict[str, Number] = {}  # of `min` and `max` metrics, also where the event is not the best
        self.streaks: dict[str, StreakChange] = {}
        self.rule_uses: dict[tuple[str, int], RuleUse] = {}
        self.unlocks: dict[str, Unlock] = {}
        self.transfers: list[Transfer] = []
        self.records: dict[RecordKey, RecordChange] = {}
        self.stocks: dict[str, StockState] = {}
        self.stock_moves: list[StockMove] = []
        self.codes: list[CodeMove] = []
        self.quests: set[str] = set()  # those the event started or moved, or that a step under way listens to
        self.notices: list[Notice] = []
        self.follow_ups: list[FollowUp] = []
        self.points: list[BoardPoints] = []
        self.league_points: list[LeaguePoints] = []
        self.trips: list[Trip] = []  # what guards said
        self.sightings: dict[SightingKey, SightingChange] = {}
        self.fired: list[str] = []
        self.profile: ProfileChange | None = None
        self.message = ""  # what the sender should know of an event that was applied
        # A threshold may be reached in any window that is kept, not only in those of this event.
        self.looks_back = False
        self._zone: tzinfo | None = None
        self._before: Draft | None = None
        self.view = View(event, state.attributes, self, program.zone)

    def release(self) -> None:
        """Part from the view, which nobody needs any more and which holds the draft: it is the last thing that is done.

        Else each event would leave a ring of objects, with its user's whole state, to the garbage collector. Collecting
        those of a thousand events stopped a process for 40 ms.
        """
        del self.view
        if self._before is not None:
            del self._before.view

    @property
    def zone(self) -> tzinfo:
        """The user's zone when the event happened."""
        if self._zone is None:
            state = self.state
            self._zone = calendar.zone_in_force(
                state.timezone, state.zone_history, self.event.occurred_at, self.program.timezone
            )
        return self._zone

    def before(self) -> "Draft":
        """Return what this event has found, to read."""
        if self._before is None:
            self._before = Draft(self.program, self.state, self.event)
        return self._before

    # What conditions, multipliers and requirements read.

    def balance(self, currency: str) -> int:
        """The user's balance."""
        amount = self.balances.get(currency)
        return self.state.balances.get(currency, 0) if amount is None else amount

    def debt(self, currency: str) -> int:
        """What the user owes since a clawback; what is credited pays it off first."""
        amount = self.debts.get(currency)
        return self.state.debts.get(currency, 0) if amount is None else amount

    def level(self, track: str) -> int:
        """The level reached; a user without XP is at level 1."""
        change = self.levels.get(track)
        return change.after if change is not None else max(self.state.levels.get(track, 0), 1)

    def streak(self, streak: str) -> int:
        """The length of the latest run, this event included."""
        state = self.streak_state(streak)
        return state.length if state is not None else 0

    def longest_streak(self, streak: str) -> int:
        """The length of the longest run."""
        state = self.streak_state(streak)
        return state.longest if state is not None else 0

    def streak_state(self, streak: str) -> StreakState | None:
        """The streak's state; None when no event has counted yet."""
        change = self.streaks.get(streak)
        return self.state.streaks.get(streak) if change is None else change.state

    def metric(self, metric: str) -> Any:
        """The metric's value; None when no event has counted yet."""
        state = self.metric_state(metric)
        return None if state is None else state.value

    def metric_state(self, metric: str) -> MetricState | None:
        """The metric's state; None when no event has counted yet."""
        change = self.metrics.get(metric)
        return self.state.metrics.get(metric) if change is None else change.state

    def achievement_tier(self, achievement: str) -> int:
        """The highest tier unlocked; 0 while locked."""
        return achievements.tier_of(self.program.achievements[achievement], self.achievement_state(achievement))

    def window(self, metric: str, span: Span, *, most: bool) -> Number:
        """The metric's sum in the timeframe that ends with this event; with `most`, in the best one that holds it.

        A draft that looks back takes the best one that is kept.
        """
        state = cast(WindowState | None, self.record(RecordKind.WINDOW, window_name(metric, span)))
        if state is None:
            return 0
        number = calendar.bucket_number(span.unit, self.event.occurred_at, self.zone)
        total = windows.ending if not most else windows.best if self.looks_back else windows.most
        return total(state.buckets, number, span.duration)

    def progress(self, achievement: str) -> Number:
        """What the customer reported of the achievement."""
        state = cast(ProgressState | None, self.record(RecordKind.PROGRESS, achievement))
        return state.value if state is not None else 0

    def achievement_state(self, achievement: str) -> AchievementState | None:
        """The latest unlock; None while locked."""
        unlock = self.unlocks.get(achievement)
        return self.state.achievements.get(achievement) if unlock is None else unlock.state

    def quest(self, quest: str) -> str:
        """The quest's status at the event's time."""
        return quests.status_of(self, quest).value

    def quest_times(self, quest: str) -> int:
        """How often the quest was completed."""
        state = cast(QuestState | None, self.record(RecordKind.QUEST, quest))
        return state.times if state is not None else 0

    def vital(self, vital: str) -> int:
        """The vital's value at the event's time, what regenerated until then included."""
        return vitals.value_of(self, vital)

    def segment(self, segment: str) -> bool:
        """Whether the user is in the segment, this event's changes so far included."""
        return self.program.segments[segment](self.view)

    def tier(self, tier: str) -> str:
        """The name of the step the user stands on."""
        state = cast(TierState | None, self.record(RecordKind.TIER, tier))
        return tiers.step_name(self.program.tiers[tier], state)

    def record(self, kind: RecordKind, name: str) -> Record | None:
        """The record's state; None when there is none yet."""
        change = self.records.get((kind, name))
        return self.state.records.get((kind, name)) if change is None else change.state

    # What mechanics write.

    def put(self, kind: RecordKind, name: str, state: Record, cause: str) -> None:
        """Give a record its new state."""
        known = self.records.get((kind, name))
        if known is None and len(self.records) >= EFFECTS_PER_EVENT_MAX:
            raise Refusal(Reason.LIMIT_REACHED, f"one event may change {EFFECTS_PER_EVENT_MAX} records at the most")
        before = known.before if known is not None else self.state.records.get((kind, name))
        self.records[kind, name] = RecordChange(kind, name, state, before, cause)

    def notice(self, type_: str, **data: object) -> None:
        """Tell every outward channel a fact of this decision."""
        self.notices.append(Notice(type_, data))

    def send(self, user: str | None, type_: str, payload: dict[str, Any], key: str) -> None:
        """Send a system event to a user, as of this event's time; under its key it is sent once for ever.

        None: to whom the commission under this key went, which the shell looks up; to nobody where none did.
        """
        if len(self.follow_ups) >= FOLLOW_UPS_MAX:
            raise Refusal(Reason.LIMIT_REACHED, f"one event may send {FOLLOW_UPS_MAX} others at the most")
        self.follow_ups.append(FollowUp(user, type_, payload, key, self.event.occurred_at))

    def credit(self, currency: str, amount: int, rule: str) -> int:
        """Issue an amount > 0 to the user, times the currency's gains, and return what was issued.

        What the user owes is paid off at once. Raises Refusal beyond what the ledger holds.
        """
        gain = self.program.gains.get(currency)
        if gain is not None:
            amount = gain(self, amount)
            if not amount:
                return 0
        self._receive(currency, amount, Account.ISSUANCE, rule)
        self.earned[currency] = self.earned.get(currency, 0) + amount
        self._pay_debt(currency)
        return amount

    def debit(self, currency: str, amount: int, to: Account, rule: str) -> None:
        """Take an amount > 0 from the user; raises Refusal when there is less."""
        balance = self.balance(currency)
        if balance < amount:
            raise Refusal(Reason.INSUFFICIENT_BALANCE, f"the balance of {currency} is {balance}, less than {amount}")
        self.balances[currency] = balance - amount
        self._move(Transfer(currency, _USER, to.value, amount, rule))

    def pay_out(self, currency: str, amount: int, source: Account, rule: str) -> None:
        """Move an amount > 0 from a system account to the user: earned, and not multiplied by gains."""
        self.earned[currency] = self.earned.get(currency, 0) + amount
        self._receive(currency, amount, source, rule)
        self._pay_debt(currency)

    def refund(self, currency: str, amount: int, rule: str) -> None:
        """Give back an amount > 0 that waits in escrow: it was the user's, so it is not earned and pays no debt."""
        self._receive(currency, amount, Account.ESCROW, rule)

    def burn_escrow(self, currency: str, amount: int, rule: str) -> None:
        """Let an amount > 0 that waits in escrow leave for good."""
        self._move(Transfer(currency, Account.ESCROW.value, Account.BURN.value, amount, rule))

    def claw_back(self, currency: str, amount: int, to: Account, rule: str) -> None:
        """Take an amount > 0 back to where it came from; what the user no longer has becomes their debt."""
        held = min(self.balance(currency), amount)
        if held:
            self.debit(currency, held, to, rule)
        if amount > held:
            self.debts[currency] = self.debt(currency) + amount - held
            self._move(Transfer(currency, _DEBT, to.value, amount - held, rule))

    def _receive(self, currency: str, amount: int, source: Account, rule: str) -> None:
        balance = self.balance(currency) + amount
        if balance > AMOUNT_MAX:
            raise Refusal(Reason.OVERFLOW, f"{rule} would bring {currency} above {AMOUNT_MAX}")
        self.balances[currency] = balance
        self._move(Transfer(currency, source.value, _USER, amount, rule))

    def _pay_debt(self, currency: str) -> None:
        if not self.debts and not self.state.debts:
            return
        paid = min(self.debt(currency), self.balance(currency))
        if paid:
            self.debts[currency] = self.debt(currency) - paid
            self.debit(currency, paid, Account.DEBT, "debt")

    def _move(self, transfer: Transfer) -> None:
        if len(self.transfers) >= EFFECTS_PER_EVENT_MAX:
            raise Refusal(Reason.LIMIT_REACHED, f"one event may cause {EFFECTS_PER_EVENT_MAX} transfers at the most")
        self.transfers.append(transfer)

    def decision(self) -> Decision:
        """Return the decision this draft has come to."""
        return Decision(
            self.event.id,
            self.program.version,
            Outcome.PROCESSED,
            Reason.PROCESSED,
            self.message,
            tuple(self.fired),
            self.view.reads,
            tuple(self.transfers),
            tuple(self.levels.values()),
            tuple(self.metrics.values()),
            tuple(self.streaks.values()),
            tuple(self.rule_uses.values()),
            tuple(self.unlocks.values()),
            tuple(self.points),
            self.profile,
            tuple(self.records.values()),
            (*notices_of(self), *self.notices) if self.levels or self.unlocks or self.trips else tuple(self.notices),
            tuple(self.follow_ups),
            tuple(self.league_points),
            tuple(self.trips),
            tuple(self.sightings.values()),
            tuple(self.stock_moves),
            tuple(self.codes),
        )

    def refused(self, refusal: Refusal) -> Decision:
        """Return the refusal as a decision: no effects, but what was read on the way, and what guards make of it."""
        kept = KEPT_UNAPPLIED if refusal.outcome is Outcome.REFUSED else KEPT_UNAPPLIED | {RecordKind.REVIEW}
        return Decision(
            self.event.id,
            self.program.version,
            refusal.outcome,
            refusal.reason,
            refusal.message,
            (),
            self.view.reads,
            records=tuple(change for change in self.records.values() if change.kind in kept),
            notices=tuple(guard_notices(self)),
            trips=tuple(self.trips),
        )
