"""/v1/coupons: pools of codes, uploaded in bulk; rewards and the store draw from them."""

from typing import Any

import msgspec
from litestar import Request, get, post

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.model.limits import COUPON_CHARS_MAX, COUPONS_UPLOAD_MAX
from questline.model.permissions import Scope
from questline.store import coupons
from questline.store.pool import tenant_transaction

_NAME_CHARS_MAX = 128  # as of every name in a program


class Uploaded(msgspec.Struct, frozen=True, rename="camel"):
    """What an upload did: codes in it, those that were new, and the pool after it."""

    pool: str
    codes: int
    new: int
    total: int
    left: int


class PoolView(msgspec.Struct, frozen=True, rename="camel"):
    """A pool's counts: codes ever uploaded, those that somebody holds, and those that are free."""

    pool: str
    total: int
    drawn: int
    left: int


@post("/coupons/{pool:str}", status_code=200, tags=["coupons"], opt=needs(Scope.REWARDS_WRITE, "coupons.upload"))
async def upload_coupons(
    pool: str,
    admin: Admin,
    acts: Acts,
    services: Services,
    request: Request,  # type: ignore[type-arg]
) -> Uploaded:
    """Upload codes: a JSON list of texts, or NDJSON with a text a line. Codes that are there stay as they are."""
    if not 0 < len(pool) <= _NAME_CHARS_MAX or "\0" in pool:
        raise Problem(400, "invalid-parameter", "a pool has a name of 1 to 128 characters", parameter="pool")
    codes = _codes(
        await request.body(), lines="json" not in request.headers.get("content-type", "").replace("ndjson", "")
    )
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        new, found = await coupons.add(conn, admin.project.id, pool, codes)
        after = {"codes": len(codes), "new": new, "total": found.added}
        await acts.write(conn, admin, "pool", pool, before={"total": found.added - new}, after=after)
    return Uploaded(pool, len(codes), new, found.added, found.added - found.drawn)


@get("/coupons/{pool:str}", tags=["coupons"], opt=needs(Scope.REWARDS_READ))
async def get_coupons(pool: str, reader: Reader, services: Services) -> PoolView:
    """Count a pool's codes; the codes themselves are told to nobody but their holders."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await coupons.counts(conn, reader.project.id, pool) if "\0" not in pool else None
    if found is None:
        raise Problem(404, "not-found", f"no codes were ever uploaded to a pool {pool!r}")
    return PoolView(pool, found.added, found.drawn, found.added - found.drawn)


def _codes(body: bytes, *, lines: bool) -> list[str]:
    """Return the codes of a body, each once; raises a 422 problem that names the first that is none."""
    try:
        values = msgspec.json.decode(body)
        if not isinstance(values, list):
            if not lines:
                raise Problem(422, "invalid-request", "the body must be a list of codes")
            values = [values]  # NDJSON of one line
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        values = [_line(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if not 0 < len(values) <= COUPONS_UPLOAD_MAX:
        raise Problem(422, "invalid-request", f"an upload has 1 to {COUPONS_UPLOAD_MAX} codes, not {len(values)}")
    for number, code in enumerate(values, 1):
        if not isinstance(code, str) or not 0 < len(code) <= COUPON_CHARS_MAX or "\0" in code:
            detail = f"code {number}: must be a text of 1 to {COUPON_CHARS_MAX} characters"
            raise Problem(422, "invalid-request", detail, field=f"[{number - 1}]")
    return list(dict.fromkeys(values))


def _line(number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = f"the body is neither a JSON list nor NDJSON: line {number}: {error}"
        raise Problem(400, "invalid-request", detail) from error
