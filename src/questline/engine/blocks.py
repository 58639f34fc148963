"""`$block` and `$unblock`: nothing is applied for a blocked user, and their standing can be off the boards meanwhile."""

from typing import TYPE_CHECKING, cast

from questline.engine.refusal import Refusal
from questline.model.guards import BlockState, SuspicionState
from questline.model.reasons import Reason
from questline.model.records import SELF, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched


def block(draft: "Draft") -> None:
    """`$block` {reason, standing: remove | keep}: block the user; one who is blocked gets the new reason and standing."""
    standing = draft.event.payload.get("standing", "remove")
    if standing not in ("remove", "keep"):
        raise Refusal(Reason.INVALID_COMMAND, "standing: must be remove or keep")
    _put(draft, blocked=True, off_boards=standing == "remove")
    draft.notice("user.blocked", reason=_reason(draft))


def unblock(draft: "Draft") -> None:
    """`$unblock` {reason}: let the user's events count again, and their standing return as it was.

    Somebody has looked at the user, so what made them suspect is done with: else their next event would block them again.
    """
    _put(draft, blocked=False, off_boards=False)
    suspicion = cast(SuspicionState | None, draft.record(RecordKind.SUSPICION, SELF))
    if suspicion is not None and suspicion.score:
        at = max(suspicion.at, draft.event.occurred_at)
        draft.put(RecordKind.SUSPICION, SELF, SuspicionState(0, at), "command:unblock")
    draft.notice("user.unblocked", reason=_reason(draft))


def touch_standing(touched: "Touched") -> None:
    """Add what tells whether a user's standing is off the boards."""
    touched.record((RecordKind.BLOCK, SELF))


def is_off_boards(draft: "Draft") -> bool:
    """Tell whether the user is blocked, and their standing off the boards."""
    state = cast(BlockState | None, draft.record(RecordKind.BLOCK, SELF))
    return state is not None and state.off_boards


def _put(draft: "Draft", *, blocked: bool, off_boards: bool) -> None:
    state = BlockState(blocked, off_boards, _reason(draft), draft.event.occurred_at)
    draft.put(RecordKind.BLOCK, SELF, state, "command:block" if blocked else "command:unblock")


def _reason(draft: "Draft") -> str:
    reason = draft.event.payload.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise Refusal(Reason.INVALID_COMMAND, "reason: must say why")
    return reason
