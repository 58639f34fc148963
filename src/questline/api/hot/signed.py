"""Signed requests on the hot paths: verified before anything is stored, answered in the four ways that they can fail."""

import tempfile
from collections.abc import AsyncIterator

import msgspec

from questline.api.asgi import Scope
from questline.api.problems import Problem, unavailable
from questline.ingest.accept import Unavailable
from questline.ingest.accepting import Accepting
from questline.ingest.signatures import Refusal, SignatureRefused, Signatures
from questline.model.event import Nonce
from questline.model.limits import SIGNED_STREAM_BYTES_IN_MEMORY
from questline.model.principal import Principal
from questline.store.nonces import Replayed

_READ_BYTES = 256 * 1024
_CODES = {
    Refusal.MISSING: (
        "missing-signature",
        "events of this project are signed: send x-signature-timestamp, x-signature-nonce and x-signature",
    ),
    Refusal.INVALID: (
        "invalid-signature",
        "x-signature is hex HMAC-SHA256 of `<timestamp>.<nonce>.<body>` under a signing secret that is valid now; "
        "the nonce is of letters, digits, - and _",
    ),
    Refusal.EXPIRED: (
        "expired-signature",
        "x-signature-timestamp is the time of signing in seconds since 1970, in digits, near the server's own time",
    ),
    Refusal.REPLAYED: ("replay-detected", "this request was taken before; to send it again, sign it with a new nonce"),
}


def refused(refusal: Refusal) -> Problem:
    """The 401 of a signature that is not taken; `hint` says how to mend it."""
    code, hint = _CODES[refusal]
    return Problem(401, code, refusal.value, headers={"WWW-Authenticate": 'Signature realm="questline"'}, hint=hint)


def replayed() -> Problem:
    """The 401 of a nonce that was burnt before."""
    return refused(Refusal.REPLAYED)


def headers_unsigned() -> Problem:
    """A signed request whose event stands in headers, which its signature does not cover."""
    detail = (
        "a binary CloudEvent stands in headers, which a signature does not cover; send application/cloudevents+json"
    )
    return Problem(415, "unsupported-media-type", detail)


def verified(signatures: Signatures, principal: Principal, scope: Scope, body: bytes) -> Principal:
    """Return the principal with the nonce of its request, if that is signed; raises a 401 problem."""
    try:
        nonce = signatures.verify(principal, scope["headers"], body)
    except SignatureRefused as error:
        raise refused(error.refusal) from None
    return principal if nonce is None else msgspec.structs.replace(principal, nonce=nonce)


async def burn(acceptor: Accepting, nonce: Nonce) -> None:
    """Burn the nonce of a request whose parts are stored one after the other; raises problems."""
    try:
        await acceptor.burn(nonce)
    except Replayed:
        raise replayed() from None
    except Unavailable as error:
        raise unavailable() from error


async def verified_chunks(
    signatures: Signatures, acceptor: Accepting, principal: Principal, scope: Scope, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield a stream's chunks; of a signed one only once all of it has come, and its signature is right. Raises problems.

    Until then it waits in memory up to a bound, and then in a temporary file. Its nonce is burnt before the first chunk.
    """
    try:
        signature = signatures.begin(principal, scope["headers"])
        if signature is None:
            async for chunk in chunks:
                yield chunk
            return
        with tempfile.SpooledTemporaryFile(SIGNED_STREAM_BYTES_IN_MEMORY) as file:
            async for chunk in chunks:
                signature.update(chunk)
                file.write(chunk)
            await burn(acceptor, signatures.check(principal.project, signature))
            file.seek(0)
            while piece := file.read(_READ_BYTES):
                yield piece
    except SignatureRefused as error:
        raise refused(error.refusal) from None
