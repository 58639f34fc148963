"""/health, /ready, /metrics, /openapi.json and /docs: public, and not a tenant's."""

from typing import Any

from litestar import Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from questline.api.description.page import SECURITY_POLICY, page
from questline.api.problems import CONTENT_TYPE, Problem
from questline.api.services import Services
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.health import check


@get("/health", tags=["system"], sync_to_thread=False)
def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "alive"}


@get("/ready", tags=["system"])
async def ready(services: Services) -> Response[Any]:
    """Say whether each dependency can be used: 200, or 503 with what is wrong. Without Redis all goes on, only slower."""
    try:
        state = await check(services.pool)
    except TRANSIENT_FAULTS as fault:
        state = {"postgres": f"unreachable: {type(fault).__name__}"}
    is_ready = all(value == "ok" for value in state.values())
    if services.redis_usable is not None:
        state["redis"] = "ok" if services.redis_usable() else "degraded: it gives no answer, and is done without"
    if is_ready:
        return Response({"status": "ready", "dependencies": state})
    problem = Problem(503, "unavailable", "a dependency is not ready", dependencies=state)
    return Response(problem.body(), status_code=503, media_type=CONTENT_TYPE, headers={"Retry-After": "1"})


@get("/metrics", tags=["system"], include_in_schema=False, sync_to_thread=False)
def metrics(services: Services) -> Response[bytes]:
    """Show the process's metrics for Prometheus."""
    return Response(generate_latest(services.registry), media_type=CONTENT_TYPE_LATEST)


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Show the OpenAPI 3.1 document."""
    described: dict[str, Any] = request.app.state.description()
    return described


@get("/docs", include_in_schema=False, sync_to_thread=False)
def docs(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Show the same for people."""
    text = page(request.app.state.description())
    return Response(text.encode(), media_type="text/html", headers={"Content-Security-Policy": SECURITY_POLICY})
