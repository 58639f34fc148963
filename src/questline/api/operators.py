"""The operator's token: compared in constant time, and guessed at slowly."""

import hmac
from hashlib import sha256

from questline.api.throttles import Throttle
from questline.model.limits import ADMIN_TOKEN_CHARS_MIN


class Operators:
    """Knows the operator's token, by its hash alone."""

    def __init__(self, token: str, throttle: Throttle) -> None:
        self._hash = sha256(token.encode()).digest() if token else None
        self._throttle = throttle

    async def is_operator(self, given: str | None, address: str) -> bool:
        """Tell whether a token is the operator's, in constant time; without a token set, nobody is. Raises 429 problems."""
        if given is None:
            return False
        await self._throttle.take(address)
        return self._hash is not None and hmac.compare_digest(sha256(given.encode()).digest(), self._hash)


def weakness_of(token: str) -> str | None:
    """Say why a token cannot guard a server; None for one that can."""
    if not token:
        return (
            "is not set: operators need it to create projects; choose one, such as the output of `openssl rand -hex 32`"
        )
    if len(token) < ADMIN_TOKEN_CHARS_MIN:
        return f"is shorter than {ADMIN_TOKEN_CHARS_MIN} characters: choose one, such as the output of `openssl rand -hex 32`"
    return None
