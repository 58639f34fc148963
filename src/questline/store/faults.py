"""Which of the database's errors pass by themselves."""

import asyncpg

from questline.store.boards import EntriesMoved

ROLLED_BACK: tuple[type[BaseException], ...] = (asyncpg.TransactionRollbackError,)  # deadlock, serialization
"""Faults after which it is known that nothing was done; the same may be tried again at once."""

TRANSIENT_FAULTS: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.InterfaceError,
    asyncpg.exceptions.InternalClientError,
    *ROLLED_BACK,
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,  # shutdown, cancelled, cannot connect now
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresSystemError,
    EntriesMoved,
    OSError,
    TimeoutError,
)
"""Faults after which the same transaction may be tried again; all others are the fault of what was asked."""
