"""What a user's token reaches: its own user's part of the routes that model/own.py names, and no other route."""

from typing import Any

from litestar import Request

from questline.api.problems import Problem
from questline.model.own import HIDDEN_CHANGES, OWN_COMMANDS, OWN_READS
from questline.model.principal import Principal


def check_own(request: Request[Any, Any, Any], principal: Principal) -> None:
    """Raise a 403 problem unless a request is one that its user may make for themselves."""
    operation = operation_of(request.route_handler.fn.__name__)
    check_operation(principal, operation)
    # A route without a user, such as a board, shows what all users of the project may see.
    for named in (request.path_params.get("user_id"), request.query_params.get("userId")):
        if named is not None:
            check_user(principal, named)


def check_operation(principal: Principal, operation: str) -> None:
    """Raise a 403 problem for an operation that users may not do, or not in this project."""
    if operation in OWN_READS or operation in principal.project.user_commands:
        return
    if operation in OWN_COMMANDS:
        detail = (
            f"the project does not let its users do this by themselves: its setting userCommands.{operation} says so"
        )
        raise Problem(403, "forbidden", detail)
    raise Problem(403, "forbidden", "a user's token reaches what its user has, and does nothing else")


def check_user(principal: Principal, user: str) -> None:
    """Raise a 403 problem for somebody else, whether or not they exist."""
    if user != principal.user:
        raise Problem(403, "forbidden", "a user's token reaches what its own user has, and nobody else's")


def own_outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome as its user may see it: without what guards say."""
    shown = {name: value for name, value in outcome.items() if name != "guards"}
    records = shown.get("records")
    if records:
        shown["records"] = [record for record in records if record["kind"] not in HIDDEN_CHANGES]
    return shown


def operation_of(function: str) -> str:
    """Return what the API's description calls a handler."""
    first, *rest = function.split("_")
    return first + "".join(word.capitalize() for word in rest)
