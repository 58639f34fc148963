"""Which faults pass by themselves: one table for all who write. `docs/reference/retries.md` is written from it."""

from enum import StrEnum

import asyncpg
import msgspec
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError

from questline.model.reasons import Reason
from questline.store.boards import EntriesMoved

ROLLED_BACK: tuple[type[BaseException], ...] = (asyncpg.TransactionRollbackError,)  # deadlock, serialization
"""Faults after which it is known that nothing was done; the same may be tried again at once."""

TRANSIENT_FAULTS: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    InterfaceError,
    InternalClientError,
    *ROLLED_BACK,
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,  # shutdown, cancelled, cannot connect now
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a failover
    EntriesMoved,
    OSError,
    TimeoutError,
)
"""Faults that a caller may answer with "try again"; what an event's fault means for the event is in FAULTS."""


class Remedy(StrEnum):
    WAIT = "wait"  # the database is away: whoever needs it waits and goes on, and no event is to blame
    RETRY = "retry"  # the event is tried again later; its user's later events wait for it
    FINAL = "final"  # trying again would end the same: a dead letter at once


class Fault(msgspec.Struct, frozen=True):
    """A row of the table. `codes` are SQLSTATEs, or classes of them by their first two characters; none: all.

    `reason` is that of the attempt; an event whose retries are used up ends with RETRY_EXHAUSTED.
    """

    kind: type[BaseException]
    codes: tuple[str, ...]
    remedy: Remedy
    reason: Reason
    meaning: str


_PASSING, _STORE = Reason.TRANSIENT_ERROR, Reason.STORE_ERROR
_POSTGRES = PostgresError

FAULTS: tuple[Fault, ...] = (
    Fault(asyncpg.PostgresConnectionError, (), Remedy.WAIT, _PASSING, "the connection to PostgreSQL is lost"),
    Fault(_POSTGRES, ("57014",), Remedy.RETRY, _PASSING, "a statement was cancelled, or took too long"),
    Fault(_POSTGRES, ("53", "57", "58"), Remedy.WAIT, _PASSING, "PostgreSQL stops, starts, or lacks disk or memory"),
    Fault(_POSTGRES, ("25006",), Remedy.WAIT, _PASSING, "PostgreSQL takes no writes: a standby, or a failover"),
    Fault(_POSTGRES, ("40", "55"), Remedy.RETRY, _PASSING, "a deadlock, a serialization failure, a lock not to be had"),
    Fault(_POSTGRES, ("0A", "3F", "42"), Remedy.RETRY, _PASSING, "the schema is not this release's (yet)"),
    Fault(_POSTGRES, ("XX",), Remedy.RETRY, _PASSING, "PostgreSQL failed internally"),
    Fault(_POSTGRES, (), Remedy.FINAL, _STORE, "a constraint is violated, or PostgreSQL cannot read a value"),
    Fault(ValueError, (), Remedy.FINAL, _STORE, "a value cannot be sent to PostgreSQL"),
    Fault(InterfaceError, (), Remedy.RETRY, _PASSING, "the connection cannot be used"),
    Fault(InternalClientError, (), Remedy.RETRY, _PASSING, "the driver failed"),
    Fault(EntriesMoved, (), Remedy.RETRY, _PASSING, "board entries moved while they were counted"),
    Fault(TimeoutError, (), Remedy.RETRY, _PASSING, "PostgreSQL did not answer in time"),
    Fault(OSError, (), Remedy.WAIT, _PASSING, "PostgreSQL cannot be reached"),
    Fault(MemoryError, (), Remedy.RETRY, _PASSING, "the process has no memory left"),
    Fault(Exception, (), Remedy.FINAL, _STORE, "anything else: a defect of ours"),
)
"""The first row that fits counts. What the engine itself raises is final as well, with ENGINE_ERROR for its reason."""


def passes(error: BaseException) -> bool:
    """Tell whether a fault may be over when the same is tried again: nothing that was sent is to blame."""
    return classify(error).remedy is not Remedy.FINAL


def classify(error: BaseException) -> Fault:
    """Return the row of the table for a fault."""
    code = getattr(error, "sqlstate", None) or ""
    for fault in FAULTS:
        if isinstance(error, fault.kind) and (not fault.codes or code in fault.codes or code[:2] in fault.codes):
            return fault
    return FAULTS[-1]


NOT_LET_IN: tuple[type[BaseException], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,  # wrong passwords are of its kind
    asyncpg.InvalidCatalogNameError,
)
"""PostgreSQL answers, and knows no such role, password or database: settings are wrong, or it is not set up yet."""

OUTSIDE_FAULTS = (*TRANSIENT_FAULTS, *NOT_LET_IN)
"""Faults of what is around us: told in a line, where a defect of ours is told with its stack."""
