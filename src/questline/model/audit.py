"""An administrative act, as the audit log keeps it: who did what to what, and what that changed."""

import re
from typing import Any
from uuid import UUID

import msgspec

OPERATOR = "operator"  # the actor who sent X-Admin-Token
DEVELOPER = "developer"  # anybody, in development
THEMSELVES = "user"  # an end user, who is the target: their id is a word of the customer's

HIDDEN = "(hidden)"

_SECRET_NAMES = re.compile(r"secret|password|token|authorization|api_?key", re.IGNORECASE)
_SECRETS = re.compile(
    r"\b(?:[sp]k_live_|ss_live_|q[mip]_)[0-9a-f]{64}\b|\bqr_[\w-]{40,}|\beyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|(?<=://)[^/\s@]+@|(?<=[?&])[^=&\s]+=[^&\s]*"
)


class Act(msgspec.Struct, frozen=True):
    """One row of the log, before it is written.

    `project_id` None: an act on the organization itself. `target` is empty for a user whom the event names, and
    else their id here. `before` and
    `after` are what the act changed, as JSON can show it.
    """

    id: UUID
    organization_id: int
    project_id: int | None
    actor: str
    action: str
    target_kind: str
    target: str
    before: Any
    after: Any
    event_id: UUID | None
    correlation_id: str
    address: str


def without_secrets(value: Any) -> Any:
    """Return a value without what nobody may read: members named as secrets are, keys and tokens, credentials in URLs."""
    if isinstance(value, str):
        return _SECRETS.sub(HIDDEN, value)
    if isinstance(value, dict):
        return {
            name: HIDDEN if _SECRET_NAMES.search(str(name)) and isinstance(item, str) else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value
