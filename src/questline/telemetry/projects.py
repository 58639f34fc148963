"""Events counted by project, under a bounded number of names."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from heapq import nlargest

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from questline.model.limits import PROJECTS_NAMED_MAX

NamesOf = Callable[[list[int]], Awaitable[dict[int, str]]]

METRIC = "questline_project_events_total"
LABELS = ("project", "stage")
STAGES = ("accepted", "applied")
OTHER = "other"
_HOLDS_ON = 2.0  # a project loses its name only to one that is so much busier, so that names do not come and go


class ProjectEvents(Collector):
    """Counts for one process. The projects that were busiest of late have names; all others are counted as `other`.

    Hot paths only add to a dictionary. Who has a name is settled by `look`, and only what is counted after that bears it:
    no series ever falls, unless it begins anew, which Prometheus takes for a restart.
    """

    def __init__(self, registry: CollectorRegistry, named_max: int = PROJECTS_NAMED_MAX) -> None:
        self._named_max = named_max
        self._fresh: dict[str, Counter[int]] = {stage: Counter() for stage in STAGES}
        self._pace: dict[int, float] = {}  # events of late: half of them are forgotten with each look
        self._names: dict[int, str] = {}
        self._totals: dict[str, Counter[str]] = {stage: Counter() for stage in STAGES}
        registry.register(self)

    def add(self, stage: str, project_ids: Iterable[int]) -> None:
        """Count one event for each of the ids."""
        self._fresh[stage].update(project_ids)

    async def look(self, names_of: NamesOf) -> None:
        """Count what came since the last look, and settle anew who has a name; a fault of `names_of` leaves as it was."""
        for counts in self._fresh.values():
            for id_, events in counts.items():
                self._pace[id_] = self._pace.get(id_, 0.0) + events
        wanted = nlargest(self._named_max, {*self._pace, *self._names}, key=self._standing)
        self._pace = {id_: pace / 2 for id_, pace in self._pace.items() if pace >= 1}
        unknown = [id_ for id_ in wanted if id_ not in self._names]
        try:
            known = self._names | (await names_of(unknown) if unknown else {})
            self._names = {id_: known[id_] for id_ in wanted if id_ in known}
        finally:
            self._fold()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the counts as of the last look."""
        (family,) = self.describe()
        for stage, totals in self._totals.items():
            for name in (*sorted(self._names.values()), OTHER):
                family.add_metric([name, stage], totals[name])
        yield family

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Return the metric without its counts."""
        yield CounterMetricFamily(
            METRIC, "Events by project, of the busiest ones by name and of the rest as `other`.", labels=LABELS
        )

    def _standing(self, id_: int) -> float:
        pace = self._pace.get(id_, 0.0)
        return pace * _HOLDS_ON + 0.5 if id_ in self._names else pace

    def _fold(self) -> None:
        fresh, self._fresh = self._fresh, {stage: Counter() for stage in STAGES}
        shown = {*self._names.values(), OTHER}
        for stage, counts in fresh.items():
            totals = self._totals[stage]
            for id_, events in counts.items():
                totals[self._names.get(id_, OTHER)] += events
            for name in totals.keys() - shown:
                del totals[name]
