"""Who is calling, and the project they call for."""

from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class Role(StrEnum):
    ADMIN = "ADMIN"  # everything in the project
    INGEST = "INGEST"  # sends events, reads their status
    READONLY = "READONLY"  # reads everything in the project, writes nothing


class KeyType(StrEnum):
    SECRET = "secret"
    PUBLISHABLE = "publishable"


class DedupeStrategy(StrEnum):
    FULL = "full"
    INTENT = "intent"


class Project(msgspec.Struct, frozen=True, gc=False):
    """A project as the edge needs it; `settings` is the raw object of the projects row."""

    id: int
    organization_id: int
    app_id: str
    name: str
    timezone: str
    program_version: int
    dedupe_strategy: DedupeStrategy = DedupeStrategy.FULL
    intent_window_seconds: int = 300
    trusted_types: frozenset[str] = frozenset()
    settings: dict[str, Any] = {}


class Principal(msgspec.Struct, frozen=True, gc=False):
    """An authenticated API key and its project."""

    project: Project
    key_id: UUID
    key_type: KeyType
    role: Role
