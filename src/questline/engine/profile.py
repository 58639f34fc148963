"""`$profile_update`: attributes, name and zone of a user, as of when the customer said so."""

from collections.abc import Mapping
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import msgspec

from questline.engine import streaks
from questline.engine.choices import choices_of, day_start_hours
from questline.engine.refusal import Refusal
from questline.engine.runs import milestones_of, pay_milestones
from questline.model import calendar
from questline.model.calendar import ZoneHistory
from questline.model.decision import ProfileChange
from questline.model.event import PUBLISHABLE
from questline.model.limits import ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, DISPLAY_NAME_CHARS_MAX, ZONE_CHANGES_MAX
from questline.model.nul import holds_nul
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_DATES_APART = timedelta(days=2)  # a date that one zone shows has come to all others within this: it takes 26 hours
_NAMED_MAX = 20  # attributes in one message
_encode = msgspec.json.Encoder().encode


def update_profile(draft: "Draft") -> None:
    """`$profile_update` {attributes, displayName, timezone}: merge; null removes an attribute, a name or a zone.

    Dates are taken in the zone in force when an event happened, so a change of zone re-dates nothing; a local date that
    the change itself skips, and no zone before has shown, is excused in every daily streak. A change that comes late may so
    join two runs, and what their length earns is paid like any other. What the sender may not set is left out, and the rest
    is done.

    Each event of a user reads all of their attributes, so these are bounded. Who has more already may have less, or change
    what they have.
    """
    payload, state, at = _settable(draft), draft.state, draft.event.occurred_at
    attributes = _merged(state.attributes, payload.get("attributes", {}))
    name = payload.get("displayName", state.display_name)
    if name != state.display_name:
        _check_name(name)
    zone_name, history = payload.get("timezone", state.timezone), state.zone_history
    if zone_name != state.timezone:
        new = _zone(draft.program.timezone if zone_name is None else zone_name)
        history = (*((until, z) for until, z in history if until < at), (at, state.timezone))[-ZONE_CHANGES_MAX:]
        _excuse(draft, history, new)
    draft.profile = ProfileChange(attributes, name, zone_name, history)


def _settable(draft: "Draft") -> dict[str, Any]:
    """Return the payload without what its sender may not set, which the decision's message then names.

    Anybody could have sent what comes with a publishable key, and a user gains by what the program reads of them.
    """
    event, state = draft.event, draft.state
    if event.sent_with is None:
        return event.payload
    payload, said = dict(event.payload), []
    attributes = payload.get("attributes")
    if isinstance(attributes, dict) and (read := draft.program.attributes_read & attributes.keys()):
        payload["attributes"] = {name: value for name, value in attributes.items() if name not in read}
        changed = sorted(name for name in read if attributes[name] != state.attributes.get(name))
        if changed:
            named = ", ".join(changed[:_NAMED_MAX]) + (" and others" if len(changed) > _NAMED_MAX else "")
            said.append(f"attributes {named}: left out, because the program reads them: send them with a secret key")
    if event.sent_with == PUBLISHABLE:
        for name, own in (("displayName", state.display_name), ("timezone", state.timezone)):
            if own is not None and payload.pop(name, own) != own:
                said.append(
                    f"{name}: left out, because the user has one: send it with a secret key or the user's token"
                )
    draft.message = "; ".join(said)
    return payload


def _merged(kept: Mapping[str, Any], changes: Any) -> dict[str, Any]:
    if not isinstance(changes, dict):
        raise Refusal(Reason.INVALID_COMMAND, "attributes: must be an object")
    if holds_nul(changes):
        raise Refusal(Reason.INVALID_COMMAND, "attributes: must not hold a NUL character")
    attributes = {**kept, **changes}
    for key, value in changes.items():
        if value is None:
            del attributes[key]
    if len(attributes) > max(ATTRIBUTES_MAX, len(kept)):
        raise Refusal(Reason.LIMIT_REACHED, f"attributes: a user has {ATTRIBUTES_MAX} at most; null removes one")
    size = len(_encode(attributes))
    if size > ATTRIBUTES_BYTES_MAX and size > len(_encode(kept)):
        detail = f"attributes: those of a user have {ATTRIBUTES_BYTES_MAX} bytes of JSON at most; null removes one"
        raise Refusal(Reason.LIMIT_REACHED, detail)
    return attributes


def _check_name(name: Any) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise Refusal(Reason.INVALID_COMMAND, "displayName: must be text or null")
    if "\0" in name:
        raise Refusal(Reason.INVALID_COMMAND, "displayName: must not hold a NUL character")
    if len(name) > DISPLAY_NAME_CHARS_MAX:
        raise Refusal(Reason.LIMIT_REACHED, f"displayName: has {DISPLAY_NAME_CHARS_MAX} characters at most")


def _zone(name: Any) -> Any:
    try:
        return calendar.zone(name)
    except (calendar.UnknownZone, TypeError) as error:
        raise Refusal(Reason.INVALID_COMMAND, f"timezone: {error}") from error


def _excuse(draft: "Draft", history: ZoneHistory, new: tzinfo) -> None:
    at = draft.event.occurred_at
    if len(history) == ZONE_CHANGES_MAX and at - history[0][0] < _DATES_APART:
        return  # a date may have been shown that is not remembered; no traveller changes zones so often
    left = [(until, calendar.zone(name or draft.program.timezone)) for until, name in history[:-1]]
    for name, definition in draft.program.streaks.items():
        if definition.every == "day":
            hours = day_start_hours(definition, choices_of(draft, name), at)
            days = calendar.skipped_days([*left, (at, draft.zone)], new, hours)
            change = streaks.excuse(name, definition, draft.state.streaks.get(name), days) if days else None
            if change is not None:
                draft.streaks[name] = change
                pay_milestones(draft, name, milestones_of(definition), change)
