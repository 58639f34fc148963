"""Leagues: points of the week, ranks in a cohort, and who is promoted or demoted."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from questline.engine.blocks import is_off_boards, touch_standing
from questline.engine.boards import metric_points
from questline.engine.contests import RANK_REWARDS, RANKED, ranked_references, rewards_at, rewards_references
from questline.engine.forms import SPAN, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.engine.refusal import Refusal
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.contests import League, LeagueStanding, LeagueTier
from questline.model.decision import BoardMode, LeaguePoints
from questline.model.event import COMPENSATE, LEAGUE_RESULT, SEASON_RESULT, Event
from questline.model.limits import LEAGUE_COHORT_MAX, LEAGUE_TIERS_MAX, LEAGUES_MAX
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_COUNT = {"type": "integer", "minimum": 0, "maximum": LEAGUE_COHORT_MAX}
_TIER = object_of({"title": TEXT, "promote": _COUNT, "demote": _COUNT, "rewards": RANK_REWARDS})
SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            **RANKED,
            "tiers": {"type": "array", "items": _TIER, "minItems": 1, "maxItems": LEAGUE_TIERS_MAX},
            "cohorts": object_of(
                {
                    "size": {"type": "integer", "minimum": 2, "maximum": LEAGUE_COHORT_MAX},
                    "zone": {"enum": ["project", "user"]},
                }
            ),
            "promote": _COUNT,
            "demote": _COUNT,
            "settle": SPAN,
        },
        ("tiers",),
    ),
    LEAGUES_MAX,
)
_DEADLINES_KEPT = 4_096
# What a contest's end gives is no play: it seats nobody and is no head start into the next week.
_RESULTS = frozenset({LEAGUE_RESULT, SEASON_RESULT, COMPENSATE})  # weeks stay as they were played


class Outcome(StrEnum):
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    STAYED = "stayed"


class Member(msgspec.Struct, frozen=True, gc=False):
    """A user of a cohort with what they scored."""

    user_id: int
    score: int
    reached_at: datetime


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a week leaves a user; `tier` is that of their next week."""

    user_id: int
    rank: int
    score: int
    outcome: Outcome
    tier: int


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit in the leagues."""
    for name, league in program.leagues.items():
        path = f"leagues.{name}"
        yield from ranked_references(names, program, path, league)
        for index, tier in enumerate(league.tiers):
            at = f"{path}.tiers[{index}]"
            promote, demote = counts_of(league, index + 1)
            if promote + demote > league.cohorts.size:
                yield ProgramError(
                    at, f"promotes {promote} and demotes {demote} of cohorts of {league.cohorts.size} users"
                )
            yield from rewards_references(names, f"{at}.rewards", tier.rewards)


def tier_of(league: League, tier: int) -> LeagueTier:
    """Return a tier by its number; one above the highest is the highest."""
    return league.tiers[min(tier, len(league.tiers)) - 1]


def counts_of(league: League, tier: int) -> tuple[int, int]:
    """Return how many places are promoted and demoted: none up from the highest tier, none down from the lowest."""
    own = tier_of(league, tier)
    promote = league.promote if own.promote is None else own.promote
    demote = league.demote if own.demote is None else own.demote
    return promote if tier < len(league.tiers) else 0, demote if tier > 1 else 0


def ranked(ties: str, members: Iterable[Member]) -> list[tuple[int, Member]]:
    """Return (rank, member) in rank order: score, then who reached it first, then who came first, as on boards."""
    ordered = sorted(members, key=lambda m: (-m.score, m.reached_at, m.user_id))
    found: list[tuple[int, Member]] = []
    for place, member in enumerate(ordered, 1):
        if ties == "first" or not found or member.score != found[-1][1].score:
            rank = found[-1][0] + 1 if ties == "dense" and found else place
        else:
            rank = found[-1][0]
        found.append((rank, member))
    return found


def outcome_of(league: League, tier: int, rank: int, last: int) -> Outcome:
    """Return what a rank comes to. `last` is the number of ranks there are: users, or with dense ties different scores.

    The first `promote` ranks go up and the last `demote` ranks go down; users who share a rank go together. In a cohort so
    small that the two overlap, up wins.
    """
    promote, demote = counts_of(league, tier)
    if rank <= promote:
        return Outcome.PROMOTED
    return Outcome.DEMOTED if rank > last - demote else Outcome.STAYED


def last_rank(ties: str, places: Sequence[tuple[int, Member]]) -> int:
    """Return how many ranks a cohort has."""
    return (places[-1][0] if ties == "dense" else len(places)) if places else 0


def settle(league: League, tier: int, members: Iterable[Member]) -> list[Place]:
    """Return the places of a cohort of a tier, in rank order."""
    places = ranked(league.ties, members)
    last, top = last_rank(league.ties, places), len(league.tiers)
    found = []
    for rank, member in places:
        outcome = outcome_of(league, tier, rank, last)
        step = {Outcome.PROMOTED: 1, Outcome.DEMOTED: -1, Outcome.STAYED: 0}[outcome]
        found.append(Place(member.user_id, rank, member.score, outcome, min(max(tier + step, 1), top)))
    return found


class LeagueScores:
    """The leagues of a program, by what they rank."""

    def __init__(self, leagues: Mapping[str, League], timezone: str) -> None:
        self.by_currency: dict[str, list[tuple[str, League]]] = defaultdict(list)
        self.by_metric: dict[str, list[tuple[str, League]]] = defaultdict(list)
        for name, league in leagues.items():
            scores = self.by_metric if league.currency is None else self.by_currency
            scores[league.ranks].append((name, league))
        self._timezone = timezone
        self._deadlines: dict[tuple[int, str, int], datetime] = {}

    def week_of(self, league: League, at: datetime, user_zone: tzinfo) -> tuple[int, str, datetime]:
        """Return (week, zone, closes at) of an instant: whose Monday it is, and until when events of the week are taken."""
        zone = user_zone if league.cohorts.zone == "user" else calendar.zone(self._timezone)
        settle = 0 if league.settle is None else league.settle.seconds
        week, name = calendar.period_number("week", at, zone), str(zone)
        key = (week, name, settle)
        found = self._deadlines.get(key)
        if found is None:
            if len(self._deadlines) >= _DEADLINES_KEPT:
                self._deadlines.clear()
            found = self._deadlines[key] = calendar.week_start(week + 1, zone) + timedelta(seconds=settle)
        return week, name, found


def add_league_points(draft: "Draft", scores: LeagueScores) -> None:
    """Add the points of what the draft earned and counted; an event that came after its week had closed adds none."""
    if draft.event.type in _RESULTS:
        return
    for currency, amount in draft.earned.items():
        for name, league in scores.by_currency.get(currency, ()):
            _add(draft, scores, name, league, BoardMode.ADD, amount)
    if not scores.by_metric:
        return
    for metric in {**draft.metrics, **draft.operands}:
        for name, league in scores.by_metric.get(metric, ()):
            change = metric_points(draft, metric, league.decimals, whole=False)
            if change is not None:
                _add(draft, scores, name, league, *change)


def _add(
    draft: "Draft", scores: LeagueScores, name: str, league: League, mode: BoardMode, points: int, rest: int = 0
) -> None:
    event = draft.event
    week, zone, closes_at = scores.week_of(league, event.occurred_at, draft.zone)
    if (event.received_at or event.occurred_at) >= closes_at:
        return
    draft.league_points.append(
        LeaguePoints(
            name, week, zone, closes_at, league.cohorts.size, len(league.tiers), mode, points, event.occurred_at, rest
        )
    )


def touch(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what the weeks of leagues give, and to whom."""
    touch_standing(touched)
    for league in document.leagues.values():
        for tier in league.tiers:
            for one in tier.rewards:
                touched.rewards(one.rewards)


def keys(event: Event, _: tzinfo) -> tuple[RecordKey, ...]:
    """Return the standing that a result is about."""
    return ((RecordKind.LEAGUE, str(event.payload.get("league"))),)


def end_week(draft: "Draft") -> None:
    """`$league_result` {league, week, cohort, members, rank, score, outcome, before, after}: note the standing, and give.

    `before` is the tier that was played in and `after` that of the next week. `score` is for the record. Who was blocked since
    the week was settled stands as it says; nothing is given to who is off the boards.
    """
    payload = draft.event.payload
    name, rank, outcome = payload["league"], payload["rank"], Outcome(payload["outcome"])
    league = draft.program.document.leagues.get(name)
    if league is None:
        raise Refusal(Reason.INVALID_COMMAND, f"league: the program has no league {name!r} any more")
    standing = LeagueStanding(payload["after"], payload["week"], rank, outcome.value)
    cause = f"league:{name}:{payload['week']}"
    draft.put(RecordKind.LEAGUE, name, standing, cause)
    draft.notice(f"league.{outcome.value}", **payload)
    if not is_off_boards(draft):
        give(draft, rewards_at(tier_of(league, payload["before"]).rewards, rank), 1, f"{cause}:{rank}")
