"""Each route that changes something says what the audit log calls it, or why it is no administrative act."""

import inspect
import re

import pytest
from source import PACKAGE

from questline.api.app import RESOURCES
from questline.model.audit import HIDDEN, without_secrets

CHANGES = [handler for handler in RESOURCES if handler.http_methods - {"GET", "HEAD", "OPTIONS"}]


def test_every_route_that_changes_something_is_an_act_or_says_why_it_is_none() -> None:
    """Give the route's `needs(...)` an act, and write it with `acts.write` or `acts.of`; or say `not_administrative`."""
    silent = [h.fn.__name__ for h in CHANGES if bool(h.opt.get("act")) == bool(h.opt.get("not_administrative"))]
    assert silent == []


def test_every_act_is_written_by_its_handler_which_is_given_the_means() -> None:
    """That the row is there after the call, and in its transaction, is shown in tests/integration/test_audit.py."""
    acting = [h for h in CHANGES if h.opt.get("act")]
    assert [h.fn.__name__ for h in acting if "acts" not in h.parsed_fn_signature.parameters] == []
    unused = [h.fn.__name__ for h in acting if not re.search(r"\bacts\b", inspect.getsource(h.fn).partition(":\n")[2])]
    assert unused == []


def test_every_act_is_told_in_the_how_to() -> None:
    page = (PACKAGE.parents[1] / "docs/how-to/organizations-and-keys.md").read_text(encoding="utf-8")
    assert [h.opt["act"] for h in CHANGES if h.opt.get("act") and f"`{h.opt['act']}`" not in page] == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"webhookSecret": "s3", "name": "x"}, {"webhookSecret": HIDDEN, "name": "x"}),
        ({"token": "abc", "tokens": 3}, {"token": HIDDEN, "tokens": 3}),
        ({"a": [{"password": "p"}]}, {"a": [{"password": HIDDEN}]}),
        ("use sk_live_" + "0f" * 32, f"use {HIDDEN}"),
        ("or qp_" + "0f" * 32, f"or {HIDDEN}"),
        ({"url": "https://user:pass@host/x?sig=abc&z=1"}, {"url": f"https://{HIDDEN}host/x?{HIDDEN}&{HIDDEN}"}),
        ({"definition": {"on": "task"}, "n": None, "b": True}, {"definition": {"on": "task"}, "n": None, "b": True}),
    ],
)  # fmt: skip
def test_a_secret_is_hidden_wherever_it_stands(value: object, kept: object) -> None:
    assert without_secrets(value) == kept
