"""What processes tell Prometheus, after known traffic."""

import asyncio
from typing import Any

from conftest_api import PROGRAM, Instance, until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from questline.assembly import build_worker, now
from questline.cli.reference import metrics_of
from questline.processing.backlog import Backlog
from questline.processing.meters import BacklogMeters
from questline.processing.rankings import Rankings
from questline.telemetry.projects import ProjectEvents


def samples(text: str) -> dict[str, float]:
    """Return the samples of an exposition by name and labels, such as `a_total{b=c}`."""
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


async def told(questline: Instance) -> dict[str, float]:
    return samples((await questline.http.get("/metrics")).text)


async def test_accepted_events_and_duplicates_are_counted_by_what_found_them(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    before = await told(questline)
    twice = {"type": "task", "userId": "ada", "eventId": "one"}
    await app.post("/v1/events/batch", json=[twice, twice, {"type": "task", "userId": "bob", "eventId": "two"}])
    await app.post("/v1/events", json=twice)
    await app.post("/v1/events", json=twice, headers={"Prefer": "wait=9"})
    after = await told(questline)
    risen = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert {name: value for name, value in risen.items() if "duplicates" in name or "events_accepted" in name} == {
        "questline_events_accepted_total{status=accepted}": 2,
        "questline_events_accepted_total{status=duplicate}": 2,
        "questline_duplicates_total{layer=group}": 1,
        "questline_duplicates_total{layer=store}": 1,
        "questline_command_duplicates_total": 1,
    }
    assert risen["questline_accept_seconds_count"] == 1  # of single events alone


async def test_a_worker_tells_what_it_applied_and_how_late(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.post(
        "/v1/events/batch", json=[{"type": "task", "userId": f"u{n}", "eventId": f"e{n}"} for n in range(20)]
    )
    registry, stop = CollectorRegistry(), asyncio.Event()
    worker = asyncio.create_task(build_worker(questline.settings, registry).run(stop))
    try:
        await until(questline._is_drained)
    finally:
        stop.set()
        await worker
    seen = samples(generate_latest(registry).decode())
    assert seen["questline_events_applied_total{outcome=processed}"] >= 20
    assert seen["questline_apply_seconds_count"] >= 2
    assert seen["questline_apply_batch_events_sum"] >= 20


async def test_what_waits_is_measured_with_the_age_of_the_oldest(questline: Instance) -> None:
    await questline.drain()
    registry = CollectorRegistry()
    backlog = Backlog(questline.settings.dsn, now, BacklogMeters(registry))
    await backlog.run_once()
    assert samples(generate_latest(registry).decode())["questline_backlog_oldest_seconds"] == 0
    app = await questline.app(PROGRAM)
    for user in ("ada", "bob", "cleo"):
        await app.send("task", user)
    oldest = await questline.owner.fetchval("SELECT min(received_at) FROM events JOIN outbox ON event_id = id")
    await backlog.run_once()
    seen = samples(generate_latest(registry).decode())
    measured = seen["questline_backlog_measured_timestamp_seconds"]
    assert seen["questline_backlog_events"] == 3
    assert abs(seen["questline_backlog_oldest_seconds"] - (measured - oldest.timestamp())) < 0.01
    await questline.drain()


async def test_projects_are_counted_under_their_own_ids(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    id_ = await questline.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    registry = CollectorRegistry()
    counts = ProjectEvents(registry)
    counts.add("accepted", [id_, id_])
    await Rankings(questline.settings.dsn, counts).run_once()
    assert f"{{project={app.app_id}}}{{stage=accepted}}" in "".join(samples(generate_latest(registry).decode()))


# What is told only where Redis or a broker is in use; their own tests look at these.
OF_OTHERS = ("questline_redis_", "questline_cache_", "questline_board_", "questline_kafka_")


async def test_what_the_processes_expose_is_in_the_table(questline: Instance) -> None:
    registry = CollectorRegistry()
    build_worker(questline.settings, registry)
    exposed: dict[str, Any] = {
        "API": (await questline.http.get("/metrics")).text,
        "worker": generate_latest(registry).decode(),
    }
    for process, text in exposed.items():
        families = {family.name for family in text_string_to_metric_families(text)}
        named = {metric.name.removesuffix("_total") for metric in metrics_of(process)}
        ours = {name for name in families if name.startswith("questline_") and not name.endswith("_created")}
        assert ours <= named
        assert [name for name in named - ours if not name.startswith(OF_OTHERS)] == []
