"""One trace id from a request to what its event did, as a collector hears it from the processes."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest
from conftest_api import PROGRAM, until

from questline.api.hot.router import HotRouter
from questline.assembly import build_worker, running_api
from questline.settings import Settings
from tests.collector import Collector

GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


async def run(database: Any, collector: Collector, percent: int, *requests: dict[str, Any]) -> list[httpx.Response]:
    """Send requests to an API with a worker behind it, both traced; all is applied and told when this returns."""
    settings = Settings(
        dsn=database.app_dsn,
        dev=True,
        admin_token="operator-of-the-tests",
        otlp_endpoint=collector.url,
        trace_percent=percent,
    )
    stop = asyncio.Event()
    owner = await asyncpg.connect(database.owner_dsn)
    async with running_api(settings) as app:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test", timeout=60
        ) as http:
            key = (await http.post("/v1/apps", json={"id": f"traced-{id(collector)}", "name": "x"})).json()[
                "bootstrapApiKey"
            ]
            http.headers["X-API-Key"] = key
            assert (await http.put("/v1/program", json=PROGRAM)).status_code == 200
            answers = [await http.request("POST", **request) for request in requests]
            worker = asyncio.create_task(build_worker(settings).run(stop))

            async def drained() -> bool:
                return not await owner.fetchval("SELECT EXISTS (SELECT FROM outbox)")

            try:
                await until(drained)
            finally:
                stop.set()
                await worker
    await owner.close()
    return answers


def event(user: str, **more: Any) -> dict[str, Any]:
    headers = more.pop("headers", {})
    return {"url": "/v1/events", "json": {"type": "task", "userId": user, **more}, "headers": headers}


async def test_one_trace_id_goes_from_the_request_to_what_is_applied(database: Any, collector: Collector) -> None:
    traced = {"traceparent": f"00-{GIVEN}-{PARENT}-01"}
    (answer,) = await run(database, collector, 0, event("ada", headers=traced))
    assert answer.status_code == 202
    spans = collector.of(GIVEN)
    assert {(s.service, s.name) for s in spans.values()} == {
        ("questline-api", "POST /v1/events"),
        ("questline-api", "store"),
        ("questline-worker", "apply"),
    }
    request = spans["POST /v1/events"]
    assert request.parent == PARENT
    assert request.attributes["http.response.status_code"] == 202
    assert {spans[name].parent for name in ("store", "apply")} == {request.id}
    for name in ("store", "apply"):  # a batch's span links to the request, and the event's span to the batch
        (batch,) = [s for s in collector.spans if s.name == f"{name} batch"]
        assert batch.trace != GIVEN
        assert batch.links == {request.id}
        assert spans[name].links == {batch.id}


async def test_events_of_a_batch_share_the_span_of_their_request_in_what_is_applied(
    database: Any, collector: Collector
) -> None:
    body = [{"type": "task", "userId": user} for user in ("ada", "bob", "cleo")]
    traced = {"traceparent": f"00-{GIVEN}-{PARENT}-01"}
    await run(database, collector, 0, {"url": "/v1/events/batch", "json": body, "headers": traced})
    applied = [s for s in collector.spans if s.name == "apply"]
    assert {s.trace for s in applied} == {GIVEN}
    assert sum(s.attributes["questline.events"] for s in applied) == 3


async def test_a_command_and_a_waited_event_are_traced_through_their_own_transaction(
    database: Any, collector: Collector
) -> None:
    await run(
        database,
        collector,
        0,
        event("ada", headers={"Prefer": "wait=9", "traceparent": f"00-{GIVEN}-{PARENT}-01"}),
        {
            "url": "/v1/currency/spend",
            "json": {"userId": "ada", "currency": "coins", "amount": 1},
            "headers": {"traceparent": f"00-{GIVEN[::-1]}-{PARENT}-01"},
        },
    )
    assert set(collector.of(GIVEN)) == {"POST /v1/events", "command"}
    assert set(collector.of(GIVEN[::-1])) == {"POST /v1/currency/spend", "command"}


async def test_a_share_of_the_requests_without_a_trace_begin_one(database: Any, collector: Collector) -> None:
    unsampled = {"traceparent": f"00-{GIVEN}-{PARENT}-00"}
    await run(
        database,
        collector,
        100,
        event("ada"),
        event("bob", headers=unsampled),
        event("cleo", headers={"traceparent": "x"}),
    )
    assert collector.of(GIVEN) == {}
    requests = [s for s in collector.spans if s.name == "POST /v1/events"]
    assert [s.parent for s in requests] == ["", ""]
    for request in requests:
        assert set(collector.of(request.trace)) == {"POST /v1/events", "store", "apply"}


async def test_without_traces_nothing_of_them_is_imported_or_stored(database: Any) -> None:
    script = (
        "import sys, questline.cli.processes as p\n"
        "print(sorted(m for m in sys.modules if m.startswith('opentelemetry')))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0].decode().strip() == "[]"
    settings = Settings(dsn=database.app_dsn, dev=True, admin_token="operator-of-the-tests")
    async with running_api(settings) as app:
        assert isinstance(app, HotRouter)  # nothing stands before it
