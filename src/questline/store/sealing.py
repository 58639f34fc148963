"""Secrets at rest: sealed with AES-256-GCM under a key of the operator's, which the database never sees.

Of several keys the first seals and every one opens, so a key is rotated by putting a new one in front, sealing anew what
the old one holds (`questline secrets reseal`), and taking the old one away.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from questline.settings import variable_of

KEY_BYTES = 32
_NONCE_BYTES = 12  # as NIST SP 800-38D has it for random nonces: safe for 2^32 secrets a key
_FORMAT = "s1"
_SETTING = variable_of("secret_keys")


class CannotSeal(Exception):
    """There is no key to seal secrets with; the message says what to set."""


class CannotOpen(Exception):
    """A secret was sealed under a key that is not there any more, or is not where it was sealed for. It must be made anew."""


class Sealer:
    """Seals and opens. What a secret is for is bound to it: one that is moved to another row does not open there."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_name(key): AESGCM(key) for key in keys}

    def seal(self, secret: str, purpose: str) -> str:
        """Return a secret as it may be stored; raises CannotSeal."""
        if not self._keys:
            raise CannotSeal(
                f"there is no key to store a secret with: the operator sets {_SETTING}, such as to the output of "
                f"`openssl rand -base64 {KEY_BYTES}`"
            )
        name, key = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        box = nonce + key.encrypt(nonce, secret.encode(), purpose.encode())
        return f"{_FORMAT}.{name}.{base64.urlsafe_b64encode(box).decode()}"

    def open(self, sealed: str, purpose: str) -> str:
        """Return the secret; raises CannotOpen."""
        _, name, text = sealed.split(".")
        key = self._keys.get(name)
        if key is None:
            raise CannotOpen(f"no key {name} among {_SETTING}, under which this was sealed")
        box = base64.urlsafe_b64decode(text)
        try:
            return key.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], purpose.encode()).decode()
        except InvalidTag:
            raise CannotOpen("a sealed secret was changed, or moved from where it belongs") from None

    def is_current(self, sealed: str) -> bool:
        """Tell whether a stored secret is sealed, and under the first key."""
        return sealed.startswith(f"{_FORMAT}.{next(iter(self._keys), '')}.")


def is_sealed(stored: str) -> bool:
    """Tell a sealed secret from one that was stored before secrets were sealed."""
    return stored.startswith(f"{_FORMAT}.")


def webhook_purpose(app_id: str) -> str:
    """Return what a project's webhook secret is sealed for."""
    return f"webhook {app_id}"


def signing_purpose(app_id: str) -> str:
    """Return what a project's signing secrets are sealed for."""
    return f"signing {app_id}"


def keys_of(setting: str) -> list[bytes]:
    """Return the keys of a setting, in base64 and parted by commas; raises ValueError, which does not repeat them."""
    keys = []
    for text in filter(None, (part.strip() for part in setting.split(","))):
        try:
            key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"each key must be {KEY_BYTES} bytes in base64, as `openssl rand -base64 {KEY_BYTES}` prints"
            )
        keys.append(key)
    return keys


def new_key() -> str:
    """Return a key for a setting."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _name(key: bytes) -> str:
    """Name a key by its hash, so that what it sealed is found again, and nothing is told of it."""
    return sha256(b"questline sealing key" + key).hexdigest()[:8]
