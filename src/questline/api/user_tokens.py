"""/v1/users/{id}/token and /v1/me: tokens for users of a customer's own login, and where an app begins with one."""

from typing import Annotated

import msgspec
from litestar import get, post

from questline.api.callers import Admin, EndUser, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import profile_for
from questline.control.profiles import Profile
from questline.model.limits import USER_ID_CHARS_MAX, USER_TOKEN_MINTED_SECONDS_MAX
from questline.model.permissions import Scope
from questline.store import end_users


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
    opt=needs(Scope.TOKENS_WRITE, not_administrative="a token of a user, for what is their own"),
)
async def mint_user_token(user_id: str, data: TokenMint, admin: Admin, services: Services) -> UserToken:
    """Make an access token of a user of yours, whom your own login has told you."""
    if not 0 < len(user_id) <= USER_ID_CHARS_MAX:
        raise Problem(422, "invalid-request", f"a user's id has 1 to {USER_ID_CHARS_MAX} characters", field="userId")
    seconds = data.expires_in or services.settings.user_token_seconds
    return UserToken(user_id, services.tokens.mint(admin.project.app_id, user_id, seconds), seconds)


@get("/me", tags=["end-users"], opt=needs(None))
async def get_own_profile(end_user: EndUser, services: Services) -> Profile:
    """Show the token's user everything they have; who is not known yet begins here, once."""
    await end_users.ensure(services.pool, end_user.project.id, end_user.id)
    return await profile_for(services, end_user.principal, end_user.id)
