"""/v1/auth: end users who register and log in here."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, post

from questline.api.bodies import Fault, invalid
from questline.api.callers import address_of, needs
from questline.api.commands import execute
from questline.api.notes import notes_of
from questline.api.origins import check_origin
from questline.api.problems import Problem, unauthorized
from questline.api.services import Services
from questline.control.end_users import LoginTaken, Tokens
from questline.control.user_tokens import BadToken
from questline.model import calendar
from questline.model.event import PROFILE_UPDATE
from questline.model.limits import (
    LOGIN_CHARS_MAX,
    LOGIN_CHARS_MIN,
    PASSWORD_CHARS_MAX,
    SHORT_TEXT_CHARS_MAX,
    USER_PASSWORD_CHARS_MIN,
    USER_TOKEN_BYTES_MAX,
)
from questline.model.principal import Project
from questline.store import end_users

AnyRequest = Request[Any, Any, Any]
_NO_ACT = "what an end user does for themselves"

Login = Annotated[str, msgspec.Meta(min_length=LOGIN_CHARS_MIN, max_length=LOGIN_CHARS_MAX)]
Password = Annotated[str, msgspec.Meta(min_length=USER_PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX)]
Refresh = Annotated[str, msgspec.Meta(max_length=USER_TOKEN_BYTES_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=SHORT_TEXT_CHARS_MAX)]


def login_faults(fields: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with an email or a username, of which one is given."""
    given = [fields.get("email"), fields.get("username")]
    if sum(value is not None for value in given) != 1:
        return [{"field": "email", "message": "give an email or a username"}]
    email, username = given
    if email is not None and not 0 < email.find("@") < len(email) - 1:
        return [{"field": "email", "message": "must be an email address"}]
    if username is not None and "@" in username:
        return [{"field": "username", "message": "must not hold an @, which makes it an email"}]
    return []


class UserRegister(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A user who registers, by an email or a username. `appId` names the project where no key does."""

    password: Password
    email: Login | None = None
    username: Login | None = None
    display_name: Name | None = None
    timezone: str | None = None
    app_id: Name | None = None

    @staticmethod
    def faults(fields: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong with the fields given, beyond their types."""
        faults = login_faults(fields)
        try:
            if fields.get("timezone") is not None:
                calendar.zone(fields["timezone"])
        except calendar.UnknownZone as error:
            faults.append({"field": "timezone", "message": str(error)})
        return faults


class UserLogin(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A user who logs in, by what they registered with. `appId` names the project where no key does."""

    password: Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARS_MAX)]
    email: Login | None = None
    username: Login | None = None
    app_id: Name | None = None

    @staticmethod
    def faults(fields: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong with the fields given, beyond their types."""
        return login_faults(fields)


class RefreshToken(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The refresh token that was handed out last."""

    refresh_token: Refresh


class UserSession(msgspec.Struct, frozen=True, rename="camel"):
    """A session. Send the access token as Authorization: Bearer; refresh it before it is over, with a token good for once."""

    user_id: str
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    token_type: str = "Bearer"


@post("/auth/register", status_code=201, tags=["end-users"], opt=needs(None, not_administrative=_NO_ACT))
async def register_user(data: UserRegister, services: Services, request: AnyRequest) -> UserSession:
    """Make a user who logs in with a password, and log them in."""
    await services.throttles.registrations.take(address_of(request))
    if faults := UserRegister.faults(msgspec.structs.asdict(data)):
        raise invalid(faults)
    project = await _project(request, services, data.app_id)
    if not project.open_registration:
        raise Problem(403, "forbidden", "the project does not let users register: its setting registration is closed")
    try:
        session = await services.users.register(
            project.id, project.app_id, data.email or data.username or "", data.password
        )
    except LoginTaken as error:
        raise Problem(409, "login-taken", "somebody has registered with that; if it was you, log in") from error
    profile = {"displayName": data.display_name, "timezone": data.timezone}
    if given := {name: value for name, value in profile.items() if value is not None}:
        await execute(services, project, PROFILE_UPDATE, session.user, given, None)
    return _told(session)


@post("/auth/login", status_code=200, tags=["end-users"], opt=needs(None, not_administrative=_NO_ACT))
async def log_in_user(data: UserLogin, services: Services, request: AnyRequest) -> UserSession:
    """Log a user in."""
    await services.throttles.user_logins.take(address_of(request))
    if faults := UserLogin.faults(msgspec.structs.asdict(data)):
        raise invalid(faults)
    project = await _project(request, services, data.app_id)
    session = await services.users.log_in(project.id, project.app_id, data.email or data.username or "", data.password)
    if session is None:
        raise unauthorized("the login or the password is wrong")
    return _told(session)


@post("/auth/refresh", status_code=200, tags=["end-users"], opt=needs(None, not_administrative=_NO_ACT))
async def refresh_user(data: RefreshToken, services: Services, request: AnyRequest) -> UserSession:
    """Continue a session with new tokens. A refresh token that is used twice ends it."""
    try:
        await check_page(request, services, services.users.project_of(data.refresh_token))
        return _told(await services.users.refresh(data.refresh_token))
    except BadToken as error:
        raise unauthorized(str(error)) from error


@post("/auth/logout", status_code=204, tags=["end-users"], opt=needs(None, not_administrative=_NO_ACT))
async def log_out_user(data: RefreshToken, services: Services, request: AnyRequest) -> None:
    """End a session. Its access token lives on for the minutes it has left."""
    try:
        await check_page(request, services, services.users.project_of(data.refresh_token))
        await services.users.log_out(data.refresh_token)
    except BadToken as error:
        raise unauthorized(str(error)) from error


async def _project(request: AnyRequest, services: Services, app_id: str | None) -> Project:
    """Return the project that a request names, by its key or by `appId`; raises problems."""
    scope: Any = request.scope
    principal = await services.ring.named(scope["headers"], app_id, scope)
    notes = notes_of(scope)
    if notes is not None and notes.origin is not None:
        check_origin(principal, notes)
    request.scope["state"]["project"] = principal.project.app_id  # for the access log
    return principal.project


async def check_page(request: AnyRequest, services: Services, project_id: int) -> None:
    """Decide for the page, if it is one, that sends a token of a project; raises a 403 problem."""
    scope: Any = request.scope
    notes = notes_of(scope)
    if notes is None or notes.origin is None:
        return
    app_id = await end_users.app_id(services.pool, project_id)
    if app_id is not None:
        check_origin(await services.ring.anybody(app_id, scope), notes)


def _told(session: Tokens) -> UserSession:
    return UserSession(
        session.user, session.access_token, session.access_seconds, session.refresh_token, session.refresh_seconds
    )
