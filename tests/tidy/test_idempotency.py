"""Every route that changes something can be repeated under a key, and says so."""

import inspect

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
