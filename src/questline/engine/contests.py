"""What seasons and leagues have in common: what they rank, and rewards for ranges of ranks."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from questline.engine.forms import NAME, REWARDS, TEXT, object_of
from questline.engine.program_error import ProgramError
from questline.model.contests import League, RankRewards, SeasonBoard
from questline.model.definition import Reward
from questline.model.limits import RANKS_MAX

if TYPE_CHECKING:
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_RANK = {"type": "integer", "minimum": 1, "maximum": RANKS_MAX}
RANK_REWARDS: dict[str, Any] = {
    "type": "array",
    "items": object_of({"from": _RANK, "to": _RANK, "rewards": REWARDS}, ("from", "rewards")),
    "maxItems": 100,
    "description": "What the ranks from `from` to `to` (left out: `from` alone) are given.",
}
RANKED: dict[str, Any] = {
    "currency": NAME,
    "metric": NAME,
    "decimals": {"type": "integer", "minimum": 0, "maximum": 9},
    "ties": {"enum": ["first", "dense", "competition"]},
    "title": TEXT,
}


def ranked_references(
    names: "Names", program: "ProgramDocument", path: str, ranking: SeasonBoard | League
) -> Iterator[ProgramError]:
    """Yield what does not fit in what a season's board or a league ranks."""
    if (ranking.currency is None) == (ranking.metric is None):
        yield ProgramError(path, "must rank exactly one currency or metric")
        return
    if ranking.currency is not None:
        yield from names.check("currency", ranking.currency, f"{path}.currency")
        if ranking.decimals:
            yield ProgramError(f"{path}.decimals", "a currency is ranked in its smallest units")
        return
    yield from names.check("metric", ranking.ranks, f"{path}.metric")
    metric = program.metrics.get(ranking.ranks)
    if metric is not None and metric.kind in ("min", "last", "distinct"):
        yield ProgramError(f"{path}.metric", f"a metric of kind {metric.kind} has no score of a span of time")


def rewards_references(names: "Names", path: str, ranges: Iterable[RankRewards]) -> Iterator[ProgramError]:
    """Yield what does not fit in the rewards of ranges of ranks."""
    ordered = sorted(ranges, key=lambda one: one.from_)
    for index, one in enumerate(ranges):
        if one.last < one.from_:
            yield ProgramError(f"{path}[{index}].to", f"must not be below from ({one.from_})")
        yield from names.rewards(one.rewards, f"{path}[{index}].rewards")
    for earlier, later in pairwise(ordered):
        if later.from_ <= earlier.last:
            yield ProgramError(path, f"rank {later.from_} lies in two ranges")


def rewards_at(ranges: Iterable[RankRewards], rank: int) -> tuple[Reward, ...]:
    """Return what a rank is given."""
    return next((one.rewards for one in ranges if one.from_ <= rank <= one.last), ())
