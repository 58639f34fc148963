"""Running a command for a handler, and turning its refusal into a problem."""

from datetime import datetime
from typing import Any

import msgspec

from questline.api.hot.events import run_command
from questline.api.problems import NOT_DONE, code_of, of_reason
from questline.api.services import Services
from questline.model.audit import Act
from questline.model.principal import Project
from questline.model.reasons import Reason
from questline.processing.commands import CommandResult


async def execute(
    services: Services, project: Project, type_: str, user: str, payload: dict[str, Any], key: str | None,
    occurred_at: datetime | None = None, act: Act | None = None, *, own: bool = False,
) -> CommandResult:  # fmt: skip
    """Run a command to its end and return it; raises the problem of its refusal, the same one each time it is repeated.

    `occurred_at` is set for a command that is about another time than now, `act` for one that the audit log is told of,
    `own` for one that the user gives by themselves.
    """
    event = services.normaliser.command(type_, project, user, payload, key, None, own=own)
    if occurred_at is not None:
        event = msgspec.structs.replace(event, occurred_at=occurred_at)
    result = await run_command(services.commands, event, act=act)
    assert result is not None  # without a time limit there is always a result
    if result.status in NOT_DONE:
        reason = Reason(result.reason)
        problem = of_reason(reason, result.message, eventId=str(result.event_id), duplicate=result.duplicate)
        problem.code = code_of(reason)
        raise problem
    return result
