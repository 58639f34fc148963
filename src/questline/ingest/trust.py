"""Which events the edge lets in: types that the project takes, from who may send them."""

import msgspec

from questline.ingest.envelope import Rejection
from questline.model.event import BY_USER, CHECK_IN, PUBLISHABLE, SYSTEM_PREFIX, AcceptedEvent
from questline.model.hashing import public_hash
from questline.model.principal import KeyType, Principal
from questline.model.reasons import REASONS, Reason

_UNTRUSTED = Rejection(Reason.UNTRUSTED_EVENT_TYPE, REASONS[Reason.UNTRUSTED_EVENT_TYPE], "type")
_UNKNOWN = Rejection(Reason.UNKNOWN_EVENT_TYPE, REASONS[Reason.UNKNOWN_EVENT_TYPE], "type")
_OTHERS = Rejection(
    Reason.UNTRUSTED_EVENT_TYPE, "userId: a user's token sends events of its own user, and of nobody else", "userId"
)
_NO_CHECK_IN = Rejection(
    Reason.UNTRUSTED_EVENT_TYPE,
    "type: the project does not let its users check in by themselves: its setting userCommands.checkIn says so; "
    "send it with a secret key from a server",
    "type",
)


def admit(event: AcceptedEvent | Rejection, principal: Principal) -> AcceptedEvent | Rejection:
    """Return an event as it may go on, with a note of how it was authenticated, or why it may not.

    What anybody could have sent is keyed apart, so that it never takes the key of what a server sends.
    What is new here is asked again when the event is applied: a type may be left to servers meanwhile.
    """
    if type(event) is not AcceptedEvent:
        return event
    project = principal.project
    known = project.known_types
    if known is not None and event.type not in known and event.type[0] != SYSTEM_PREFIX:
        return _UNKNOWN
    if principal.key_type is KeyType.SECRET:
        return event
    if principal.user is not None and event.user != principal.user:
        return _OTHERS
    if event.type in project.trusted_types:
        return _UNTRUSTED
    if event.type == CHECK_IN and "checkIn" not in project.user_commands:  # the command in an event's clothes
        return _NO_CHECK_IN
    alias = event.alias_hash
    return msgspec.structs.replace(
        event,
        # A visitor may turn out to be somebody else, of whom the token says nothing.
        sent_with=PUBLISHABLE if principal.user is None or event.is_anonymous else BY_USER,
        key_hash=public_hash(event.key_hash),
        alias_hash=None if alias is None else public_hash(alias),
    )
