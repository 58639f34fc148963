"""Why an event ended as it did. One enum; each member's docs line is REASONS[member]."""

from enum import StrEnum


class Reason(StrEnum):
    PROCESSED = "PROCESSED"
    DUPLICATE = "DUPLICATE"
    INVALID_ENVELOPE = "INVALID_ENVELOPE"
    INVALID_COMMAND = "INVALID_COMMAND"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    UNTRUSTED_EVENT_TYPE = "UNTRUSTED_EVENT_TYPE"
    UNKNOWN_EVENT_TYPE = "UNKNOWN_EVENT_TYPE"
    SCHEMA_VIOLATION = "SCHEMA_VIOLATION"
    EVENT_IN_FUTURE = "EVENT_IN_FUTURE"
    USER_BLOCKED = "USER_BLOCKED"
    GUARD_HELD = "GUARD_HELD"
    GUARD_REFUSED = "GUARD_REFUSED"
    REVIEW_DENIED = "REVIEW_DENIED"
    UNKNOWN_REVIEW = "UNKNOWN_REVIEW"
    ALREADY_REVIEWED = "ALREADY_REVIEWED"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    UNKNOWN_ITEM = "UNKNOWN_ITEM"
    UNKNOWN_ACHIEVEMENT = "UNKNOWN_ACHIEVEMENT"
    UNKNOWN_STREAK = "UNKNOWN_STREAK"
    STREAK_NOT_BROKEN = "STREAK_NOT_BROKEN"
    NOT_OWNED = "NOT_OWNED"
    INVENTORY_FULL = "INVENTORY_FULL"
    COOLDOWN = "COOLDOWN"
    REQUIREMENT_NOT_MET = "REQUIREMENT_NOT_MET"
    ALREADY_CHECKED_IN = "ALREADY_CHECKED_IN"
    UNKNOWN_REWARD = "UNKNOWN_REWARD"
    NOT_PENDING = "NOT_PENDING"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    UNKNOWN_QUEST = "UNKNOWN_QUEST"
    QUEST_STATE = "QUEST_STATE"
    LIMIT_REACHED = "LIMIT_REACHED"
    OVERFLOW = "OVERFLOW"
    CHAIN_TOO_LONG = "CHAIN_TOO_LONG"
    TRANSIENT_ERROR = "TRANSIENT_ERROR"
    RETRY_EXHAUSTED = "RETRY_EXHAUSTED"
    ENGINE_ERROR = "ENGINE_ERROR"
    STORE_ERROR = "STORE_ERROR"


REASONS: dict[Reason, str] = {
    Reason.PROCESSED: "The program was applied; the decision says what changed.",
    Reason.DUPLICATE: "An event with the same dedupe key and content was accepted before; this one adds nothing.",
    Reason.INVALID_ENVELOPE: "The event lacks a field or a field has the wrong form; the message names it.",
    Reason.INVALID_COMMAND: "The command's payload lacks a field or a field has the wrong form; the message names it.",
    Reason.PAYLOAD_TOO_LARGE: "The event, batch or stream is over its size limit.",
    Reason.IDEMPOTENCY_KEY_REUSED: "The key belongs to an event with other content. Use a new key for a new fact.",
    Reason.UNTRUSTED_EVENT_TYPE: "A publishable key may not send this type; send it with a secret key from a server.",
    Reason.UNKNOWN_EVENT_TYPE: "The project takes only event types that its program names, and this is none of them.",
    Reason.SCHEMA_VIOLATION: "The payload does not match the type's schema; the message gives the path.",
    Reason.EVENT_IN_FUTURE: "occurredAt lies further ahead of the server's clock than is tolerated.",
    Reason.USER_BLOCKED: "The user is blocked; the event is kept and has no effect on them.",
    Reason.GUARD_HELD: "A guard holds the event for review.",
    Reason.GUARD_REFUSED: "A guard refuses the event; the message names it.",
    Reason.REVIEW_DENIED: "The event was held for review and denied; it is kept and has no effect.",
    Reason.UNKNOWN_REVIEW: "The user has no such held event.",
    Reason.ALREADY_REVIEWED: "The held event was approved or denied before; the message says which.",
    Reason.INSUFFICIENT_BALANCE: "The user has less than the command would take; nothing was taken.",
    Reason.UNKNOWN_CURRENCY: "The program has no such currency, or it cannot be spent.",
    Reason.UNKNOWN_ITEM: "The program has no such item, or it is not for sale.",
    Reason.UNKNOWN_ACHIEVEMENT: "The program has no such achievement.",
    Reason.UNKNOWN_STREAK: "The program has no such streak.",
    Reason.STREAK_NOT_BROKEN: "The streak has no break to restore.",
    Reason.NOT_OWNED: "The user has none of it left.",
    Reason.INVENTORY_FULL: "The inventory has no room for it; nothing was taken.",
    Reason.COOLDOWN: "It was used a moment ago; the message says from when on it can be used again.",
    Reason.REQUIREMENT_NOT_MET: "The user does not meet what the program requires; the message names it.",
    Reason.ALREADY_CHECKED_IN: "The user has checked in on this calendar day of theirs.",
    Reason.UNKNOWN_REWARD: "The user has no such grant or fulfilment, or the program no such reward.",
    Reason.NOT_PENDING: "It is settled: claimed, fulfilled, failed, expired or revoked; the message says which.",
    Reason.OUT_OF_STOCK: "All units or codes of it are taken; nothing was taken from the user.",
    Reason.UNKNOWN_QUEST: "The program has no such quest, or the quest has no such step.",
    Reason.QUEST_STATE: "The quest's state does not allow it: it has not begun, is under way or is over; the message says.",
    Reason.LIMIT_REACHED: "A bound of the program or of Questline was reached; the message names it.",
    Reason.OVERFLOW: "An amount or balance would pass the largest number the ledger holds.",
    Reason.CHAIN_TOO_LONG: "The consequences of the event went on for more rounds than are allowed.",
    Reason.TRANSIENT_ERROR: "A part was unavailable; the event is tried again.",
    Reason.RETRY_EXHAUSTED: "Every try failed; the event is a dead letter and can be replayed.",
    Reason.ENGINE_ERROR: "A defect of ours, or an event of a newer version. It is a dead letter and can be replayed.",
    Reason.STORE_ERROR: "The database refused the effects: a defect of ours. It is a dead letter and can be replayed.",
}
NOT_STORED = "The database refused the event itself, so it was not stored: a defect of ours."
"""STORE_ERROR of an event that is sent; one that was accepted before is a dead letter."""
