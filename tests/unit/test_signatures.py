"""A signature is verified whole: who must sign, what is signed, until when, and by which secret."""

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest

from questline.ingest.signatures import SignatureRefused, Signatures
from questline.model.event import Nonce
from questline.model.hashing import nonce_hash
from questline.model.permissions import Role
from questline.model.principal import KeyType, Principal, Project, SignedEvents, Signing, SigningSecret
from questline.store.sealing import Sealer, signing_purpose

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
SEALER = Sealer([b"k" * 32])
SIGNATURES = Signatures(SEALER, lambda: NOW, 300)
BODY = b'{"type":"t","userId":"u"}'


def principal(
    required: SignedEvents = SignedEvents.REQUIRED,
    secrets: dict[str, datetime | None] | None = None,
    key_type: KeyType = KeyType.SECRET,
) -> Principal:
    sealed = tuple(
        SigningSecret(SEALER.seal(secret, signing_purpose("todo")), ends_at)
        for secret, ends_at in ({"current": None} if secrets is None else secrets).items()
    )
    project = Project(1, 1, "todo", "Todo", "UTC", 0, signing=Signing(required, sealed))
    return Principal(project, UUID(int=1), key_type, Role.INGEST, frozenset(), "key:1")


def signed(
    timestamp: str = STAMP, nonce: str = "n-1", body: bytes = BODY, secret: str = "current"
) -> list[tuple[bytes, bytes]]:
    mac = hmac.new(secret.encode(), f"{timestamp}.{nonce}.".encode() + body, sha256).hexdigest()
    return [
        (b"x-signature-timestamp", timestamp.encode()),
        (b"x-signature-nonce", nonce.encode()),
        (b"x-signature", mac.encode()),
    ]


def verdict(who: Principal, headers: list[tuple[bytes, bytes]], body: bytes = BODY) -> str:
    try:
        return "taken" if SIGNATURES.verify(who, headers, body) is not None else "unsigned"
    except SignatureRefused as refused:
        return str(refused)


def test_a_signed_request_gives_its_nonce_kept_beyond_the_tolerance() -> None:
    ends = NOW + timedelta(seconds=360)
    assert SIGNATURES.verify(principal(), signed(), BODY) == Nonce(1, nonce_hash(1, b"n-1"), ends)


MISSING, INVALID, EXPIRED = "Missing event signature headers", "Invalid signature", "Expired signature timestamp"


