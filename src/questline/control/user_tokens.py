"""Tokens of end users: access tokens as JWTs (RFC 7519) that live shortly, refresh tokens that are used once each.

The algorithm is fixed (HS256); a token names its key (`kid`), its project and its audience. Of several keys the first
signs and every one verifies, so a key is rotated by putting a new one in front, and taking the old one away once the last
token that it signed is over.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
import msgspec

from questline.model.limits import USER_TOKEN_LEEWAY_SECONDS, USER_TOKENS_REMEMBERED

ALGORITHM = "HS256"
_ISSUER = "questline"
_AUDIENCE = "questline:user"
_REFRESH_PREFIX = "qr_"
_REFRESH_BYTES = 4 + 16 + 4


class TokensNotConfigured(Exception):
    """There is no key to sign tokens with; the message says what to set."""


class BadToken(Exception):
    """A token is none of ours, or is over; the message says which."""


class UserClaims(msgspec.Struct, frozen=True, gc=False):
    """Who an access token is of, and the session that it was given with, if any."""

    app_id: str
    user: str
    expires_at: datetime
    session: UUID | None = None


class RefreshClaims(msgspec.Struct, frozen=True):
    """Which session a refresh token continues, and how often that was continued before."""

    project_id: int
    session: UUID
    generation: int


class UserTokens:
    """Makes and reads tokens. `now` is the clock."""

    def __init__(self, keys: Sequence[bytes], now: Callable[[], datetime], setting: str) -> None:
        self._access = {_name(key): _derived(key, b"access") for key in keys}
        self._refresh = [_derived(key, b"refresh") for key in keys]
        self._now = now
        self._setting = setting
        self._read: dict[bytes, UserClaims] = {}

    def mint(self, app_id: str, user: str, seconds: int, session: UUID | None = None) -> str:
        """Return an access token of a user, and of a session of theirs; raises TokensNotConfigured."""
        if not self._access:
            raise TokensNotConfigured(
                f"there is no key to sign tokens with: the operator sets {self._setting}, such as to the output of "
                "`openssl rand -base64 32`"
            )
        name, key = next(iter(self._access.items()))
        at = int(self._now().timestamp())
        claims = {"iss": _ISSUER, "aud": _AUDIENCE, "prj": app_id, "sub": user, "iat": at, "exp": at + seconds}
        if session is not None:
            claims["sid"] = str(session)
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": name})

    def read(self, token: bytes) -> UserClaims:
        """Return who an access token is of; raises BadToken."""
        claims = self._read.get(token)
        if claims is None:
            claims = self._verified(token)
            if len(self._read) >= USER_TOKENS_REMEMBERED:
                self._read.clear()
            self._read[token] = claims
        if claims.expires_at <= self._now():
            raise BadToken("the token is over: refresh it, or log in again")
        return claims

    def refresh_token(self, claims: RefreshClaims) -> str:
        """Return the refresh token of a session's generation; raises TokensNotConfigured."""
        if not self._refresh:
            raise TokensNotConfigured(f"there is no key to sign tokens with: the operator sets {self._setting}")
        body = claims.project_id.to_bytes(4, "big") + claims.session.bytes + claims.generation.to_bytes(4, "big")
        return _REFRESH_PREFIX + base64.urlsafe_b64encode(body + _mac(self._refresh[0], body)).decode().rstrip("=")

    def read_refresh(self, token: str) -> RefreshClaims:
        """Return what a refresh token says, once it is known to be ours; raises BadToken."""
        text = token.removeprefix(_REFRESH_PREFIX)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        body, mac = raw[:_REFRESH_BYTES], raw[_REFRESH_BYTES:]
        right = [hmac.compare_digest(_mac(key, body), mac) for key in self._refresh]
        if not any(right) or len(body) != _REFRESH_BYTES:
            raise BadToken("the refresh token is none of ours")
        return RefreshClaims(int.from_bytes(body[:4], "big"), UUID(bytes=body[4:20]), int.from_bytes(body[20:], "big"))

    def _verified(self, token: bytes) -> UserClaims:
        try:
            key = self._access.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise BadToken("the token is signed with a key that is not in use here")
            # Times are compared below, with the clock that everything here goes by.
            options: Any = {
                "require": ["iss", "aud", "prj", "sub", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
            }
            claims = jwt.decode(token, key, [ALGORITHM], options, audience=_AUDIENCE, issuer=_ISSUER)
            issued, ends = _at(claims["iat"]), _at(claims["exp"])
            session = UUID(claims["sid"]) if "sid" in claims else None
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError, OverflowError) as error:
            raise BadToken("the token is none of ours, or was changed") from error
        if issued > self._now() + timedelta(seconds=USER_TOKEN_LEEWAY_SECONDS):
            raise BadToken("the token is of a time to come: check the clocks of the servers")
        return UserClaims(str(claims["prj"]), str(claims["sub"]), ends, session)


def _at(seconds: object) -> datetime:
    if type(seconds) is not int:
        raise TypeError("a time in a token must be a whole number")
    return datetime.fromtimestamp(seconds, UTC)


def _name(key: bytes) -> str:
    return sha256(b"questline token key" + key).hexdigest()[:8]


def _derived(key: bytes, purpose: bytes) -> bytes:
    """Return a key of its own for each purpose, so that a token of one kind is never one of the other."""
    return hmac.digest(key, b"questline " + purpose, "sha256")


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")
