"""/v1/users/{id}/token and /v1/me: tokens for users of a customer's own login, and where an app begins with one."""

from typing import Annotated, cast

import msgspec
from litestar import get, post

from questline.api import asgi
from questline.api.acts import Acts
from questline.api.callers import Admin, AnyRequest, EndUser, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import profile_for
from questline.control.profiles import Profile
from questline.model.limits import USER_ID_CHARS_MAX, USER_TOKEN_MINTED_SECONDS_MAX
from questline.model.permissions import Scope
from questline.store import end_users
from questline.store.pool import OneConnection, service_transaction


class TokenMint(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How long the token is to live, in seconds."""

    expires_in: Annotated[int, msgspec.Meta(ge=1, le=USER_TOKEN_MINTED_SECONDS_MAX)] | None = None


class UserToken(msgspec.Struct, frozen=True, rename="camel"):
    """An access token of a user; there is nothing to refresh it with: ask for another."""

    user_id: str
    access_token: str
    expires_in: int
    token_type: str = "Bearer"


@post(
    "/users/{user_id:str}/token",
    status_code=201,
    tags=["end-users"],
    opt=needs(Scope.TOKENS_WRITE, "user.mint_token", shows_secret=True),
)
async def mint_user_token(
    user_id: str, data: TokenMint, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> UserToken:
    """Make an access token of a user of yours, whom your own login has told you; who is not known yet begins here.

    The audit log is told of the first that a caller has made for a user, from an address, on a day.
    """
    if not 0 < len(user_id) <= USER_ID_CHARS_MAX or "\0" in user_id:
        detail = f"a user's id has 1 to {USER_ID_CHARS_MAX} characters, none of them NUL"
        raise Problem(422, "invalid-request", detail, field="userId")
    seconds = data.expires_in or services.settings.user_token_seconds
    mint = services.now().date(), admin.actor, user_id, services.addresses.client_of(cast(asgi.Scope, request.scope))
    if not services.mints.is_told(*mint):
        async with service_transaction(services.pool) as conn:
            known_as = await end_users.ensure(conn, admin.project.id, user_id)
            await acts.write(conn, admin, "user", known_as, after={"expiresIn": seconds})
        if not isinstance(services.pool, OneConnection):  # whose transaction has not ended yet
            services.mints.told(*mint)
    return UserToken(user_id, services.tokens.mint(admin.project.app_id, user_id, seconds), seconds)


@get("/me", tags=["end-users"], opt=needs(None))
async def get_own_profile(end_user: EndUser, services: Services) -> Profile:
    """Show the token's user everything they have; who is not known yet begins here, once."""
    await end_users.ensure(services.pool, end_user.project.id, end_user.id)
    return await profile_for(services, end_user.principal, end_user.id)
