"""`questline dev` from outside: one command, and nothing that can be killed does harm."""

import json
import os
import signal
import socket
import stat
from typing import Any

import httpx
import psutil
import pytest

from questline.store.embedded import EmbeddedPostgres
from tests.services import free_port

from .conftest import Instance, eventually

PROGRAM = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"pay": {"on": "paid", "award": {"coins": 1}}},
}


def send(instance: Instance, user: str, key: str) -> None:
    answer = instance.client.post(
        "/v1/events", json={"type": "paid", "userId": user, "payload": {}, "idempotencyKey": key}
    )
    assert answer.status_code == 202, answer.text


def coins(instance: Instance, user: str) -> int:
    answer = instance.client.get(f"/v1/users/{user}/profile")
    if answer.status_code != 200:
        return 0
    balances = {b["currency"]: b["amount"] for b in answer.json()["balances"]}
    return int(balances.get("coins", 0))


def test_the_first_start_makes_a_project_and_tells_its_keys_to_its_owner_alone(instance: Instance) -> None:
    instance.environment.clear()  # as everybody starts it
    instance.start()
    file = instance.dev_file
    assert sorted(file) == ["adminToken", "project", "publishableKey", "secretKey", "url"]
    assert file["project"] == "my-app"
    assert file["secretKey"].startswith("sk_live_")
    assert file["publishableKey"].startswith("pk_live_")
    assert stat.S_IMODE((instance.data / "dev.json").stat().st_mode) == 0o600
    assert instance.client.get("/ready").status_code == 200
    for value in file.values():
        assert value in instance.said()


def test_a_second_start_has_the_same_keys_and_data(instance: Instance) -> None:
    instance.start()
    first = instance.dev_file
    assert instance.client.put("/v1/program", json=PROGRAM).status_code == 200
    send(instance, "ada", "k1")
    eventually(lambda: coins(instance, "ada") == 1)
    assert instance.stop() == 0
    instance.start()
    assert {**instance.dev_file, "url": ""} == {**first, "url": ""}
    assert coins(instance, "ada") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process(instance: Instance, number: int) -> None:
    instance.start()
    assert instance.left()
    instance.signal(number)
    assert instance.process is not None
    assert instance.process.wait(60) == 0
    assert instance.left() == []


def test_a_signal_while_it_starts_stops_every_process(instance: Instance) -> None:
    instance.launch()
    eventually(lambda: (instance.data / "postgres" / "data" / "postmaster.pid").exists())
    instance.signal(signal.SIGTERM)
    assert instance.process is not None
    instance.process.wait(60)
    assert instance.left() == []
    instance.start()


def test_a_second_instance_on_the_same_directory_is_told_who_has_it(instance: Instance) -> None:
    instance.start()
    assert instance.process is not None
    second = instance.run("dev", "--port", "0")
    assert second.returncode == 1
    assert f"process {instance.process.pid}" in second.stderr
    assert str(instance.data) in second.stderr
    assert instance.client.get("/ready").status_code == 200


def test_a_busy_port_is_named_with_who_has_it_and_what_to_do(instance: Instance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        answer = instance.run("dev", "--port", str(port))
    assert answer.returncode == 1
    assert f"port {port} on 127.0.0.1 is busy (process {os.getpid()}" in answer.stderr
    assert f"--port {port + 1}" in answer.stderr
    assert instance.left() == []
    instance.start(port=port)
    assert instance.dev_file["url"] == f"http://127.0.0.1:{port}"


def test_a_killed_supervisor_leaves_nothing_that_runs_or_blocks_the_next_start(instance: Instance) -> None:
    port = free_port()
    instance.start(port=port)
    keys = instance.dev_file
    instance.signal(signal.SIGKILL)
    assert instance.process is not None
    instance.process.wait(60)
    instance.start(port=port)  # at once: what is left of the first is ended by the second
    assert instance.dev_file == keys
    assert instance.client.get("/ready").status_code == 200
    instance.signal(signal.SIGKILL)
    instance.process.wait(60)
    eventually(lambda: instance.left() == [])


def test_a_machine_that_went_down_leaves_locks_of_strangers_that_block_nothing(instance: Instance) -> None:
    instance.start()
    assert instance.process is not None
    processes = [psutil.Process(pid) for pid in instance.pids().values()]
    for process in [psutil.Process(instance.process.pid), *processes]:
        process.kill()
    instance.process.wait(60)
    lock = instance.data / "postgres" / "data" / "postmaster.pid"
    eventually(lambda: instance.left() == [])
    stranger = f"{os.getpid()}\n"  # the number of a dead process is given to another after a restart
    lock.write_text(stranger + lock.read_text().partition("\n")[2])
    os.chown(lock, (instance.data / "postgres").stat().st_uid, -1)
    instance.start()
    assert instance.client.get("/ready").status_code == 200


@pytest.mark.parametrize("name", ["api", "worker", "deliverer", "postgres"])
def test_a_killed_process_is_healed_within_seconds(running: Instance, name: str) -> None:
    assert running.client.put("/v1/program", json=PROGRAM).status_code == 200
    before = running.pids()
    psutil.Process(before[name]).kill()
    eventually(lambda: running.pids().get(name, before[name]) != before[name])
    user = f"after-{name}"
    eventually(lambda: _accepted(running, user))
    eventually(lambda: coins(running, user) == 1)  # the partitions of a dead worker are free after 6 s


def test_callers_wait_while_a_killed_api_is_started_again(running: Instance) -> None:
    psutil.Process(running.pids()["api"]).kill()
    with httpx.Client(base_url=running.dev_file["url"], timeout=60) as fresh:
        assert fresh.get("/health").status_code == 200


def test_a_lost_key_file_gets_new_keys_for_the_same_project(instance: Instance) -> None:
    instance.start()
    assert instance.client.put("/v1/program", json=PROGRAM).status_code == 200
    old = instance.dev_file
    instance.stop()
    (instance.data / "dev.json").unlink()
    instance.start()
    assert instance.dev_file["secretKey"] != old["secretKey"]
    assert instance.client.get("/v1/program").json() == PROGRAM


def test_a_directory_with_a_very_long_name_works(tmp_path: Any) -> None:
    directory = tmp_path / ("long" * 20) / ("longer" * 15)
    directory.mkdir(parents=True)
    instance = Instance(directory)
    try:
        instance.start()
        assert instance.client.get("/ready").status_code == 200
        socket_directory = EmbeddedPostgres(instance.data / "postgres").socket_directory
        assert len(str(socket_directory)) < 80
    finally:
        instance.stop()


def _accepted(instance: Instance, user: str) -> bool:
    send(instance, user, f"key of {user}")
    return True


def test_each_worker_answers_for_itself_where_the_file_says(instance: Instance) -> None:
    instance.environment["QUESTLINE_WORKERS"] = "2"
    instance.start()
    pages = json.loads((instance.data / "workers.json").read_text())
    assert len(pages) == sum("worker" in name for name in instance.pids())
    for page in pages:
        assert page in instance.said()
        eventually(lambda page=page: httpx.get(f"{page}/ready").status_code == 200)
        assert "questline_backlog_events " in httpx.get(f"{page}/metrics").text
