"""Hashes by which events are told apart, and users spread over partitions. BLAKE2b (RFC 7693).

Each kind of hash is personalised, so that a key of one kind never equals a key of another. A prepared hash is copied,
which costs half of making one.
"""

from hashlib import blake2b

_GIVEN = blake2b(digest_size=16, person=b"questline:key")
_PART = blake2b(digest_size=16, person=b"questline:part")
_COMMAND = blake2b(digest_size=16, person=b"questline:cmd")
_OWN = blake2b(digest_size=16, person=b"questline:own")
_PUBLIC = blake2b(digest_size=16, person=b"questline:public")
_EVENT_ID = blake2b(digest_size=16, person=b"questline:id")
_FULL = blake2b(digest_size=16, person=b"questline:full")
_INTENT = blake2b(digest_size=16, person=b"questline:intent")
_CONTENT = blake2b(digest_size=16, person=b"questline:cont")
_VISITOR = blake2b(digest_size=8, person=b"questline:anon")
_REPLY = blake2b(digest_size=16, person=b"questline:reply")
_REQUEST = blake2b(digest_size=16, person=b"questline:asked")
_USER = blake2b(digest_size=8, person=b"questline:user")
_NONCE = blake2b(digest_size=16, person=b"questline:nonce")


def given_key_hash(key: str) -> bytes:
    """Return the 16-byte hash of a client's idempotency key."""
    prepared = _GIVEN.copy()
    prepared.update(key.encode())
    return prepared.digest()


def part_key(key: str, index: int) -> str:
    """Return the idempotency key, 32 hex digits, of what has none itself and is at an index of a request that has one."""
    prepared = _PART.copy()
    prepared.update(f"{index}\0{key}".encode())
    return prepared.hexdigest()


def command_key_hash(type_: str, key: str) -> bytes:
    """Return the 16-byte hash of a command's idempotency key; keys of two types of command never meet."""
    prepared = _COMMAND.copy()
    prepared.update(f"{type_}\0{key}".encode())
    return prepared.digest()


def own_command_key_hash(type_: str, user: str, key: str) -> bytes:
    """Return the 16-byte hash of the key of a command that a user gives for themselves; keys of two users never meet."""
    prepared = _OWN.copy()
    prepared.update(f"{type_}\0{len(user)}\0{user}{key}".encode())
    return prepared.digest()


def public_hash(hash_: bytes) -> bytes:
    """Return the 16-byte key of what anybody may have sent, from what it is keyed by when a server sends it."""
    prepared = _PUBLIC.copy()
    prepared.update(hash_)
    return prepared.digest()


def event_id_hash(event_id: str) -> bytes:
    """Return the 16-byte hash of a client's event id."""
    prepared = _EVENT_ID.copy()
    prepared.update(event_id.encode())
    return prepared.digest()


def full_hash(canonical: bytes) -> bytes:
    """Return the 16-byte key of an event told apart by all it says, its time included."""
    prepared = _FULL.copy()
    prepared.update(canonical)
    return prepared.digest()


def intent_hash(canonical: bytes) -> bytes:
    """Return the 16-byte key of an event told apart by all it says but its time."""
    prepared = _INTENT.copy()
    prepared.update(canonical)
    return prepared.digest()


def content_hash(canonical: bytes) -> bytes:
    """Return the 16-byte hash of an event's content."""
    prepared = _CONTENT.copy()
    prepared.update(canonical)
    return prepared.digest()


def nonce_hash(project_id: int, nonce: bytes) -> bytes:
    """Return the 16-byte hash of the nonce of a signed request; those of two projects never meet."""
    prepared = _NONCE.copy()
    prepared.update(b"%d:%b" % (project_id, nonce))
    return prepared.digest()


def reply_key_hash(caller: str, key: str) -> bytes:
    """Return the 16-byte hash of a caller's idempotency key; keys of two callers never meet."""
    prepared = _REPLY.copy()
    prepared.update(f"{caller}\0{key}".encode())
    return prepared.digest()


def request_hash(key: str, method: str, path: str, query: bytes, body: bytes) -> bytes:
    """Return the 16-byte hash of what a request asks for under a key, which nobody finds out who does not know the key."""
    prepared = _REQUEST.copy()
    prepared.update(f"{key}\0{method} {path}\n".encode())
    prepared.update(b"%d:%b" % (len(query), query))
    prepared.update(body)
    return prepared.digest()


def user_hash(project_id: int, user: str) -> int:
    """Return the signed 64-bit hash of a project's user; its lowest six bits are the partition."""
    prepared = _USER.copy()
    prepared.update(b"%d:%b" % (project_id, user.encode()))
    return int.from_bytes(prepared.digest(), "big", signed=True)


def visitor_hash(project_id: int, anonymous_id: str) -> int:
    """Return the signed 64-bit hash of a project's visitor, to lock them by."""
    prepared = _VISITOR.copy()
    prepared.update(b"%d:%b" % (project_id, anonymous_id.encode()))
    return int.from_bytes(prepared.digest(), "big", signed=True)
