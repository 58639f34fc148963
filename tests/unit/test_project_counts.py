"""Events counted by project: the busiest have names, and no series falls."""

import pytest
from prometheus_client import CollectorRegistry

from questline.telemetry.projects import ProjectEvents

NAMES = {number: f"p{number}" for number in range(10)}


async def names(ids: list[int]) -> dict[int, str]:
    return {id_: NAMES[id_] for id_ in ids}


def shown(registry: CollectorRegistry) -> dict[str, float]:
    (family,) = registry.collect()
    return {s.labels["project"]: s.value for s in family.samples if s.labels["stage"] == "accepted"}


async def test_the_busiest_projects_have_names_and_the_rest_are_other() -> None:
    registry = CollectorRegistry()
    counts = ProjectEvents(registry, named_max=2)
    counts.add("accepted", [1] * 5 + [2] * 9 + [3] * 7)
    await counts.look(names)
    assert shown(registry) == {"p2": 9, "p3": 7, "other": 5}


async def test_a_project_that_gets_a_name_begins_at_what_it_does_from_then_on_so_other_never_falls() -> None:
    registry = CollectorRegistry()
    counts = ProjectEvents(registry, named_max=1)
    counts.add("accepted", [1] * 5 + [2] * 4)
    await counts.look(names)
    counts.add("accepted", [2] * 50)
    await counts.look(names)
    assert shown(registry) == {"p2": 50, "other": 4}


async def test_a_project_that_is_hardly_busier_takes_nobodys_name() -> None:
    registry = CollectorRegistry()
    counts = ProjectEvents(registry, named_max=1)
    for _ in range(4):
        counts.add("accepted", [1] * 10 + [2] * 11)
        await counts.look(names)
        counts.add("accepted", [1] * 11 + [2] * 10)
        await counts.look(names)
    assert set(shown(registry)) == {"p2", "other"}


async def test_a_name_that_cannot_be_found_costs_no_count() -> None:
    registry = CollectorRegistry()
    counts = ProjectEvents(registry, named_max=1)

    async def away(ids: list[int]) -> dict[int, str]:
        raise OSError("away")

    counts.add("accepted", [1] * 5)
    with pytest.raises(OSError, match="away"):
        await counts.look(away)
    assert shown(registry) == {"other": 5}
    counts.add("accepted", [1] * 5)
    await counts.look(names)
    assert shown(registry) == {"p1": 5, "other": 5}
