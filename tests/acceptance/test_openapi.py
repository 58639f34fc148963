"""Schemathesis goes through the whole OpenAPI document against a running `questline dev`, with every check it has.

The seconds it may take are bounded, and it draws the same cases each time; SCHEMATHESIS_SEED draws others, and
SCHEMATHESIS_SECONDS gives it longer, to look for more.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from questline.api.description.examples import DEFINITIONS, NAMES
from questline.api.description.untyped import SECTIONS

from .conftest import Instance

HERE = Path(__file__).parent
SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "50")
SEED = os.environ.get("SCHEMATHESIS_SEED")
# The document's own examples, as one program: what the requests name exists.
PROGRAM = {section: {NAMES[name]: DEFINITIONS[name]} for section, name in SECTIONS.items()}
PROGRAM["currencies"]["coins"] = {"kind": "currency"}
PROGRAM["rewards"]["founder"] = {"type": "badge", "badge": "founder"}


@pytest.mark.tells
def test_schemathesis_finds_nothing_in_the_whole_document(running: Instance) -> None:
    applied = running.client.put("/v1/program", json=PROGRAM)
    assert applied.status_code == 200, applied.text
    for number in range(3):
        event = {
            "type": "task_completed",
            "userId": "ada",
            "eventId": f"task-{number}",
            "payload": {"difficulty": "hard"},
        }
        assert running.client.post("/v1/events", json=event, headers={"Prefer": "wait=30"}).status_code == 200
    running.client.post("/v1/coupons/spring", json=["SPRING-1"])
    drawn = ["--seed", SEED] if SEED else ["--generation-deterministic"]
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "--config-file", HERE / "schemathesis.toml", "run", "--no-color", *drawn,
         "--max-time", SECONDS, "--header", f"X-API-Key: {running.dev_file['secretKey']}",
         f"{running.dev_file['url']}/openapi.json"],
        cwd=running.directory, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, check=False,
        timeout=4 * float(SECONDS) + 120,
    )  # fmt: skip
    report = re.sub(r"sk_live_\w+", "sk_live_…", done.stdout + done.stderr)
    assert done.returncode == 0, report[-20_000:]
    assert "failures" not in report.splitlines()[-1]
    print("\n".join(line for line in report.splitlines() if re.search(r"Operations:|passed|covered|generated", line)))
