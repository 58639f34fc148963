"""The other commands, run beside a `questline dev`."""

import json
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from questline.store.embedded import EmbeddedPostgres
from tests.services import free_port

from .conftest import QUESTLINE, Instance, eventually

GOOD = """\
currencies:
  coins: {kind: currency}
rules:
  pay:
    on: paid
    award: {coins: 1}
"""
BAD = """\
currencies:
  coins: {kind: currency}
rules:
  pay:
    on: paid
    award: {coins: many}
  other:
    award: {coins: none}
"""
DANGLING = """\
rules:
  pay:
    on: paid
    award: {gems: 1}
"""


def write(running: Instance, text: str) -> str:
    (running.directory / "program.yaml").write_text(text)
    return "program.yaml"


def test_apply_puts_a_document_in_force_and_plan_says_what_would_change(running: Instance) -> None:
    file = write(running, GOOD)
    planned = running.run("plan", file)
    assert planned.returncode == 0, planned.stderr
    assert "+ rules.pay" in planned.stdout
    assert re.fullmatch(r"version \d+ is in force\n", running.run("apply", file).stdout)
    assert running.run("plan", file).stdout == "no changes\n"


def test_a_template_is_a_program_that_can_be_applied(running: Instance) -> None:
    names = running.run("template").stdout.split()
    assert "daily-loop" in names
    for name in names:
        file = write(running, running.run("template", name).stdout)
        assert running.run("apply", file).returncode == 0
    unknown = running.run("template", "nothing")
    assert (unknown.returncode, "there are daily-loop" in unknown.stderr) == (1, True)


@pytest.mark.parametrize("command", ["apply", "plan"])
def test_every_error_of_a_document_is_shown_with_its_line(running: Instance, command: str) -> None:
    answer = running.run(command, write(running, BAD))
    assert answer.returncode == 1
    lines = [line.split(": ")[0] for line in answer.stderr.splitlines()]
    assert lines == sorted(lines)
    assert "program.yaml:6: rules.pay.award.coins" in answer.stderr
    assert "program.yaml:7: rules.other" in answer.stderr
    assert "program.yaml:8: rules.other.award.coins" in answer.stderr


def test_a_reference_to_nothing_is_an_error_with_its_line(running: Instance) -> None:
    answer = running.run("apply", write(running, DANGLING))
    assert answer.returncode == 1
    assert answer.stderr.startswith("program.yaml:4: rules.pay.award.gems: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", "program.yaml: line "),
        ("a: 1\na: 2\n", "stands twice"),
        (None, "program.yaml: No such file"),
    ],
)
def test_a_document_that_cannot_be_read_is_an_error_not_a_trace(running: Instance, text: str | None, said: str) -> None:
    path = running.directory / write(running, text or "")
    if text is None:
        path.unlink()
    answer = running.run("apply", "program.yaml")
    assert answer.returncode == 1
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_key_is_made_shown_once_listed_and_revoked(running: Instance) -> None:
    made = running.run("keys", "create", "--role", "READONLY", "--name", "reports")
    assert made.returncode == 0, made.stderr
    key, key_id = made.stdout.splitlines()[-1], re.search(r"id ([0-9a-f-]{36})", made.stdout)
    assert key_id is not None
    assert key.startswith("sk_live_")
    listed = running.run("keys", "list").stdout
    assert key_id[1] in listed
    assert key not in listed
    url = running.dev_file["url"]
    assert httpx.get(f"{url}/v1/program", headers={"X-API-Key": key}).status_code == 200
    assert running.run("keys", "revoke", key_id[1]).returncode == 0
    eventually(lambda: httpx.get(f"{url}/v1/program", headers={"X-API-Key": key}).status_code == 401)


