"""Every example of the how-to on webhooks works as it stands."""

import asyncio
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from conftest_api import App, Instance, until
from conftest_deliveries import PROGRAM, SECRET, delivering, receiving, redeem, set_webhook, state, until_tried
from conftest_served import served
from test_how_to_send_events import run

from tests.services import free_port

PAGE = (Path(__file__).parents[2] / "docs/how-to/webhooks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


async def shell(app: App, text: str, **more: str) -> list[Any]:
    """Run a block of the page, and return what it printed."""
    async with served(app.instance.asgi) as port:
        given = {"URL": f"http://127.0.0.1:{port}", "KEY": app.key, "PROJECT": app.app_id, **more}
        output = await run("bash", "-euo", "pipefail", "-c", text.replace("\ncurl", "\necho\ncurl"), environment=given)
    return [json.loads(line) for line in output.splitlines() if line]


async def shop(questline: Instance) -> App:
    return await questline.app({**PROGRAM, **yaml.safe_load(blocks("yaml")[0])})


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_the_receiver_of_the_page_gives_what_was_redeemed_once(questline: Instance) -> None:
    app = await shop(questline)
    set_it, *_ = blocks("sh")
    [script] = blocks("python")
    port = free_port()
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"WEBHOOK_SECRET": SECRET, "PORT": str(port)},
    )  # fmt: skip
    try:
        await until(partial(_listens, port))
        given = {"WEBHOOK_URL": f"http://127.0.0.1:{port}/", "WEBHOOK_SECRET": SECRET}
        [set_] = await shell(app, set_it, **given)
        assert set_["webhookUrl"] == given["WEBHOOK_URL"]
        await app.send("gift", "ada", {"amount": 1_000}, headers={"Prefer": "wait=20"})
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        assert receiver.stdout is not None
        assert await receiver.stdout.readline() == b"a ticket for ada\n"
    finally:
        receiver.kill()
        await receiver.wait()
    await questline.drain()
    assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "204", 200)


async def test_a_message_looks_as_the_page_shows(questline: Instance) -> None:
    [shown] = map(json.loads, blocks("json"))
    app = await shop(questline)
    async with receiving() as receiver:
        await set_webhook(app, receiver.url)
        await app.send("gift", "ada", {"amount": 1_000}, headers={"Prefer": "wait=20"})
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        [sent] = receiver.heard
    changing = {"fulfilment": sent["data"]["fulfilment"]}
    assert sent == {**shown, "timestamp": sent["timestamp"], "data": shown["data"] | changing}
    assert list(sent["data"]) == list(shown["data"])


async def test_a_fulfilment_is_looked_at_sent_again_and_settled_as_the_page_shows(questline: Instance) -> None:
    app = await shop(questline)
    await app.send("gift", "ada", {"amount": 1_000}, headers={"Prefer": "wait=20"})
    [id_] = await redeem(app, "ada")
    _, settle, look = blocks("sh")
    listed, again = await shell(app, look, FULFILMENT=id_)
    assert [one["fulfilment"] for one in listed["items"]] == [id_]
    assert (again["status"], again["tries"]) == ("PENDING", 0)
    [settled] = await shell(app, settle, FULFILMENT=id_)
    assert settled["status"] == "processed"
