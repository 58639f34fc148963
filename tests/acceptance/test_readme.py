"""The README's flow works word for word."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

from .conftest import Instance

README = Path(__file__).parents[2] / "README.md"
OWN_PORT = 8080


def blocks(text: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_flow_of_the_readme_works_word_for_word(instance: Instance) -> None:
    commands, flow = blocks(README.read_text())
    assert "make dev" in commands
    assert "make test" in commands
    instance.start(port=OWN_PORT if free(OWN_PORT) else 0)
    url = instance.dev_file["url"]
    script = flow if url.endswith(f":{OWN_PORT}") else flow.replace("http://127.0.0.1:8080", url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=instance.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    assert not [a for a in answers if "code" in a], "an answer is a problem"
    first, second, spent, profile, board, event = answers[-6:]
    assert (first["duplicate"], second["duplicate"], second["eventId"]) == (False, True, first["eventId"])
    assert spent["balance"] == 5
    assert (profile["levels"][0]["level"], profile["streaks"][0]["current"]) == (2, 1)
    assert [(e["rank"], e["userId"], e["score"]) for e in board["entries"]] == [(1, "ada", 120)]
    assert (event["status"], event["decision"]["transfers"][0]["rule"]) == ("processed", "rule:hard-task")


def test_the_tutorial_works_as_it_stands(instance: Instance) -> None:
    text = (README.parent / "docs/tutorial.md").read_text()
    instance.start(port=OWN_PORT if free(OWN_PORT) else 0)
    (program,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (instance.directory / "program.yaml").write_text(program)
    (instance.directory / ".venv").symlink_to(Path(sys.executable).parents[1])  # of `make dev`
    script = "\n".join(blocks(text)).replace("\ncurl", "\necho\ncurl")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("localhost:8080", instance.dev_file["url"])],
        cwd=instance.directory, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert not [a for a in answers if "code" in a], "an answer is a problem"
    sent, profile, history, event, spent = answers
    assert (sent["outcome"]["balances"], event["status"], spent["balance"]) == ({"XP": 40, "coins": 15}, "processed", 5)
    assert {b["currency"]: b["amount"] for b in profile["balances"]} == {"XP": 40, "coins": 15}
    assert {item["eventId"] for item in history["items"]} == {sent["eventId"]}


def test_every_page_that_is_linked_is_there() -> None:
    root = README.parent
    pages = [README, root / "ARCHITECTURE.md", root / "CONTRIBUTING.md", *root.glob("docs/**/*.md")]
    missing = [
        (page.name, target)
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []
