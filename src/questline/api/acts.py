"""Writing down administrative acts: what a handler is given to tell the audit log of what it does."""

from typing import Any, Protocol
from uuid import UUID

import msgspec
from litestar import Request

from questline.model.audit import Act
from questline.store import audit
from questline.store.pool import Connection


class Actor(Protocol):
    """Who acts, and where."""

    @property
    def actor(self) -> str: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def project_id(self) -> int | None: ...


class At(msgspec.Struct, frozen=True):
    """An actor who is told where they act: one who is no tenant's."""

    actor: str
    organization_id: int
    project_id: int | None = None


class Acts:
    """Acts of one request. What it does is named by its route, in `needs(..., act=...)`."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self._request = request

    async def write(
        self, conn: Connection, by: Actor, kind: str, target: object, *, before: Any = None, after: Any = None
    ) -> None:
        """Write an act down in the transaction of what it does."""
        await audit.add(conn, [self.of(by, kind, target, before=before, after=after)])

    def of(self, by: Actor, kind: str, target: object, *, before: Any = None, after: Any = None) -> Act:
        """Return an act that a command will write down, with what it changed, in its own transaction."""
        request = self._request
        services = request.app.state.services
        new_id: UUID = services.new_id()
        return Act(
            id=new_id,
            organization_id=by.organization_id,
            project_id=by.project_id,
            actor=by.actor,
            action=request.route_handler.opt["act"],
            target_kind=kind,
            target=str(target),
            before=before,
            after=after,
            event_id=None,
            correlation_id=request.scope["state"].get("correlation", ""),
            address=services.addresses.client_of(request.scope),
        )
