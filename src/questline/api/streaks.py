"""/v1/users/{user_id}/streaks: care for one user's streak; every command is an event, kept with its reason."""

from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Request, post

from questline.api.acts import Acts
from questline.api.callers import Admin, Sender, needs
from questline.api.commands import execute
from questline.api.hot.commands import Done
from questline.api.idempotency import given_key
from questline.api.own import own_outcome
from questline.api.services import Services
from questline.model.audit import Act
from questline.model.event import STREAK_DAY_START, STREAK_PAUSE, STREAK_RESTORE, STREAK_TARGET
from questline.model.permissions import Scope
from questline.model.principal import Principal

AnyRequest = Request[Any, Any, Any]
Body = dict[str, Any]


class Pause(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Dates of the user's, both included; `from` is today when left out."""

    until: date
    from_: date | None = msgspec.field(default=None, name="from")


class Restore(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why, and optionally which missed dates, both included; without them, those of the latest break."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    from_: date | None = msgspec.field(default=None, name="from")
    until: date | None = None


class Target(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How many active days the user wants of each week or month; null: as many as the streak says."""

    days: int | None


class DayStart(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How many hours after midnight the user's day begins."""

    hours: int


@post(
    "/users/{user_id:str}/streaks/{streak:str}/pause",
    status_code=200,
    tags=["progress"],
    opt=needs(Scope.COMMANDS_WRITE, not_administrative="a command on behalf of the user", command=True),
)
async def pause_streak(
    user_id: str, streak: str, data: Pause, sender: Sender, services: Services, request: AnyRequest
) -> Done:
    """Pause a streak from a day on, until another: the days between neither count nor break."""
    payload = {"from": _text(data.from_), "until": _text(data.until)}
    return await _run(services, sender.principal, STREAK_PAUSE, user_id, streak, payload, request)


@post(
    "/users/{user_id:str}/streaks/{streak:str}/restore",
    status_code=200,
    tags=["progress"],
    opt=needs(Scope.USERS_WRITE, "streak.restore", command=True),
)
async def restore_streak(
    user_id: str, streak: str, data: Restore, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Done:
    """Restore a broken streak: what was missed neither counts nor breaks any more. The reason and the key are kept."""
    by = admin.actor
    payload = {"reason": data.reason, "by": by, "from": _text(data.from_), "until": _text(data.until)}
    return await _run(
        services, admin.principal, STREAK_RESTORE, user_id, streak, payload, request, acts.of(admin, "user", "")
    )


@post(
    "/users/{user_id:str}/streaks/{streak:str}/target",
    status_code=200,
    tags=["progress"],
    opt=needs(Scope.COMMANDS_WRITE, not_administrative="a command on behalf of the user", command=True),
)
async def choose_target(
    user_id: str, streak: str, data: Target, sender: Sender, services: Services, request: AnyRequest
) -> Done:
    """Choose how many days a week or month needs for this user, from the next one on."""
    return await _run(services, sender.principal, STREAK_TARGET, user_id, streak, {"days": data.days}, request)


@post(
    "/users/{user_id:str}/streaks/{streak:str}/day-start",
    status_code=200,
    tags=["progress"],
    opt=needs(Scope.COMMANDS_WRITE, not_administrative="a command on behalf of the user", command=True),
)
async def choose_day_start(
    user_id: str, streak: str, data: DayStart, sender: Sender, services: Services, request: AnyRequest
) -> Done:
    """Choose how many hours after midnight this user's day begins, from now on."""
    return await _run(services, sender.principal, STREAK_DAY_START, user_id, streak, {"hours": data.hours}, request)


async def _run(
    services: Services,
    principal: Principal,
    type_: str,
    user: str,
    streak: str,
    payload: Body,
    request: AnyRequest,
    act: Act | None = None,
) -> Done:
    given = {name: value for name, value in payload.items() if value is not None or name == "days"}
    key = given_key(request.scope["headers"])
    is_own = principal.user is not None
    payload = {"streak": streak, **given}
    result = await execute(services, principal.project, type_, user, payload, key, act=act, own=is_own)
    outcome = result.outcome if principal.user is None else own_outcome(result.outcome)
    return Done(result.status, str(result.event_id), result.duplicate, outcome)


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
