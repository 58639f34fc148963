"""Signed events, and events of a log, are stored by statements of their own, so that others pay nothing; but just as those are."""

import re
import textwrap

from questline.store.statements import statements

ACCEPT = statements("accept")


def body(name: str, statements_: dict[str, str] = ACCEPT) -> str:
    return "\n".join(line for line in statements_[name].splitlines() if not line.startswith("-- "))


def with_nonces(accept: str) -> str:
    """Return what accept_signed must be: accept, with nonces burnt first and asked for by each event."""
    last = max(int(number) for number in re.findall(r"\$(\d+)", accept))
    burnt = f"""WITH burnt AS (
    INSERT INTO signature_nonces (project_id, nonce_hash, expires_at)
    SELECT * FROM unnest(${last + 2}::integer[], ${last + 3}::bytea[], ${last + 4}::timestamptz[]) AS n (project_id, nonce_hash, expires_at)
    ORDER BY project_id, nonce_hash
    ON CONFLICT ON CONSTRAINT signature_nonces_pk DO NOTHING
    RETURNING nonce_hash
), i AS ("""
    signed = accept.replace("WITH i AS (", burnt)
    signed = re.sub(rf"(\${last}::\w+\[\])\)", rf"\1, ${last + 1}::bytea[])", signed, count=1)
    signed = signed.replace(
        ")\n), keyed", ", nonce)\n    WHERE nonce IS NULL OR nonce IN (SELECT nonce_hash FROM burnt)\n), keyed"
    )
    stored, _ = signed.split("\nSELECT CASE")
    return (
        f"{stored}\nSELECT event_id, NULL::bytea AS nonce_hash FROM queued UNION ALL SELECT NULL, nonce_hash FROM burnt"
    )


def test_accept_signed_is_accept_with_nonces() -> None:
    assert body("accept_signed") == with_nonces(body("accept"))


def unqueued(accept: str) -> str:
    """Return what logged.store must be: accept without the queue, its events the last part."""
    head, rest = accept.split(", stored AS (\n")
    stored, _ = rest.split("\n), queued AS (\n")
    return f"{head}\n{textwrap.dedent(stored)}\nRETURNING id"


def test_what_a_log_brings_is_stored_as_accept_stores_it() -> None:
    assert body("store", statements("logged")) == unqueued(body("accept"))