def test_an_operator_makes_a_member_a_way_back(running: Instance) -> None:
    operator = running.dev_file["adminToken"]
    with httpx.Client(base_url=running.dev_file["url"], headers={"X-Admin-Token": operator}, timeout=60) as http:
        invited = http.post("/v1/organizations/default/invitations", json={"email": "ada@example.com"}).json()
        account = {"token": invited["token"], "name": "Ada", "password": "correct horse battery"}
        assert http.post("/v1/invitations/accept", json=account).status_code == 201
        made = running.run("members", "reset-password", "ada@example.com", "--token", operator)
        assert made.returncode == 0, made.stderr
        body = {"token": made.stdout.splitlines()[-1], "newPassword": "staple of some length"}
        assert http.post("/v1/members/reset", json=body).status_code == 204
        login = {"email": "ada@example.com", "password": body["newPassword"]}
        assert http.post("/v1/members/login", json=login).status_code == 200
    assert running.run("members", "reset-password", "eve@example.com", "--token", operator).returncode == 1
    assert running.run("members", "reset-password", "ada@example.com").returncode == 1  # a key is no operator's token


def test_a_key_is_narrowed_and_rotated_and_the_audit_log_tells_of_it(running: Instance) -> None:
    made = running.run("keys", "create", "--scope", "events:write", "--expires", "2035-01-01", "--name", "narrow")
    key_id = re.search(r"id ([0-9a-f-]{36})", made.stdout)
    assert key_id, made.stdout
    rotated = running.run("keys", "rotate", key_id[1], "--overlap", "60")
    assert rotated.returncode == 0, rotated.stderr
    assert "the old key ends at" in rotated.stdout
    assert re.fullmatch(r"sk_live_[0-9a-f]{64}", rotated.stdout.splitlines()[-1])
    assert running.run("keys", "rotate", key_id[1]).returncode == 1
    assert running.run("keys", "create", "--scope", "program:write").returncode == 1  # its role, INGEST, lacks that

    exported = [
        json.loads(line) for line in running.run("audit", "export", "--action", "key.rotate").stdout.splitlines()
    ]
    assert [act["target"]["id"] for act in exported] == [key_id[1]]
    assert "key.rotate" in running.run("audit", "list").stdout
    assert running.run("audit", "list", "--since", "yesterday").returncode == 1


def test_a_refusal_of_the_api_is_an_error_not_a_trace(running: Instance) -> None:
    for arguments in (["keys", "list", "--key", "sk_live_nobody"], ["keys", "list", "--url", "http://127.0.0.1:9"]):
        answer = running.run(*arguments)
        assert answer.returncode == 1
        assert answer.stderr.startswith("error: ")
        assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["migrate"],
        ["boards", "check", "my-app"],
        ["prune", "--dry-run", "--events", "400"],
        ["secrets", "reseal"],
        ["lag"],
    ],
    ids=" ".join,
)
def test_a_role_that_postgresql_does_not_know_is_told_of_in_a_line(running: Instance, command: list[str]) -> None:
    dsn = EmbeddedPostgres(running.data / "postgres").dsn(user="nobody_here")
    answer = running.run(*command, QUESTLINE_DSN=dsn, QUESTLINE_ADMIN_TOKEN="operator-of-the-tests")
    assert (answer.returncode, "Traceback" in answer.stderr) == (1, False)
    assert 'role "nobody_here" does not exist' in answer.stderr
    assert "Kafka" not in answer.stderr


