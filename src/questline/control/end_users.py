"""End users who register and log in here, for customers without a login of their own."""

import secrets
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from questline.control.passwords import Passwords
from questline.control.user_tokens import BadToken, RefreshClaims, UserTokens
from questline.store import end_users
from questline.store.pool import Connection, Pool, service_transaction

_USER_PREFIX = "usr_"


class LoginTaken(Exception):
    """Somebody has registered with that login."""


class Lifetimes(msgspec.Struct, frozen=True):
    """How long tokens live: an access token, and a session that nobody continues."""

    access_seconds: int
    session_seconds: int


class Tokens(msgspec.Struct, frozen=True):
    """A session's tokens, as handed out: the refresh token is good for one refresh."""

    user: str
    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_seconds: int


class Logins:
    """Registers, logs in, refreshes and logs out."""

    def __init__(
        self, pool: Pool, passwords: Passwords, tokens: UserTokens, now: Callable[[], datetime], lifetimes: Lifetimes
    ) -> None:
        self._pool = pool
        self._passwords = passwords
        self._tokens = tokens
        self._now = now
        self._lifetimes = lifetimes

    async def register(self, project_id: int, app_id: str, login: str, password: str) -> Tokens:
        """Make a user with a login, and log them in; raises LoginTaken after as long a time."""
        user = _USER_PREFIX + secrets.token_hex(12)
        claims = _new_session(project_id)
        access = self._tokens.mint(app_id, user, self._lifetimes.access_seconds, claims.session)
        hashed = await self._passwords.hashed(normal(password))
        async with service_transaction(self._pool) as conn:
            user_id = await end_users.ensure(conn, project_id, user)
            if not await end_users.add_credential(conn, project_id, folded(login), user_id, hashed, login):
                raise LoginTaken
            await self._begin(conn, claims, user_id, hashed)
        return self._told(user, access, claims)

    async def log_in(self, project_id: int, app_id: str, login: str, password: str) -> Tokens | None:
        """Log a user in; None for a wrong login as for a wrong password, and as late."""
        found = await end_users.credential(self._pool, project_id, folded(login))
        stored = None if found is None else found.password_hash
        if not await self._passwords.fits(stored, normal(password)) or found is None:
            return None
        claims = _new_session(project_id)
        access = self._tokens.mint(app_id, found.user, self._lifetimes.access_seconds, claims.session)
        if not await self._begin(self._pool, claims, found.user_id, found.password_hash):
            return None
        return self._told(found.user, access, claims)

    def project_of(self, token: str) -> int:
        """Return the project of a refresh token; raises BadToken."""
        return self._tokens.read_refresh(token).project_id

    async def refresh(self, token: str) -> Tokens:
        """Continue a session with its next tokens; raises BadToken.

        A refresh token that was used before ends its session: a copy of it is in other hands, this one or the other.
        """
        claims = self._tokens.read_refresh(token)
        app_id = await end_users.app_id(self._pool, claims.project_id)
        if app_id is None:
            raise BadToken("the project is gone")
        now, project_id = self._now(), claims.project_id
        ends = now + timedelta(seconds=self._lifetimes.session_seconds)
        user = await end_users.continue_session(self._pool, project_id, claims.session, claims.generation, now, ends)
        if user is None:
            await end_users.end_session(self._pool, project_id, claims.session, now)
            raise BadToken("the session is over, or the refresh token was used before, which ends it: log in again")
        access = self._tokens.mint(app_id, user, self._lifetimes.access_seconds, claims.session)
        return self._told(user, access, msgspec.structs.replace(claims, generation=claims.generation + 1))

    async def log_out(self, token: str) -> None:
        """End the session of a refresh token, whether or not that was used before; raises BadToken."""
        claims = self._tokens.read_refresh(token)
        await end_users.end_session(self._pool, claims.project_id, claims.session, self._now())

    async def _begin(self, conn: Connection | Pool, claims: RefreshClaims, user_id: int, password_hash: str) -> bool:
        """Begin a session of who had that password; False: it was changed since, which ends what it let in."""
        now = self._now()
        ends = now + timedelta(seconds=self._lifetimes.session_seconds)
        return await end_users.begin_session(conn, claims.project_id, claims.session, user_id, now, ends, password_hash)

    def _told(self, user: str, access: str, claims: RefreshClaims) -> Tokens:
        return Tokens(
            user,
            access,
            self._lifetimes.access_seconds,
            self._tokens.refresh_token(claims),
            self._lifetimes.session_seconds,
        )


def folded(login: str) -> str:
    """Return a login as it is compared: the same letters in another case or form are the same login."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login).casefold()).strip()


def normal(password: str) -> str:
    """Return a password in one form, however a keyboard composed its letters (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _new_session(project_id: int) -> RefreshClaims:
    return RefreshClaims(project_id, UUID(bytes=secrets.token_bytes(16), version=4), 0)
