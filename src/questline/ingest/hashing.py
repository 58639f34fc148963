"""Hashes by which events are told apart, and users spread over partitions. BLAKE2b (RFC 7693), domain-separated."""

from hashlib import blake2b

_GIVEN = b"questline:key"
_EVENT_ID = b"questline:id"
_CONTENT = b"questline:cont"
_USER = b"questline:user"


def given_key_hash(key: str) -> bytes:
    """Return the 16-byte hash of a client's idempotency key."""
    return blake2b(key.encode(), digest_size=16, person=_GIVEN).digest()


def event_id_hash(event_id: str) -> bytes:
    """Return the 16-byte hash of a client's event id; it never equals that of an idempotency key."""
    return blake2b(event_id.encode(), digest_size=16, person=_EVENT_ID).digest()


def content_hash(canonical: bytes) -> bytes:
    """Return the 16-byte hash of an event's content."""
    return blake2b(canonical, digest_size=16, person=_CONTENT).digest()


def user_hash(project_id: int, user: str) -> int:
    """Return the signed 64-bit hash of a project's user; its lowest six bits are the partition."""
    digest = blake2b(b"%d:%b" % (project_id, user.encode()), digest_size=8, person=_USER).digest()
    return int.from_bytes(digest, "big", signed=True)
