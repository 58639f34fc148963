"""Every route that changes something can be repeated under a key, and says so."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from questline.api.app import RESOURCES, description
from questline.api.once import takes_key

CHANGES = [handler for handler in RESOURCES if takes_key(handler)]
READS = {"planProgram", "inferEventType"}
OWN = {"logOutMember", "changePassword", "changeOwnPassword"}  # a person's own session and password


def test_every_operation_that_changes_something_for_somebody_takes_a_key() -> None:
    operations = {
        operation["operationId"]: {p["name"] for p in operation["parameters"]}
        for item in description()["paths"].values()
        for method, operation in item.items()
        if method != "get" and operation["security"] != []
    }
    silent = {name for name, found in operations.items() if "Idempotency-Key" not in found}
    assert silent == READS | OWN


def test_a_route_is_a_command_when_it_runs_one_for_commands_keep_their_outcome_themselves() -> None:
    wrong = [
        h.fn.__name__ for h in CHANGES if bool(h.opt.get("command")) != hasattr(inspect.getmodule(h.fn), "execute")
    ]
    assert wrong == []
    assert len(CHANGES) > 25


SECRET_NAMES = re.compile(r"(?i)(secret|password|token|key)$")
SECRETS_SHOWN = {h.fn.__name__ for h in CHANGES if h.opt["shows_secret"]}


def texts_of(annotation: Any) -> Iterator[str]:
    """Yield the names of all texts that a reply of a type may hold."""
    for part in get_args(annotation):
        yield from texts_of(part)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        for field in msgspec.structs.fields(annotation):
            if field.type is str or str in get_args(field.type):
                yield field.encode_name
            yield from texts_of(field.type)


def test_a_route_whose_reply_holds_a_secret_says_so_for_its_reply_is_not_stored() -> None:
    found = {
        h.fn.__name__
        for h in CHANGES
        if any(SECRET_NAMES.search(name) for name in texts_of(h.parsed_fn_signature.return_type.annotation))
    }
    assert found == SECRETS_SHOWN
    assert len(found) == 10
