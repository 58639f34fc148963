"""One mapping from what handlers raise to problem documents."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from questline.api.bodies import faults_of, invalid, message_of
from questline.api.problems import CONTENT_TYPE, Problem, internal, of_rejection, unavailable
from questline.control.boards import BoardNotFound, BoardQueryInvalid
from questline.control.programs import ProgramInvalid, StaleVersion
from questline.control.user_tokens import TokensNotConfigured
from questline.ingest.envelope import Invalid
from questline.model.reasons import Reason
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.sealing import CannotSeal

log = structlog.get_logger(__name__)

_LEFT = "client disconnected prematurely"  # Litestar's words, which are all that tells it from a defect
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
                422, "invalid-program", f"the program has {_count(errors)}; nothing was applied", errors=errors
            )
        case StaleVersion():
            return Problem(412, "stale-version", str(error), version=error.actual)
        case BoardNotFound():
            return Problem(404, "board-not-found", str(error))
        case BoardQueryInvalid():
            return Problem(400, "invalid-parameter", str(error), parameter=error.parameter)
        case Invalid() if error.rejection.reason is Reason.PAYLOAD_TOO_LARGE:
            return of_rejection(error.rejection)
        case Invalid():
            return Problem(422, "invalid-request", error.rejection.message, field=error.rejection.field)
        case InternalServerException() if error.detail == _LEFT:
            return Problem(400, "invalid-request", "the client left before its body was complete")  # nobody reads this
        case CannotSeal() | TokensNotConfigured():
            return Problem(501, "not-configured", str(error))
        case HTTPException() if error.status_code < 500:
            code = _CODES.get(error.status_code, "invalid-request")
            return Problem(error.status_code, code, error.detail or code, headers=dict(error.headers or {}))
        case _ if isinstance(error, TRANSIENT_FAULTS):
            log.warning("request.unavailable", fault=repr(error))
            return unavailable()
    log.error("request.failed", exc_info=error)
    return internal()


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer with the problem of an exception."""
    match error:
        case ValidationException():
            problem = _invalid(request, error)
        case NotFoundException() | MethodNotAllowedException() if not request.scope.get("path_template"):
            problem = _unrouted(request)
        case _:
            problem = problem_of(error)
    return Response(problem.body(), status_code=problem.status, media_type=CONTENT_TYPE, headers=problem.headers)


def _unrouted(request: Request[Any, Any, Any]) -> Problem:
    path = request.scope["path"]
    methods = request.app.state.methods.of(path)
    if not methods or request.method in methods:
        return Problem(404, "not-found", f"there is no route {path!r}; /openapi.json lists them all")
    shown = ", ".join(methods)
    detail = f"this path takes {shown}, not {request.method}"
    return Problem(405, "method-not-allowed", detail, headers={"Allow": shown})


def _invalid(request: Request[Any, Any, Any], error: ValidationException) -> Problem:
    """Name everything that is wrong with a body, or else with the parameters."""
    found = [e for e in error.extra if isinstance(e, dict)] if isinstance(error.extra, list) else []
    if any(e.get("source") == "body" for e in found):
        data = request.route_handler.parsed_data_field
        if "body" not in request.scope["state"] or data is None:
            return Problem(400, "invalid-request", "the body is empty; send a JSON object")
        return invalid(faults_of(data.annotation, request.scope["state"]["body"]))
    handler = request.route_handler
    names = dict(handler.parsed_fn_signature.parameters)
    for dependency in handler.resolve_dependencies().values():  # a dependency's parameters are the request's, too
        names |= dependency.parsed_fn_signature.parameters
    errors = [
        {
            "field": getattr(names[e["key"]].kwarg_definition, "name", None) or e["key"],
            "message": message_of(e["message"], names[e["key"]].annotation),
        }
        for e in found
        if e.get("key") in names
    ]
    detail = "; ".join(f"{e['field']} {e['message']}" for e in errors) or error.detail
    return Problem(400, "invalid-parameter", detail, parameter=errors[0]["field"] if errors else "", errors=errors)


def _count(errors: list[Any]) -> str:
    return "1 error" if len(errors) == 1 else f"{len(errors)} errors"
