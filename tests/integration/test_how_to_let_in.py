"""Every example of the how-tos on signed events and end users works as it stands."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest_api import Instance
from conftest_served import NODE, node, served
from test_how_to_send_events import run
from test_signed_events import SECRET, signed_app, stored

from tests.conftest import missing_part

__all__ = ["node"]  # a fixture

HOW_TO = Path(__file__).parents[2] / "docs/how-to"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize("language", ["python", "js"])
async def test_an_event_signed_as_the_page_shows_is_taken(questline: Instance, node: str, language: str) -> None:
    app = await signed_app(questline)
    [text] = blocks("sign-events.md", language)
    async with served(questline.http._transport.app) as port:  # type: ignore[attr-defined]
        environment = {"URL": f"http://127.0.0.1:{port}", "API_KEY": app.key, "SIGNING_SECRET": SECRET}
        if language == "python":
            output = await run(sys.executable, "-c", text, environment=environment)
        else:
            script = NODE / f"signed-{port}.mjs"
            script.write_text(text, encoding="utf-8")
            try:
                output = await run(node, script.name, environment=environment, cwd=NODE)
            finally:
                script.unlink()
    assert (output.strip(), await stored(app)) == ("202", 1)


async def test_a_project_is_created_with_a_secret_as_the_page_shows(questline: Instance) -> None:
    [text] = blocks("sign-events.md", "sh")
    async with served(questline.http._transport.app) as port:  # type: ignore[attr-defined]
        environment = {"URL": f"http://127.0.0.1:{port}", "ADMIN_TOKEN": questline.settings.admin_token}
        output = await run("bash", "-euo", "pipefail", "-c", text, environment=environment)
    assert json.loads(output)["app"]["settings"] == {"signedEvents": "required"}


async def test_users_are_let_in_as_the_page_shows(questline: Instance) -> None:
    if shutil.which("jq") is None:
        missing_part("jq (apt-get install jq)")
    app = await questline.app()
    publishable = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    async with served(questline.http._transport.app) as port:  # type: ignore[attr-defined]
        environment = {"URL": f"http://127.0.0.1:{port}", "SECRET_KEY": app.key, "PUBLISHABLE_KEY": publishable}
        text = "\n".join(f"{block}echo" for block in blocks("end-users.md", "sh"))
        output = await run("bash", "-euo", "pipefail", "-c", text + '\necho "$SESSION"', environment=environment)
    documents = []
    decoder, rest = json.JSONDecoder(), output.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    me, checked_in, registered, session = documents
    assert (me["user"]["id"], checked_in["status"]) == ("ada", "processed")
    assert session["userId"] == registered["userId"]
    again = {"email": "grace@example.com", "password": "battery staple", "appId": app.app_id}
    assert (await questline.http.post("/v1/auth/login", json=again)).status_code == 200


def test_the_setting_that_the_page_shows_is_one(questline: Instance) -> None:
    [text] = blocks("end-users.md", "json")
    assert json.loads(text)["settings"]["userCommands"] == {"spend": False, "reportProgress": True}
