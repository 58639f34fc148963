"""/v1/auth/password, /v1/users/{id}/password-reset and /v1/auth/reset: another password of an end user who logs in here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import post

from questline.api.acts import Acts, At
from questline.api.bodies import Fault, invalid
from questline.api.callers import Admin, AnyRequest, EndUser, address_of, needs
from questline.api.end_users import Login, Password, check_page, login_faults
from questline.api.invitations import Secret
from questline.api.problems import Problem, unauthorized
from questline.api.services import Services
from questline.control.end_users import folded, normal
from questline.control.password_changes import (
    PasswordChanged,
    ResetOver,
    change_of_user,
    issue_to_user,
    project_of_reset,
    reset_user,
)
from questline.model.audit import THEMSELVES
from questline.model.limits import PASSWORD_CHARS_MAX
from questline.model.permissions import Scope
from questline.store import end_users
from questline.store.end_users import Credential, NoLogin
from questline.store.pool import service_transaction


class OwnPasswordChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The password now, and the next."""

    current_password: Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARS_MAX)]
    new_password: Password


class ForgottenLogin(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What somebody who forgot their password logs in with."""

    email: Login | None = None
    username: Login | None = None

    @staticmethod
    def faults(fields: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong with the fields given, beyond their types."""
        return login_faults(fields)


class PasswordReset(msgspec.Struct, frozen=True, rename="camel"):
    """A token for one reset, shown this once. Send it to `login`, as it was registered, and not to what somebody has typed now.

    Without `login` the user registered before that was kept: send it to the address that you have of them.
    """

    user_id: str
    login: str | None
    token: str
    expires_at: datetime


class ForgottenPassword(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The token of a reset, and the next password."""

    token: Secret
    new_password: Password


@post("/auth/password", status_code=204, tags=["end-users"], opt=needs(None, "user.change_password"))
async def change_own_password(
    data: OwnPasswordChange, end_user: EndUser, acts: Acts, services: Services, request: AnyRequest
) -> None:
    """Choose another password, by the one now. All sessions of the user end but that of the token."""
    project = end_user.project
    await services.throttles.user_logins.take(address_of(request))
    await services.throttles.user_logins.take(f"{project.id} {end_user.id}")  # who has a token comes from anywhere
    try:
        found = await end_users.credential_of(services.pool, project.id, end_user.id)
    except NoLogin:
        found = None
    if found is None:
        raise _no_login(end_user.id)
    if not await services.passwords.fits(found.password_hash, normal(data.current_password)):
        raise unauthorized("the password is wrong")
    hashed = await services.passwords.hashed(normal(data.new_password))
    try:
        async with service_transaction(services.pool) as conn:
            ended = await change_of_user(conn, project.id, found, hashed, end_user.session, services.now())
            by = At(THEMSELVES, project.organization_id, project.id)
            await acts.write(conn, by, "user", found.user_id, after={"sessionsEnded": ended})
    except PasswordChanged as error:
        raise unauthorized("the password is wrong: it was changed a moment ago") from error


@post(
    "/users/{user_id:str}/password-reset",
    status_code=201,
    tags=["end-users"],
    opt=needs(Scope.TOKENS_WRITE, "user.issue_reset", shows_secret=True),
)
async def issue_password_reset(user_id: str, admin: Admin, acts: Acts, services: Services) -> PasswordReset:
    """Make a token by which a user chooses another password, once, within an hour; your server sends it to them."""
    try:
        found = await end_users.credential_of(services.pool, admin.project.id, user_id)
    except NoLogin as error:
        raise _no_login(user_id) from error
    if found is None:
        raise Problem(404, "not-found", f"there is no user {user_id!r}")
    return await _issued(found, admin, acts, services)


@post(
    "/users/password-reset",
    status_code=201,
    tags=["end-users"],
    opt=needs(Scope.TOKENS_WRITE, "user.issue_reset", shows_secret=True),
)
async def issue_reset_of_login(data: ForgottenLogin, admin: Admin, acts: Acts, services: Services) -> PasswordReset:
    """Make such a token for whoever logs in with an email or a username."""
    if faults := ForgottenLogin.faults(msgspec.structs.asdict(data)):
        raise invalid(faults)
    login = folded(data.email or data.username or "")
    found = await end_users.credential(services.pool, admin.project.id, login)
    if found is None:
        raise Problem(404, "not-found", "nobody logs in with that; to a visitor, answer as if somebody did")
    return await _issued(found, admin, acts, services)


@post("/auth/reset", status_code=204, tags=["end-users"], opt=needs(None, "user.reset_password"))
async def reset_user_password(data: ForgottenPassword, acts: Acts, services: Services, request: AnyRequest) -> None:
    """Choose another password, by the token of a reset, once. All sessions of the user end."""
    await services.throttles.user_logins.take(address_of(request))
    project_id = await project_of_reset(services.pool, data.token, services.now())
    if project_id is None:
        raise reset_over()  # before anything is hashed, which is dear
    await check_page(request, services, project_id)
    hashed = await services.passwords.hashed(normal(data.new_password))
    try:
        async with service_transaction(services.pool) as conn:
            row, ended = await reset_user(conn, data.token, hashed, services.now())
            by = At(THEMSELVES, row.organization_id, row.project_id)
            await acts.write(conn, by, "user", row.user_id, after={"sessionsEnded": ended})
    except ResetOver as error:
        raise reset_over() from error


def reset_over() -> Problem:
    """Return the problem of a token that resets nothing: the same whatever the reason."""
    return Problem(404, "not-found", "there is no such reset, or it was used, or is over: ask for another")


async def _issued(found: Credential, admin: Admin, acts: Acts, services: Services) -> PasswordReset:
    async with service_transaction(services.pool) as conn:
        issued = await issue_to_user(conn, admin.project.id, found.user_id, services.now())
        await acts.write(conn, admin, "user", found.user_id, after={"expiresAt": issued.expires_at})
    return PasswordReset(found.user, found.registered_as, issued.token, issued.expires_at)


def _no_login(user: str) -> Problem:
    detail = f"user {user!r} has no login here, so no password: they come by tokens that your server asks for"
    return Problem(409, "no-login", detail)