@pytest.mark.parametrize(
    ("what", "headers", "body", "answer"),
    [
        ("right",                      signed(),                                    BODY,        "taken"),
        ("hex in capitals",            [(n, v.upper()) for n, v in signed(nonce="N")], BODY,     "taken"),
        ("nothing",                    [],                                          BODY,        MISSING),
        ("no timestamp",               signed()[1:],                                BODY,        MISSING),
        ("no nonce",                   signed()[::2],                               BODY,        MISSING),
        ("no signature",               signed()[:2],                                BODY,        MISSING),
        ("another body",               signed(),                                    BODY + b" ", INVALID),
        ("another nonce",              [signed()[0], (b"x-signature-nonce", b"n-2"), signed()[2]], BODY, INVALID),
        ("another timestamp",          [(b"x-signature-timestamp", str(int(STAMP) + 1).encode()), *signed()[1:]], BODY, INVALID),
        ("another secret",             signed(secret="guess"),                      BODY,        INVALID),
        ("what is no hex",             [*signed()[:2], (b"x-signature", "é".encode())], BODY,    INVALID),
        ("a nonce too long",           signed(nonce="n" * 257),                     BODY,        INVALID),
        ("a nonce with a dot",         signed(nonce="n.1"),                         BODY,        INVALID),
        ("a nonce with a space",       signed(nonce="n 1"),                         BODY,        INVALID),
        ("a nonce beyond ASCII",       signed(nonce="né"),                          BODY,        INVALID),
        ("a nonce of all that it may hold", signed(nonce="aZ09_-"),                 BODY,        "taken"),
        ("at the tolerance, old",      signed(str(int(STAMP) - 300)),               BODY,        "taken"),
        ("beyond it, old",             signed(str(int(STAMP) - 301)),               BODY,        EXPIRED),
        ("at the tolerance, ahead",    signed(str(int(STAMP) + 300)),               BODY,        "taken"),
        ("beyond it, ahead",           signed(str(int(STAMP) + 301)),               BODY,        EXPIRED),
        ("milliseconds",               signed(STAMP + "123"),                       BODY,        "taken"),
        ("RFC 3339, which may hold a dot", signed("2026-11-21T12:00:00.0Z"),        BODY,        EXPIRED),
        ("digits of another script",   signed("".join(chr(0x660 + int(d)) for d in STAMP)), BODY, EXPIRED),
        ("no time at all",             signed("yesterday"),                         BODY,        EXPIRED),
        ("a time beyond all calendars", signed("9" * 19),                           BODY,        EXPIRED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_signature_is_judged_by_all_it_covers(
    what: str, headers: list[tuple[bytes, bytes]], body: bytes, answer: str
) -> None:
    assert verdict(principal(), headers, body) == answer


SECRET, PUBLISHABLE = KeyType.SECRET, KeyType.PUBLISHABLE


@pytest.mark.parametrize(
    ("required", "key_type", "unsigned", "wrongly_signed"),
    [
        (SignedEvents.OPTIONAL,    SECRET,      "unsigned", INVALID),
        (SignedEvents.OPTIONAL,    PUBLISHABLE, "unsigned", INVALID),
        (SignedEvents.SECRET_KEYS, SECRET,      MISSING,    INVALID),
        (SignedEvents.SECRET_KEYS, PUBLISHABLE, "unsigned", INVALID),
        (SignedEvents.REQUIRED,    SECRET,      MISSING,    INVALID),
        (SignedEvents.REQUIRED,    PUBLISHABLE, MISSING,    INVALID),
    ],
)  # fmt: skip
def test_who_must_sign_is_the_projects_choice_and_a_wrong_signature_is_never_taken(
    required: SignedEvents, key_type: KeyType, unsigned: str, wrongly_signed: str
) -> None:
    who = principal(required, key_type=key_type)
    assert (verdict(who, []), verdict(who, signed(secret="guess"))) == (unsigned, wrongly_signed)


def test_two_secrets_are_valid_until_the_older_one_ends() -> None:
    ahead, behind = NOW + timedelta(seconds=1), NOW
    assert verdict(principal(secrets={"new": None, "old": ahead}), signed(secret="old")) == "taken"
    assert verdict(principal(secrets={"new": None, "old": ahead}), signed(secret="new")) == "taken"
    assert verdict(principal(secrets={"new": None, "old": behind}), signed(secret="old")) == INVALID
    assert verdict(principal(secrets={}), signed()) == INVALID


def test_a_secret_that_does_not_open_any_more_takes_nothing_from_the_other() -> None:
    lost = SigningSecret(Sealer([b"x" * 32]).seal("lost", signing_purpose("todo")))
    who = principal()
    assert who.project.signing is not None
    signing = msgspec.structs.replace(who.project.signing, secrets=(lost, *who.project.signing.secrets))
    who = msgspec.structs.replace(who, project=msgspec.structs.replace(who.project, signing=signing))
    assert (verdict(who, signed()), verdict(who, signed(secret="lost"))) == ("taken", INVALID)


def test_a_signature_has_one_reading_whatever_dots_its_body_holds() -> None:
    body = b'{"type":"t","userId":"u","payload":{"amount":9.99}}'
    [stamp, nonce, mac] = signed(body=body)
    moved, _, rest = body.partition(b".")
    headers = [stamp, (nonce[0], nonce[1] + b"." + moved), mac]
    assert verdict(principal(), [stamp, nonce, mac], body) == "taken"
    assert verdict(principal(), headers, rest) == INVALID
    with pytest.raises(SignatureRefused, match=INVALID):
        SIGNATURES.begin(principal(), headers)


def test_a_body_in_pieces_is_judged_as_one() -> None:
    signature = SIGNATURES.begin(principal(), signed())
    assert signature is not None
    for piece in (BODY[:5], b"", BODY[5:]):
        signature.update(piece)
    assert SIGNATURES.check(principal().project, signature).hash == nonce_hash(1, b"n-1")
