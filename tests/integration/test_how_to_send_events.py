"""Every example of the how-to works as it stands."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from conftest_api import Instance
from conftest_served import NODE, node, served

__all__ = ["node"]  # a fixture

PAGE = Path(__file__).parents[2] / "docs/how-to/send-events.md"
BLOCKS = re.findall(r"^```(sh|python|js)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


async def run(*command: str, environment: dict[str, str], cwd: Path | None = None) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, cwd=cwd, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[f"{number}-{b[0]}" for number, b in enumerate(BLOCKS, 1)])
async def test_an_example_of_the_page_works_as_it_stands(
    questline: Instance, node: str, language: str, text: str
) -> None:
    app = await questline.app()
    async with served(questline.http._transport.app) as port:  # type: ignore[attr-defined]
        environment = {"URL": f"http://127.0.0.1:{port}", "KEY": app.key, "PROJECT": app.app_id}
        given = "\n".join(f"{name} = {json.dumps(value)}" for name, value in environment.items())
        if language == "sh":
            output = await run("bash", "-euo", "pipefail", "-c", text, environment=environment)
            answers = [json.loads(line) for line in output.splitlines()]
            assert answers
            assert [
                a for a in answers if "code" in a or a.get("rejected") or a.get("summary", {}).get("rejected")
            ] == []
        elif language == "python":
            await run(sys.executable, "-c", f"{given}\n{text}", environment={})
        else:
            consts = (
                given.replace("URL =", "const URL =")
                .replace("\nKEY", "\nconst KEY")
                .replace("\nPROJECT", "\nconst PROJECT")
            )
            script = NODE / f"example-{port}.mjs"
            script.write_text(text.replace("\n\n", f"\n{consts}\n", 1), encoding="utf-8")
            try:
                await run(node, script.name, environment={}, cwd=NODE)
            finally:
                script.unlink()
    await questline.drain()
    events = (await app.get("/v1/events")).json()["items"]
    assert events
    assert {e["status"] for e in events} == {"processed"}
