"""What the tests share: one embedded PostgreSQL a session, and a fresh migrated database for each module."""

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg import Pool
from hypothesis import HealthCheck, settings

from questline.cli.processes import collect_seldom
from questline.store.embedded import EmbeddedPostgres, ensure_database
from questline.store.migrate import migrate
from questline.store.pool import open_pool
from questline.store.roles import APP_ROLE, ensure_app_role

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.services

from tests.services import ServiceT, running
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import RedisServer

ROOT = Path(__file__).parents[1]
# Files of a minute and more, down to some ten seconds, by what they took with `--durations=0` on two processors.
LONGEST_FIRST = (
    "acceptance/test_carrier_crashes.py",
    "acceptance/test_dev.py",
    "acceptance/test_crashes.py",
    "integration/test_open_source_data.py",
    "conformance/transports/test_transports.py",
    "acceptance/test_torture.py",
    "acceptance/test_openapi.py",
    "integration/test_kafka_faults.py",
    "integration/test_kafka_moves.py",
    "integration/test_kafka.py",
    "conformance/transports/test_moving.py",
    "integration/test_rabbitmq.py",
    "simulation/test_simulation.py",
    "acceptance/test_operations.py",
    "acceptance/test_hostile.py",
    "integration/test_api_description.py",
)
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
_TEMPLATE = "questline_template"
_NOT_OURS = "missing on this machine, and no part of the project"
_numbers = itertools.count()

# How long an example takes says something of the machine, and nothing of the code. CI draws the same examples each time, so
# that what fails there is the change; at home each run draws others, and finds more.
settings.register_profile(
    "questline",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("questline")


class Database:
    """A migrated database of its own, with the DSNs of its owner and of the application's role."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.owner_dsn = server.dsn(name)
        self.app_dsn = server.dsn(name, APP_ROLE)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 18 from the wheel. fsync is off here: only tests of `questline dev` are about durability."""
    yield from _server(None)


@pytest.fixture(scope="session")
def postgres_15() -> Iterator[EmbeddedPostgres]:
    """The oldest PostgreSQL that is supported, where it is installed."""
    if not (POSTGRES_15 / "postgres").exists():
        missing_part("PostgreSQL 15 (apt-get install postgresql-15)")
    yield from _server(POSTGRES_15)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests of a process; who kills, freezes or empties it starts one of their own."""
    yield from service(RedisServer, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker for all tests of a process; who kills or empties it starts it again."""
    yield from service(RabbitMQ, tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A Kafka for all tests of a process, each with a topic of its own; who kills or freezes it starts one of their own."""
    yield from service(Kafka, tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A fresh migrated database, shared by the tests of one module."""
    async with fresh_database(postgres) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def database_15(postgres_15: EmbeddedPostgres) -> AsyncIterator[Database]:
    """The same on PostgreSQL 15."""
    async with fresh_database(postgres_15) as fresh:
        yield fresh


@pytest.fixture(scope="module", params=["database", "database_15"])
def any_database(request: pytest.FixtureRequest) -> Database:
    """Both in turn: what asks for this runs on the newest and on the oldest PostgreSQL."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def app_dsn(database: Database) -> str:
    """How the API and the worker log in: bound by row-level security."""
    return database.app_dsn


@pytest.fixture(scope="module")
async def pool(database: Database) -> AsyncIterator[Pool]:
    """A pool of the application's role."""
    opened = await open_pool(database.app_dsn, max_size=10)
    yield opened
    await opened.close()


def service(kind: type[ServiceT], directory: Path) -> Iterator[ServiceT]:
    """Yield a server of a kind, ready to answer, where the machine has what it needs."""
    lacks = kind.lacks()
    if lacks is not None:
        missing_part(lacks)
    with running(kind(directory)) as server:
        yield server


def pytest_sessionstart() -> None:
    """Search for cycles as seldom as the processes do that the tests run within themselves."""
    collect_seldom()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run side by side, let the files that take longest come first: one that came last would be waited for."""
    if hasattr(config, "workerinput"):
        place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """In CI every part of the project is there, so a skip for want of one is a failure that says what is missing."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        if str(reason).endswith(_NOT_OURS):
            return report
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not allow: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what tests marked `tells` print when they pass too: how much was tried, lost and found."""
    ended = [report for report in terminalreporter.stats.get("", []) if report.when == "teardown"]
    for report in ended:
        if "tells" in report.keywords and report.capstdout:
            terminalreporter.section(report.nodeid)
            terminalreporter.write_line(report.capstdout.strip())


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """Yield a migrated database copied from the template, and drop it."""
    name = f"test_{next(_numbers)}"
    conn = await asyncpg.connect(server.dsn("postgres"))
    try:
        await conn.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        yield Database(server, name)
        await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await conn.close()


def missing_part(what: str) -> None:
    """Skip a test whose part is missing on this machine; in CI that is a failure, as every skip is."""
    pytest.skip(f"{what} is missing on this machine")


def missing_data(what: str) -> None:
    """Skip a test whose data are no part of the project, where they are missing; in CI too."""
    pytest.skip(f"{what} is {_NOT_OURS}")


def _server(binaries: Path | None) -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as directory:
        settings = {"fsync": "off", "shared_buffers": "128MB"}
        server = EmbeddedPostgres(Path(directory), binaries=binaries, settings=settings)
        server.start()
        try:
            asyncio.run(_make_template(server))
            yield server
        finally:
            server.stop()


async def _make_template(server: EmbeddedPostgres) -> None:
    await ensure_database(server.dsn("postgres"), _TEMPLATE)
    await migrate(server.dsn(_TEMPLATE), datetime.now(UTC))
    await ensure_app_role(server.dsn(_TEMPLATE))
