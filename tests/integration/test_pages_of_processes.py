"""The page of each process says of that process why it is not ready."""

import asyncio
import json
import sys

import httpx
import msgspec
import pytest
from conftest_api import Instance

from questline.settings import base_environment, environment_of

NOT_READY = {
    "work": "a lane finished nothing for long: it hangs, or PostgreSQL or the transport does not answer",
    "relay": "a lane handed nothing over for long: it hangs, or PostgreSQL or the broker does not answer",
    "deliver": "it was not looked for messages for long: PostgreSQL does not answer",
}


@pytest.mark.parametrize(("command", "says"), NOT_READY.items())
async def test_a_process_without_its_database_says_what_it_does_not_get_done(
    questline: Instance, command: str, says: str
) -> None:
    settings = msgspec.structs.replace(
        questline.settings,
        worker_port=0,
        dsn="postgresql://nobody@127.0.0.1:1/none",
        transport="rabbitmq",
        rabbitmq_url="amqp://127.0.0.1:1/",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "questline.cli.main", command,
        env={**base_environment(), **environment_of(settings)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while "url" not in (line := json.loads(await process.stdout.readline())):
            pass
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{line['url']}/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, says)
    finally:
        process.kill()
        await process.wait()
