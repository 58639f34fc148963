"""Each route says what its caller needs, and the table says it of every scope."""

from typing import Any

import pytest

from questline.api.app import RESOURCES
from questline.api.callers import CALLERS
from questline.model.permissions import PERMISSIONS, Scope

PUBLIC = {
    "create_an_app": "of operators, or of anybody in development",
    "set_rate_limits": "of operators, or of anybody in development",
    "get_schema": "the same for everybody",
    "create_organization": "of operators",
    "list_organizations": "of operators, and of members, who see their own",
    "accept_invitation": "of whoever has its token",
    "register_user": "of whoever knows the project",
    "log_in_user": "of whoever has a password",
    "refresh_user": "of whoever has a refresh token",
    "log_out_user": "of whoever has a refresh token",
    "get_own_profile": "of a user, by a token of theirs",
    "change_own_password": "of a user, by a token of theirs",
    "reset_user_password": "of whoever has its token",
    "log_in_member": "of whoever has a password",
    "log_out_member": "of who is logged in",
    "get_me": "of who is logged in",
    "change_password": "of who is logged in",
    "issue_member_password_reset": "of operators",
    "reset_member_password": "of whoever has its token",
}
"""Routes that need no scope, each with the reason."""

GUARDED = [handler for handler in RESOURCES if handler.fn.__name__ not in PUBLIC]


OF_PROJECTS = [h for h in GUARDED if "manager" not in h.parsed_fn_signature.parameters]
OF_ORGANIZATIONS = [h for h in GUARDED if h not in OF_PROJECTS]


def caller_of(handler: Any) -> str | None:
    return next((name for name in handler.parsed_fn_signature.parameters if name in CALLERS), None)


def test_every_route_names_its_scope_or_is_public_and_says_why() -> None:
    assert [h.fn.__name__ for h in GUARDED if h.opt.get("scope") not in PERMISSIONS] == []
    assert set(PUBLIC) <= {h.fn.__name__ for h in RESOURCES}


@pytest.mark.parametrize("handler", OF_PROJECTS, ids=lambda handler: handler.fn.__name__)
def test_the_type_of_a_caller_says_what_the_scope_says(handler: Any) -> None:
    caller = caller_of(handler)
    assert caller is not None
    assert CALLERS[caller] == PERMISSIONS[handler.opt["scope"]].roles


def test_no_key_may_what_is_an_organizations_and_its_path_names_it() -> None:
    allowed = {h.opt["scope"] for h in OF_ORGANIZATIONS if PERMISSIONS[h.opt["scope"]].roles} - {Scope.AUDIT_READ}
    assert allowed == set()
    assert [h.fn.__name__ for h in OF_ORGANIZATIONS if "{organization:str}" not in next(iter(h.paths))] == []


def test_a_scope_that_writes_has_a_route_that_is_no_get() -> None:
    reads = {h.opt["scope"] for h in GUARDED if h.http_methods == {"GET"}}
    writes = {h.opt["scope"] for h in GUARDED if h.http_methods != {"GET"}}
    assert {s for s in writes if s.endswith(":read")} <= {Scope.PROGRAM_READ}  # planning changes nothing
    assert {s for s in reads if s.endswith(":write")} <= {Scope.SWEEPS_WRITE}  # a preview is for who may start it


def test_every_scope_is_in_the_table_with_its_meaning_and_somebody_has_it() -> None:
    assert list(PERMISSIONS) == list(Scope)
    assert [scope for scope, p in PERMISSIONS.items() if not p.meaning or not p.members] == []