def test_a_server_that_waits_for_postgresql_stops_on_a_signal(tmp_path: Path) -> None:
    serving = subprocess.Popen(
        [*QUESTLINE, "serve"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={"PATH": "/usr/bin:/bin", "QUESTLINE_DSN": "postgresql://127.0.0.1:1/x", "QUESTLINE_PORT": str(free_port()),
             "QUESTLINE_ADMIN_TOKEN": "operator-of-the-tests"},
    )  # fmt: skip
    assert serving.stdout is not None
    assert any("waiting_for_postgres" in line for line in serving.stdout)
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(30) == 0  # by itself it would give up after a minute


def test_the_doctor_finds_nothing_wrong_with_a_running_instance(running: Instance) -> None:
    answer = running.run("doctor")
    assert answer.returncode == 0, answer.stdout
    assert "✗" not in answer.stdout
    assert "bound by row-level security" in answer.stdout


def test_the_doctor_says_what_is_wrong(running: Instance, tmp_path: Path) -> None:
    nothing = running.run("doctor", "--data-dir", str(tmp_path / "nowhere"))
    assert nothing.returncode == 1
    assert "QUESTLINE_DSN is not set" in nothing.stdout
    owner = EmbeddedPostgres(running.data / "postgres").dsn()
    assert "is not bound by row-level security" in running.run("doctor", QUESTLINE_DSN=owner).stdout
    assert "cannot be reached" in running.run("doctor", QUESTLINE_DSN="postgresql://nobody@/x?host=/nowhere").stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["serve"], {}, "QUESTLINE_DSN is not set"),
        (["work"], {}, "QUESTLINE_DSN is not set"),
        (["migrate"], {}, "QUESTLINE_OWNER_DSN is not set"),
        (["serve"], {"QUESTLINE_PORT": "http"}, "QUESTLINE_PORT is 'http'; use a whole number"),
        (["serve"], {"QUESTLINE_LOG_FORMAT": "xml"}, "QUESTLINE_LOG_FORMAT is 'xml'; use one of json, pretty"),
        (["serve"], {"QUESTLINE_PROT": "80"}, "no setting reads QUESTLINE_PROT"),
        (["serve"], {"QUESTLINE_DSN": "nonsense", "QUESTLINE_ADMIN_TOKEN": "x" * 16}, "QUESTLINE_DSN cannot be used"),
        (["serve"], {"QUESTLINE_DSN": "nonsense"}, "QUESTLINE_ADMIN_TOKEN is not set"),
        (["serve"], {"QUESTLINE_DSN": "nonsense", "QUESTLINE_ADMIN_TOKEN": "admin"}, "is shorter than 16 characters"),
        (["migrate"], {"QUESTLINE_DSN": "postgresql://x@/x?host=/nowhere"}, "PostgreSQL cannot be reached"),
    ],
)
def test_a_server_says_what_is_wrong_with_its_settings(
    running: Instance, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    answer = running.run(*arguments, **environment)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_worker_answers_for_its_health_and_finishes_on_a_signal(running: Instance) -> None:
    port = free_port()
    dsn = EmbeddedPostgres(running.data / "postgres").dsn(user="questline_app")
    worker = subprocess.Popen(
        [*QUESTLINE, "work"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "QUESTLINE_DSN": dsn, "QUESTLINE_WORKER_PORT": str(port)},
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}/ready").status_code == 200)
        assert httpx.get(f"{url}/health").json() == {"status": "alive"}
        assert "questline_apply_batch_events" in httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/other").status_code == 404
    finally:
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=60)[0].decode()
    assert worker.returncode == 0, said


def test_migrating_a_migrated_database_applies_nothing(running: Instance) -> None:
    owner = EmbeddedPostgres(running.data / "postgres").dsn()
    answer = running.run("migrate", QUESTLINE_OWNER_DSN=owner)
    assert (answer.returncode, answer.stdout) == (0, "nothing to apply\n")


def test_the_demo_fills_boards_and_profiles_and_is_played_once(instance: Instance) -> None:
    instance.start("--demo")
    eventually(lambda: "Look around" in instance.said())
    assert re.search(r"300 users, [\d,]+ events \([\d,]+ accepted, [1-9]\d* duplicate, [1-9]\d* rejected\)",
                     re.sub(r"\s+", " ", instance.said()))  # fmt: skip
    board = instance.client.get("/v1/leaderboards?metric=xp&periodKey=all-time&limit=5").json()
    assert len(board["entries"]) == 5
    user = board["entries"][0]["userId"]
    profile = instance.client.get(f"/v1/users/{user}/profile").json()
    assert profile["streaks"]
    assert profile["achievements"]
    history = instance.client.get(f"/v1/users/{user}/history").json()
    instance.stop()
    instance.start("--demo")
    eventually(lambda: "Look around" in instance.said())
    assert instance.client.get("/v1/leaderboards?metric=xp&periodKey=all-time&limit=5").json() == board
    assert instance.client.get(f"/v1/users/{user}/history").json() == history


def test_boards_can_be_checked_and_rebuilt_and_agree_with_the_ledger(running: Instance) -> None:
    assert running.run("boards", "check", "nobody").returncode == 1
    assert running.run("boards", "check", "my-app").stdout == "every board is as the ledger says\n"
    assert running.run("boards", "rebuild", "my-app").stdout == "0 entries changed\n"
