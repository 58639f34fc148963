"""/v1/fulfilments and /v1/stocks: redemptions of the reward store, settled by whoever runs the project, and what is left.

Redeeming is a command, see api/hot/commands.py.
"""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import QueryParameter

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.commands import execute
from questline.api.hot.commands import Done
from questline.api.idempotency import given_key
from questline.api.problems import Problem
from questline.api.rewards import text_page
from questline.api.services import Services
from questline.control.rewards import FulfilmentView, StockView, fulfilment_view, stocks_of
from questline.model.event import FULFILMENT_COMPLETE, FULFILMENT_FAIL
from questline.model.limits import FULFILMENT_NOTE_CHARS_MAX, PAGE_ITEMS_DEFAULT
from questline.model.permissions import Scope
from questline.store import fulfilments, stocks
from questline.store.pool import tenant_transaction

AnyRequest = Request[Any, Any, Any]


class FulfilmentList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[FulfilmentView]
    next_cursor: str | None


class StockList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[StockView]


class Settle(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """End a fulfilment; the note is a tracking number, or why it failed."""

    note: Annotated[str, msgspec.Meta(max_length=FULFILMENT_NOTE_CHARS_MAX)] = ""
    idempotency_key: str | None = None


@get("/stocks", tags=["fulfilments"], opt=needs(Scope.REWARDS_READ))
async def list_stocks(reader: Reader, services: Services) -> StockList:
    """List what is left of everything that users share: named rewards and store items with a stock, pools of codes."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        program = await services.program(conn, reader.project)
        return StockList(stocks_of(program, await stocks.of_project(conn, reader.project.id)))


@get("/fulfilments", tags=["fulfilments"], opt=needs(Scope.REWARDS_READ))
async def list_fulfilments(
    reader: Reader,
    services: Services,
    status: Annotated[Literal["pending", "fulfilled", "failed"] | None, QueryParameter(name="status")] = None,
    user_id: Annotated[str | None, QueryParameter(name="userId")] = None,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> FulfilmentList:
    """List what was redeemed in the reward store, newest first."""
    before, limit = text_page(cursor, limit)
    if user_id is not None and "\0" in user_id:
        raise Problem(400, "invalid-parameter", "userId: must not hold a NUL character", parameter="userId")
    wanted = None if status is None else status.upper()
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        rows = await fulfilments.page(conn, reader.project.id, before, wanted, user_id, limit + 1)
        program = await services.program(conn, reader.project)
    items = [fulfilment_view(program, row) for row in rows[:limit]]
    return FulfilmentList(items, items[-1].fulfilment if len(rows) > limit else None)


@post(
    "/fulfilments/{fulfilment_id:str}/complete",
    status_code=200,
    tags=["fulfilments"],
    opt=needs(Scope.REWARDS_WRITE, "fulfilment.complete", command=True),
)
async def complete_fulfilment(
    fulfilment_id: str, data: Settle, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Done:
    """Note that a redemption was fulfilled: what waited in escrow is spent."""
    return await _settle(FULFILMENT_COMPLETE, fulfilment_id, data, admin, acts, services, request)


@post(
    "/fulfilments/{fulfilment_id:str}/fail",
    status_code=200,
    tags=["fulfilments"],
    opt=needs(Scope.REWARDS_WRITE, "fulfilment.fail", command=True),
)
async def fail_fulfilment(
    fulfilment_id: str, data: Settle, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Done:
    """Note that a redemption failed: the user gets the price back, once, and the unit is in stock again."""
    return await _settle(FULFILMENT_FAIL, fulfilment_id, data, admin, acts, services, request)


async def _settle(
    type_: str, fulfilment: str, data: Settle, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Done:
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        user = await fulfilments.owner(conn, admin.project.id, fulfilment) if "\0" not in fulfilment else None
    if user is None:
        raise Problem(404, "not-found", f"there is no fulfilment {fulfilment!r}")
    payload = {"fulfilment": fulfilment, **({"note": data.note} if data.note else {})}
    key = given_key(request.scope["headers"]) or data.idempotency_key
    result = await execute(
        services, admin.project, type_, user, payload, key, act=acts.of(admin, "fulfilment", fulfilment)
    )
    return Done(result.status, str(result.event_id), result.duplicate, result.outcome)
