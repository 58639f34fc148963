"""One mapping from what handlers raise to problem documents."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from questline.api.problems import CONTENT_TYPE, Problem, unavailable
from questline.control.boards import BoardNotFound, BoardQueryInvalid
from questline.control.programs import ProgramInvalid, StaleVersion
from questline.ingest.envelope import Invalid
from questline.store.faults import TRANSIENT_FAULTS

log = structlog.get_logger(__name__)

_CODES = {400: "invalid-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
          413: "payload-too-large", 415: "unsupported-media-type"}  # fmt: skip


def problem_of(error: Exception) -> Problem:
    """Return the problem that stands for an exception."""
    match error:
        case Problem():
            return error
        case ProgramInvalid():
            errors = [{"path": e.path, "message": e.message} for e in error.errors]
            return Problem(
                422, "invalid-program", f"the program has {len(errors)} errors; nothing was applied", errors=errors
            )
        case StaleVersion():
            return Problem(412, "stale-version", str(error), version=error.actual)
        case BoardNotFound():
            return Problem(404, "board-not-found", str(error))
        case BoardQueryInvalid():
            return Problem(400, "invalid-parameter", str(error), parameter=error.parameter)
        case Invalid():
            return Problem(422, "invalid-request", error.rejection.message, field=error.rejection.field)
        case ValidationException():
            return Problem(400, "invalid-request", _detail(error))
        case HTTPException():
            code = _CODES.get(error.status_code, "invalid-request" if error.status_code < 500 else "internal")
            detail = error.detail if error.status_code < 500 else "the server failed on this request; it was logged"
            return Problem(error.status_code, code, detail or code, headers=dict(error.headers or {}))
        case _ if isinstance(error, TRANSIENT_FAULTS):
            log.warning("request.unavailable", fault=repr(error))
            return unavailable()
    log.error("request.failed", exc_info=error)
    return Problem(500, "internal", "the server failed on this request; it was logged")


def _detail(error: ValidationException) -> str:
    found = error.extra if isinstance(error.extra, list) else []
    parts = [f"{e.get('key', '')}: {e.get('message', '')}".strip(": ") for e in found if isinstance(e, dict)]
    return "; ".join(parts) or error.detail


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer with the problem of an exception."""
    problem = problem_of(error)
    return Response(problem.body(), status_code=problem.status, media_type=CONTENT_TYPE, headers=problem.headers)
