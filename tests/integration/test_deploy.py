"""What is shipped to deploy with: the compose file, the image, the login role, the capacity page."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from typer.main import get_command

from bench import capacity
from questline.assembly import now
from questline.cli.main import app
from questline.settings import Settings, variable_of
from questline.store.embedded import EmbeddedPostgres, ensure_database
from questline.store.migrate import migrate
from tests.conftest import missing_part

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = [name for name, service in COMPOSE["services"].items() if service["image"] == "questline"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists_with_settings_that_exist(name: str) -> None:
    service = COMPOSE["services"][name]
    settings = {variable_of(field) for field in Settings.__struct_fields__}

    assert service["command"][0] in get_command(app).commands  # type: ignore[attr-defined]
    assert set(service["environment"]) <= settings


def test_each_dependency_is_a_service_and_each_profile_starts_what_its_transport_needs() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
    started = {profile: {n for n, s in services.items() if profile in s.get("profiles", ())} for profile in ("rabbitmq", "kafka", "redis")}  # fmt: skip
    assert started == {"rabbitmq": {"rabbitmq", "relay"}, "kafka": {"kafka"}, "redis": {"redis"}}


def test_a_broker_finds_its_data_again_in_a_new_container() -> None:
    kafka, rabbitmq = COMPOSE["services"]["kafka"], COMPOSE["services"]["rabbitmq"]
    assert f"kafka:{kafka['environment']['KAFKA_LOG_DIRS']}" in kafka["volumes"]
    assert rabbitmq["hostname"] == "rabbitmq"


def test_one_service_builds_the_image_and_each_of_its_processes_hears_when_to_stop() -> None:
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    assert all(services[name]["init"] for name in OURS)


def test_the_image_installs_extras_that_exist_and_listens_where_it_is_asked_whether_it_is_ready() -> None:
    image = (ROOT / "Dockerfile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = re.search(r"'\.\[([\w,]+)\]'", image)
    assert installed is not None
    assert set(installed[1].split(",")) <= set(extras)
    for name, port in (("api", "8080"), ("worker", "8081")):
        asked = COMPOSE["services"][name]["healthcheck"]["test"][-1]
        assert f"127.0.0.1:{port}/ready" in asked
        assert re.search(rf"QUESTLINE_(WORKER_)?PORT={port}", image)


async def test_the_login_role_is_made_twice_over_and_may_do_what_the_processes_do(postgres: EmbeddedPostgres) -> None:
    psql = shutil.which("psql")
    if psql is None:
        missing_part("psql (apt-get install postgresql-client)")
    owner = postgres.dsn("login_role")
    await ensure_database(postgres.dsn("postgres"), "login_role")
    for _ in range(2):
        subprocess.run(  # noqa: ASYNC221
            [psql, owner, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "deploy" / "compose" / "login.sql"],
            env={**os.environ, "APP_PASSWORD": "it's a secret"}, check=True, capture_output=True,
        )  # fmt: skip
    await migrate(owner, now())

    conn = await asyncpg.connect(postgres.dsn("login_role", "app"))
    try:
        assert await conn.fetchval("SELECT count(*) FROM events") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute("DROP TABLE events")
        row = await conn.fetchrow("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert (row["rolsuper"], row["rolbypassrls"]) == (False, False)
    finally:
        await conn.close()


def test_the_capacity_page_has_the_table_that_its_costs_give() -> None:
    text = capacity.PAGE.read_text()
    assert capacity.page(text) == text


def test_the_need_is_the_cost_times_the_peak() -> None:
    # 864 million a day are 10,000/s, and 30,000/s at the peak; 60 µs each keep 1.8 processors busy, of 3 that are used to 0.6.
    cost = capacity.Cost(api_us=60, accept_us=20, worker_us=60, apply_us=40, wal_bytes=1_000, stored_bytes=500, key_bytes=100)  # fmt: skip
    found = capacity.need(864_000_000, cost)
    assert found.per_second == pytest.approx(30_000)
    assert (found.api, found.workers, found.postgres) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))
    assert (found.wal_mb, found.stored_gb) == (pytest.approx(30), pytest.approx(432))
