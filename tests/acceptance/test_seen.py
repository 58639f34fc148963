"""Load, tail and doctor: what an operator sees of a running instance, from outside; and the commands of docs/how-to/watch.md."""

import json
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.collector import Collector

from .conftest import QUESTLINE, Instance, eventually

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "watch.md"
PROGRAM = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"task": {"on": "task_completed", "award": {"coins": 1}}},
}


def loaded(running: Instance, *more: str) -> dict[str, Any]:
    done = running.run("load", "--rate", "100", "--seconds", "1", "--json", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("mode", [(), ("--stream",)], ids=["single", "stream"])
def test_all_that_load_was_promised_is_applied(running: Instance, mode: tuple[str, ...]) -> None:
    assert running.client.put("/v1/program", json=PROGRAM).status_code == 200
    result = loaded(running, *mode)
    assert (result["events"], result["acknowledged"], result["lost"]) == (100, 100, 0)
    assert sum(result["applied"].values()) == 100
    assert set(result["applied"]) <= {"processed", "refused"}  # a second check-in of a day is refused
    assert set(result["latencyMs"]) == {"p50", "p95", "p99", "p100"}


def test_a_run_that_is_repeated_under_its_name_is_all_duplicates(running: Instance) -> None:
    loaded(running, "--run", "again", "--twice", "0")
    result = loaded(running, "--run", "again", "--twice", "0")
    assert (result["acknowledged"], result["duplicates"], result["lost"]) == (100, 100, 0)


def test_load_waits_as_long_as_the_server_says_and_then_sends_the_same_event(running: Instance) -> None:
    with Refusing([(429, {"Retry-After": "1"}), (503, {"Retry-After": "0"}), (422, {}), (202, {})]) as server:
        options = ["--rate", "20", "--seconds", "0.1", "--connections", "1", "--twice", "0", "--wait", "0", "--json"]
        done = running.run("load", *options, "--url", server.url, "--key", "sk")
    result = json.loads(done.stdout)
    assert (result["waits"], result["refused"], result["acknowledged"]) == (2, {"no-good": 1}, 1)
    ids = [json.loads(body)["eventId"] for body in server.bodies]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert done.returncode == 1  # for nothing was applied


def test_one_trace_goes_through_the_processes_of_the_api_and_of_the_workers(instance: Instance) -> None:
    collector = Collector()
    try:
        instance.environment["QUESTLINE_OTLP_ENDPOINT"] = collector.url
        instance.start()
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        event = {"type": "task_completed", "userId": "ada"}
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert instance.client.post("/v1/events", json=event, headers=headers).status_code == 202

        told = {("questline-api", "POST /v1/events"), ("questline-api", "store"), ("questline-worker", "apply")}
        eventually(lambda: {(s.service, s.name) for s in collector.of(trace).values()} == told)
        spans = collector.of(trace)
        assert {spans[name].parent for name in ("store", "apply")} == {spans["POST /v1/events"].id}
    finally:
        collector.close()


def test_tail_shows_each_event_once_with_its_outcome(running: Instance) -> None:
    assert running.client.put("/v1/program", json=PROGRAM).status_code == 200
    run = loaded(running, "--users", "3")["run"]
    done = running.run("tail", "--no-follow", "--last", "200", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [line["eventId"] for line in lines if line["userId"].startswith(run)]
    assert len(ours) == len(set(ours)) == 100
    user = lines[-1]["userId"]
    shown = running.run("tail", "--no-follow", "--user", user, "--type", "task_completed").stdout
    assert shown
    assert all(f"processed  task_completed  {user} " in line for line in shown.splitlines())


def test_tail_follows_what_comes_through_a_restart_of_the_api(running: Instance) -> None:
    tail = Follower(running, "--user", "followed", "--json", "--last", "0")

    def sent(type_: str) -> bool:
        return running.client.post("/v1/events", json={"type": type_, "userId": "followed"}).status_code == 202

    try:
        eventually(lambda: sent("a") and "a" in tail.types())  # until it follows
        psutil.Process(running.pids()["api"]).kill()
        eventually(lambda: sent("b"))
        eventually(lambda: tail.types()[-1] == "b")
    finally:
        code = tail.stop()
    assert code == 0


def test_tail_refuses_a_wrong_key_at_once(running: Instance) -> None:
    done = running.run("tail", "--url", running.dev_file["url"], "--key", "sk_live_wrong")
    assert done.returncode == 1
    assert "401" in done.stderr


def test_the_doctor_names_what_is_doubtful_and_its_exit_code_is_a_choice(running: Instance) -> None:
    good = running.run("doctor", "--json")
    findings = [json.loads(line) for line in good.stdout.splitlines()]
    assert good.returncode == 0
    assert {"good"} == {f["state"] for f in findings if "disk" not in f["text"] and "dead letters" not in f["text"]}
    assert any("of the disk of" in f["text"] for f in findings)
    clash = {"QUESTLINE_STREAM_BYTES_MAX": "2048", "QUESTLINE_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert running.run("doctor", **clash).returncode == 0
    strict = running.run("doctor", "--strict", **clash)
    assert strict.returncode == 1
    assert "QUESTLINE_STREAM_BYTES_MAX is smaller than QUESTLINE_EVENT_BYTES_MAX" in strict.stdout
    assert "the collector of traces at http://127.0.0.1:9 cannot be reached" in strict.stdout


def test_the_commands_of_the_page_run_as_they_stand(running: Instance) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("questline ")]
    assert {line.split()[1] for line in lines} == {"doctor", "load", "tail"}
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        done = running.run(*arguments, *(["--no-follow"] if arguments[0] == "tail" else []))
        assert done.returncode == 0, (line, done.stdout, done.stderr)


class Follower:
    """A `questline tail` that runs."""

    def __init__(self, running: Instance, *arguments: str) -> None:
        self._output = running.directory / "tail.txt"
        self._file = self._output.open("wb")
        self._process = subprocess.Popen([*QUESTLINE, "tail", *arguments], cwd=running.directory, stdout=self._file)

    def types(self) -> list[str]:
        return [json.loads(line)["type"] for line in self._output.read_text().splitlines()]

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        self._file.close()
        return self._process.wait(60)


class Refusing:
    """A server that gives prepared answers, the last of them for ever, and keeps what it was sent."""

    def __init__(self, answers: list[tuple[int, dict[str, str]]]) -> None:
        self.bodies: list[bytes] = []
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, {}, {"items": [], "nextCursor": None})

            def do_POST(self) -> None:
                refusing.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                self._answer(status, headers, {"status": "accepted"} if status == 202 else {"code": "no-good"})

            def _answer(self, status: int, headers: dict[str, str], document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            log_message: Callable[..., None] = lambda *_: None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Refusing":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
