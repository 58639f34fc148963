"""What the handlers share: built by the composition root, received by each."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry

from questline.api.addresses import Addresses
from questline.api.auth import KeyRing
from questline.api.keyed import Once
from questline.api.mints import Mints
from questline.api.operators import Operators
from questline.api.rates import Rates
from questline.api.throttles import Throttles
from questline.control.end_users import Logins
from questline.control.passwords import Passwords
from questline.control.user_tokens import UserTokens
from questline.ingest.envelope import Normaliser
from questline.model.principal import Project
from questline.processing.commands import Commands
from questline.processing.programs import Program, ProgramCache
from questline.settings import Settings
from questline.store.pool import Connection, Pool
from questline.store.sealing import Sealer


class Services(msgspec.Struct, frozen=True):
    """One process's parts, as the handlers need them."""

    settings: Settings
    pool: Pool
    ring: KeyRing
    rates: Rates
    addresses: Addresses
    operators: Operators
    throttles: Throttles
    passwords: Passwords
    sealer: Sealer
    tokens: UserTokens
    users: Logins
    normaliser: Normaliser
    commands: Commands
    programs: ProgramCache
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    registry: CollectorRegistry
    once: Once
    mints: Mints
    dry_runs: asyncio.Lock
    redis_usable: Callable[[], bool] | None = None  # None: it is not set
    ranks: Any = None  # cache.ranks.Ranks, where Redis is set: its client is optional

    async def program(self, conn: Connection, project: Project) -> Program:
        """Return the program in force, as this transaction sees it."""
        return (await self.programs.in_force(conn, [project.id]))[project.id]
