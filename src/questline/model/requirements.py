"""Requirements: thresholds that achievements and quests set."""

from questline.model.definition import Definition, Operator
from questline.model.items import Span

REQUIREMENT_KINDS = ("metric", "level", "streak", "achievement", "quest", "currency", "progress")


class Requirement(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What is looked at, and a threshold.

    Exactly one of metric (of all time, or of a rolling timeframe), level (a track), streak (its longest), achievement (its
    tier), quest (how often it was completed), currency (its balance), and progress (what the customer reports of an
    achievement, this one as a rule).
    """

    metric: str | None = None
    level: str | None = None
    streak: str | None = None
    achievement: str | None = None
    quest: str | None = None
    currency: str | None = None
    progress: str | None = None
    operator: Operator = "gte"
    threshold: float | int = 1
    timeframe: Span | None = None

    @property
    def source(self) -> tuple[str, str]:
        """What is looked at: (kind, name)."""
        for kind in REQUIREMENT_KINDS:
            if (name := getattr(self, kind)) is not None:
                return kind, name
        raise ValueError("a requirement names nothing")
