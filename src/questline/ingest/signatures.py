"""Signed events: HMAC-SHA256 over `<timestamp>.<nonce>.<body>`, once, within a tolerance."""

import hmac
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

import structlog

from questline.ingest.instants import NoInstant, instant
from questline.model.event import Nonce
from questline.model.hashing import nonce_hash
from questline.model.limits import NONCE_MARGIN_SECONDS, SIGNATURE_NONCE_CHARS_MAX
from questline.model.principal import KeyType, Principal, Project, SignedEvents
from questline.store.sealing import CannotOpen, Sealer, signing_purpose

log = structlog.get_logger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

# Neither part of `<timestamp>.<nonce>.<body>` before the body holds a dot, so that it has one reading.
_NONCE = re.compile(rb"[A-Za-z0-9_-]{1,%d}" % SIGNATURE_NONCE_CHARS_MAX)
_SECONDS_DIGITS_MAX = 11  # a time of more digits is in milliseconds
_TIMES_MAX = 1_000  # timestamps read by one process, and looked up from then on
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


class Signed(NamedTuple):
    """What a request says of its signature, and when that says it was made."""

    timestamp: bytes
    nonce: bytes
    given: bytes
    at: datetime


class Signature:
    """The signature of a request whose body comes in pieces; `Signatures.check` judges when it is whole."""

    def __init__(self, signed: Signed, secrets: list[bytes]) -> None:
        self.signed = signed
        head = b"%b.%b." % (signed.timestamp, signed.nonce)
        self._macs = [hmac.new(secret, head, "sha256") for secret in secrets]

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        for mac in self._macs:
            mac.update(piece)

    def is_right(self) -> bool:
        """Tell whether one of the secrets made the signature."""
        return _is_one_of(self.signed.given, [mac.digest() for mac in self._macs])


class Signatures:
    """Verifies the requests of one process. `now` is the clock; `tolerance_seconds` how far a timestamp may be from it."""

    def __init__(self, sealer: Sealer, now: Callable[[], datetime], tolerance_seconds: int) -> None:
        self._sealer = sealer
        self._now = now
        self._tolerance = timedelta(seconds=tolerance_seconds)
        self._kept = timedelta(seconds=tolerance_seconds + NONCE_MARGIN_SECONDS)
        self._opened: dict[str, bytes | None] = {}
        self._times: dict[bytes, datetime] = {}

    def verify(self, principal: Principal, headers: Headers, body: bytes) -> Nonce | None:
        """Return the nonce to burn of a signed request, None of one that need not be signed; raises SignatureRefused."""
        signed = self._signed(principal, headers)
        if signed is None:
            return None
        project = principal.project
        content = b"%b.%b.%b" % (signed.timestamp, signed.nonce, body)
        macs = [hmac.digest(secret, content, "sha256") for secret in self._secrets(project)]
        if not _is_one_of(signed.given, macs):
            raise SignatureRefused(Refusal.INVALID)
        return Nonce(project.id, nonce_hash(project.id, signed.nonce), signed.at + self._kept)

    def begin(self, principal: Principal, headers: Headers) -> Signature | None:
        """Return the signature of a request whose body is still to come, None where none is needed; raises SignatureRefused.

        What is too old already, or has no signature at all, is refused before its body is read.
        """
        signed = self._signed(principal, headers)
        return None if signed is None else Signature(signed, self._secrets(principal.project))

    def check(self, project: Project, signature: Signature) -> Nonce:
        """Judge a signature whose body is whole, and return the nonce to burn; raises SignatureRefused."""
        if not signature.is_right():
            raise SignatureRefused(Refusal.INVALID)
        signed = signature.signed
        return Nonce(project.id, nonce_hash(project.id, signed.nonce), signed.at + self._kept)

    def _signed(self, principal: Principal, headers: Headers) -> Signed | None:
        """Return what a request says of its signature, None where it need not be signed; raises SignatureRefused."""
        signing = principal.project.signing
        if signing is None:
            return None
        timestamp = nonce = given = b""
        for name, value in headers:
            if name == b"x-signature":
                given = value
            elif name == b"x-signature-nonce":
                nonce = value
            elif name == b"x-signature-timestamp":
                timestamp = value
        if not (timestamp and nonce and given):
            if timestamp or nonce or given or _required(signing.required, principal.key_type):
                raise SignatureRefused(Refusal.MISSING)
            return None
        at = self._times.get(timestamp)  # those of one moment say the same second
        if at is None:
            if len(self._times) >= _TIMES_MAX:
                self._times.clear()
            at = self._times[timestamp] = _at(timestamp)
        if abs(self._now() - at) > self._tolerance:
            raise SignatureRefused(Refusal.EXPIRED)
        if _NONCE.fullmatch(nonce) is None:
            raise SignatureRefused(Refusal.INVALID)
        return Signed(timestamp, nonce, given, at)

    def _secrets(self, project: Project) -> list[bytes]:
        assert project.signing is not None
        now = self._now()
        valid = [s.sealed for s in project.signing.secrets if s.ends_at is None or s.ends_at > now]
        return [opened for sealed in valid if (opened := self._open(sealed, project)) is not None]

    def _open(self, sealed: str, project: Project) -> bytes | None:
        """Return a secret; None for one that does not open, beside which the other may still be right."""
        if sealed in self._opened:
            return self._opened[sealed]
        if len(self._opened) >= _OPENED_MAX:
            self._opened.clear()
        try:
            opened = self._sealer.open(sealed, signing_purpose(project.app_id)).encode()
        except CannotOpen as error:
            log.error("signatures.secret_lost", project=project.app_id, fault=str(error))
            opened = None
        self._opened[sealed] = opened
        return opened


def _is_one_of(given: bytes, macs: list[bytes]) -> bool:
    """Tell whether a signature is one of these, in constant time: each is compared, and whole."""
    lower = given.lower()
    right = False
    for mac in macs:
        right |= hmac.compare_digest(mac.hex().encode(), lower)
    return right


def _required(required: SignedEvents, key_type: KeyType) -> bool:
    if required is SignedEvents.SECRET_KEYS:
        return key_type is not KeyType.PUBLISHABLE
    return required is SignedEvents.REQUIRED


def _at(timestamp: bytes) -> datetime:
    """Read a time: seconds or milliseconds since 1970, in digits. What is none of these is no time within the tolerance."""
    if not timestamp.isdigit():
        raise SignatureRefused(Refusal.EXPIRED)
    text = timestamp.decode("ascii")
    if len(text) <= _SECONDS_DIGITS_MAX:
        text += "000"
    try:
        return instant(text)
    except NoInstant:
        raise SignatureRefused(Refusal.EXPIRED) from None
