"""Signed events: HMAC-SHA256 over `<timestamp>.<nonce>.<body>`, once, within a tolerance."""

import hmac
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

from questline.ingest.instants import NoInstant, instant
from questline.model.event import Nonce
from questline.model.hashing import nonce_hash
from questline.model.limits import NONCE_MARGIN_SECONDS, SIGNATURE_NONCE_CHARS_MAX
from questline.model.principal import KeyType, Principal, Project, SignedEvents
from questline.store.sealing import Sealer, signing_purpose

Headers = Iterable[tuple[bytes, bytes]]

_SECONDS_DIGITS_MAX = 11  # a time of more digits is in milliseconds
_OPENED_MAX = 10_000  # secrets held open by one process


class Refusal(Enum):
    """Why a request's signature is not taken, in the words of its answer."""

    MISSING = "Missing event signature headers"
    INVALID = "Invalid signature"
    EXPIRED = "Expired signature timestamp"
    REPLAYED = "Replay detected"


class SignatureRefused(Exception):
    """A request is not signed as its project asks."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class Signature:
    """What a request says of its signature. The body may come in pieces; `Signatures.check` judges when it is whole."""

    def __init__(self, timestamp: bytes, nonce: bytes, given: bytes, secrets: list[bytes]) -> None:
        self.timestamp = timestamp
        self.nonce = nonce
        self._given = given.lower()
        head = b"%b.%b." % (timestamp, nonce)
        self._macs = [hmac.new(secret, head, sha256) for secret in secrets]

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        for mac in self._macs:
            mac.update(piece)

    def is_right(self) -> bool:
        """Tell whether one of the secrets made the signature; each is compared, in constant time."""
        right = [hmac.compare_digest(mac.hexdigest().encode(), self._given) for mac in self._macs]
        return any(right)


class Signatures:
    """Verifies the requests of one process. `now` is the clock; `tolerance_seconds` how far a timestamp may be from it."""

    def __init__(self, sealer: Sealer, now: Callable[[], datetime], tolerance_seconds: int) -> None:
        self._sealer = sealer
        self._now = now
        self._tolerance = timedelta(seconds=tolerance_seconds)
        self._kept = timedelta(seconds=tolerance_seconds + NONCE_MARGIN_SECONDS)
        self._opened: dict[str, bytes] = {}

    def verify(self, principal: Principal, headers: Headers, body: bytes) -> Nonce | None:
        """Return the nonce to burn of a signed request, None of one that need not be signed; raises SignatureRefused."""
        signature = self.begin(principal, headers)
        if signature is None:
            return None
        signature.update(body)
        return self.check(principal.project, signature)

    def begin(self, principal: Principal, headers: Headers) -> Signature | None:
        """Return the signature of a request whose body is still to come, None where none is needed; raises SignatureRefused.

        What is too old already, or has no signature at all, is refused before its body is read.
        """
        signing = principal.project.signing
        if signing is None:
            return None
        timestamp = nonce = given = b""
        for name, value in headers:
            if name == b"x-signature-timestamp":
                timestamp = value
            elif name == b"x-signature-nonce":
                nonce = value
            elif name == b"x-signature":
                given = value
        if not (timestamp or nonce or given) and not _required(signing.required, principal.key_type):
            return None
        if not (timestamp and nonce and given):
            raise SignatureRefused(Refusal.MISSING)
        if abs(self._now() - _at(timestamp)) > self._tolerance:
            raise SignatureRefused(Refusal.EXPIRED)
        if len(nonce) > SIGNATURE_NONCE_CHARS_MAX:
            raise SignatureRefused(Refusal.INVALID)
        return Signature(timestamp, nonce, given, self._secrets(principal.project))

    def check(self, project: Project, signature: Signature) -> Nonce:
        """Judge a signature whose body is whole, and return the nonce to burn; raises SignatureRefused."""
        if not signature.is_right():
            raise SignatureRefused(Refusal.INVALID)
        return Nonce(project.id, nonce_hash(project.id, signature.nonce), _at(signature.timestamp) + self._kept)

    def _secrets(self, project: Project) -> list[bytes]:
        assert project.signing is not None
        now = self._now()
        return [
            self._open(secret.sealed, project)
            for secret in project.signing.secrets
            if secret.ends_at is None or secret.ends_at > now
        ]

    def _open(self, sealed: str, project: Project) -> bytes:
        opened = self._opened.get(sealed)
        if opened is None:
            if len(self._opened) >= _OPENED_MAX:
                self._opened.clear()
            opened = self._opened[sealed] = self._sealer.open(sealed, signing_purpose(project.app_id)).encode()
        return opened


def _required(required: SignedEvents, key_type: KeyType) -> bool:
    if required is SignedEvents.SECRET_KEYS:
        return key_type is not KeyType.PUBLISHABLE
    return required is SignedEvents.REQUIRED


def _at(timestamp: bytes) -> datetime:
    """Read a time: seconds or milliseconds since 1970, or RFC 3339. What is none of these is no time within the tolerance."""
    text = timestamp.decode("latin-1").strip()
    if text.isascii() and text.isdigit() and len(text) <= _SECONDS_DIGITS_MAX:
        text += "000"
    try:
        return instant(text)
    except NoInstant:
        raise SignatureRefused(Refusal.EXPIRED) from None
