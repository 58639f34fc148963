"""Administrative acts that are commands: written down in the command's own transaction, with what it changed."""

from typing import Any
from uuid import UUID

import msgspec

from questline.model.audit import Act
from questline.processing.apply import Verdict
from questline.processing.outcome import outcome_of


def completed(act: Act, event_id: UUID, verdict: Verdict | None) -> Act:
    """Return an act with its event and what that changed; a command without a verdict gave up and is a dead letter.

    Balances are left out: transfers tell what moved, and the balance is the user's.
    """
    if verdict is None:
        return msgspec.structs.replace(act, event_id=event_id, after={"status": "failed"})
    status, reason, _, outcome = outcome_of(verdict)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {"status": status, "reason": reason}
    for record in outcome.get("records", ()):
        name = f"{record['kind']} {record['name']}".strip()
        before[name], after[name] = record["before"], record["after"]
    for streak in outcome.get("streaks", ()):
        name = f"streak {streak['streak']}"
        before[name], after[name] = streak["before"], streak["after"]
    if transfers := outcome.get("transfers"):
        after["transfers"] = transfers
    return msgspec.structs.replace(act, event_id=event_id, before=before or act.before, after=after)
