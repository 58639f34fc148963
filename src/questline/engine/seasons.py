"""Seasons: boards that count within a span of time, and what their end gives and takes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import msgspec

from questline.engine.blocks import is_off_boards, touch_standing
from questline.engine.boards import metric_points
from questline.engine.contests import RANK_REWARDS, RANKED, ranked_references, rewards_at, rewards_references
from questline.engine.forms import NAME, SPAN, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.engine.refusal import Refusal
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.contests import Season, SeasonBoard
from questline.model.decision import Account, BoardMode, BoardPoints
from questline.model.limits import SEASONS_MAX
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_TIME = {"type": "string", "minLength": 10, "maxLength": 40, "description": "2026-12-01 or 2026-12-01T09:00:00+01:00"}
SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "title": TEXT,
            "start": _TIME,
            "end": _TIME,
            "boards": map_of(object_of({**RANKED, "rewards": RANK_REWARDS}), 20),
            "reset": map_of({"enum": ["keep", "zero"]}, 100, NAME),
            "settle": SPAN,
        },
        ("start", "end"),
    ),
    SEASONS_MAX,
)


class SeasonScore(msgspec.Struct, frozen=True):
    """A board of a season as points are added to it; `name` is the one its periods are stored under."""

    name: str
    season: str
    start: datetime
    end: datetime
    board: SeasonBoard


class SeasonScores:
    """The boards of all seasons, by what they rank."""

    def __init__(self, seasons: Mapping[str, Season], zone: tzinfo) -> None:
        self.by_currency: dict[str, list[SeasonScore]] = defaultdict(list)
        self.by_metric: dict[str, list[SeasonScore]] = defaultdict(list)
        for name, season in seasons.items():
            start, end = span_of(season, zone)
            for board_name, board in season.boards.items():
                scores = self.by_metric if board.currency is None else self.by_currency
                scores[board.ranks].append(SeasonScore(stored_name(name, board_name), name, start, end, board))

    @property
    def names(self) -> set[str]:
        """The names that the boards are stored under."""
        ranking = (*self.by_currency.values(), *self.by_metric.values())
        return {score.name for scores in ranking for score in scores}


def stored_name(season: str, board: str) -> str:
    """Return the name that a season's board is stored under: its own, whatever other boards are called."""
    return f"{season}/{board}"


def span_of(season: Season, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return when a season begins and ends, in UTC, on the program's clocks; ValueError for what is no time."""
    return calendar.moment(season.start, zone), calendar.moment(season.end, zone)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit in the seasons."""
    try:
        zone = calendar.zone(program.timezone or "UTC")
    except calendar.UnknownZone:
        zone = calendar.zone("UTC")
    for name, season in program.seasons.items():
        path = f"seasons.{name}"
        yield from _name(name, path)
        moments = []
        for field in ("start", "end"):
            try:
                moments.append(calendar.moment(getattr(season, field), zone))
            except ValueError as error:
                yield ProgramError(f"{path}.{field}", str(error))
        if len(moments) == 2 and moments[0] >= moments[1]:
            yield ProgramError(f"{path}.end", "must come after start")
        for currency in season.reset:
            yield from names.check("currency", currency, f"{path}.reset.{currency}")
        for board_name, board in season.boards.items():
            at = f"{path}.boards.{board_name}"
            yield from ranked_references(names, program, at, board)
            yield from rewards_references(names, f"{at}.rewards", board.rewards)


def _name(name: str, path: str) -> Iterator[ProgramError]:
    try:
        calendar.period_of_key(name)
    except ValueError:
        return
    yield ProgramError(path, f"{name!r} is the key of a day, week, month or year of every board; choose another name")


def add_season_points(draft: "Draft", scores: SeasonScores) -> None:
    """Add the points of what the draft earned and counted to the boards of the seasons it happened in."""
    at = draft.event.occurred_at
    for currency, amount in draft.earned.items():
        for score in scores.by_currency.get(currency, ()):
            if score.start <= at < score.end:
                draft.points.append(BoardPoints(score.name, score.season, BoardMode.ADD, amount, at))
    if not scores.by_metric:
        return
    for metric in {**draft.metrics, **draft.operands}:
        for score in scores.by_metric.get(metric, ()):
            if score.start <= at < score.end:
                change = metric_points(draft, metric, score.board.decimals, whole=False)
                if change is not None:
                    mode, points, rest = change
                    draft.points.append(BoardPoints(score.name, score.season, mode, points, at, rest))


def touch(touched: "Touched", document: "ProgramDocument") -> None:
    """Add what the ends of seasons take and give, and whether the user has a place."""
    touch_standing(touched)
    for season in document.seasons.values():
        touched.currencies(name for name, policy in season.reset.items() if policy == "zero")
        for board in season.boards.values():
            for one in board.rewards:
                touched.rewards(one.rewards)


def end_season(draft: "Draft") -> None:
    """`$season_result` {season, places: [{board, rank, score}], reset: {currency: amount}}: take, then give.

    An amount to be reset is the balance as the season's end left it; what was earned since stays. It is taken from blocked
    users too, as from everybody. Places are for who stands on the boards.
    """
    payload = draft.event.payload
    name = payload["season"]
    season = draft.program.document.seasons.get(name)
    if season is None:
        raise Refusal(Reason.INVALID_COMMAND, f"season: the program has no season {name!r} any more")
    for currency, amount in payload["reset"].items():
        taken = min(amount, draft.balance(currency))
        if season.reset.get(currency) == "zero" and taken > 0:
            draft.debit(currency, taken, Account.BURN, f"season:{name}:reset")
            draft.notice("season.reset", season=name, currency=currency, amount=taken)
    for place in () if is_off_boards(draft) else payload["places"]:
        board, rank = place["board"], place["rank"]
        draft.notice("season.ended", season=name, board=board, rank=rank, score=place["score"])
        definition = season.boards.get(board)
        if definition is not None:
            give(draft, rewards_at(definition.rewards, rank), 1, f"season:{name}:{board}:{rank}")
