"""The commands of docs/how-to/dead-letters-and-replay.md, run as they stand on the page."""

import asyncio
import re
import shlex
from pathlib import Path

import asyncpg

from questline.store.embedded import EmbeddedPostgres

from .conftest import Instance, eventually

PAGE = Path(__file__).parents[2] / "docs/how-to/dead-letters-and-replay.md"
PROGRAM = "currencies:\n  coins: {kind: currency}\nrules:\n  task: {on: task, award: {coins: 1}}\n"
METRIC = "metrics:\n  tasks: {on: task, count: true}\n"
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '23514'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION refuse()"""


def in_database(running: Instance, sql: str) -> None:
    async def execute() -> None:
        conn = await asyncpg.connect(EmbeddedPostgres(running.data / "postgres").dsn())
        await conn.execute(sql)
        await conn.close()

    asyncio.run(execute())


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("questline ")]


def send(running: Instance, id_: str) -> None:
    answer = running.client.post("/v1/events", json={"type": "task", "userId": id_, "eventId": id_})
    assert answer.status_code == 202, answer.text


def status(running: Instance, id_: str) -> str:
    return str(running.client.get(f"/v1/events/{id_}").json()["status"])


def test_the_commands_of_the_page_do_what_it_says(running: Instance) -> None:
    (running.directory / "program.yaml").write_text(PROGRAM)
    assert running.run("apply", "program.yaml").returncode == 0
    in_database(running, REFUSE)
    send(running, "ada")
    eventually(lambda: status(running, "ada") == "failed")
    said = {}
    for command in commands():
        name = " ".join(command[:2])
        if name == "dlq retry":
            in_database(running, "DROP TRIGGER refuse ON transfers; DROP FUNCTION refuse")
        if name == "dlq discard":
            eventually(lambda: status(running, "ada") == "processed")
            in_database(running, REFUSE)
            send(running, "bob")
            eventually(lambda: status(running, "bob") == "failed")
        if name == "replay reprocess":
            in_database(running, "DROP TRIGGER IF EXISTS refuse ON transfers; DROP FUNCTION IF EXISTS refuse")
            (running.directory / "program.yaml").write_text(PROGRAM.replace("coins: 1}", "coins: 3}"))
            assert running.run("apply", "program.yaml").returncode == 0
        if name == "replay backfill":
            (running.directory / "program.yaml").write_text(PROGRAM + METRIC)
            assert running.run("apply", "program.yaml").returncode == 0
        done = running.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said[name] = done.stdout
    assert "STORE_ERROR" in said["dlq reasons"]
    assert "refused by the test" in said["dlq list"]
    assert said["dlq retry"].strip() == "1 put back"
    assert said["dlq discard"].strip() == "1 discarded"
    assert "0 of 2 events would be put back" in said["replay republish"]
    assert said["replay reprocess"].strip().endswith("1 events were compensated")
    assert said["replay backfill"].strip().endswith("1 events were counted")
    assert running.client.get("/v1/users/ada/profile").json()["metrics"] == [{"metric": "tasks", "value": 1}]
    assert running.client.get("/v1/users/ada/profile").json()["balances"][0]["amount"] == 3
    assert "bob" in running.run("dlq", "list", "--discarded", "--token", running.dev_file["adminToken"]).stdout
    assert running.run("dlq", "list", "--token", "guess").returncode == 1
