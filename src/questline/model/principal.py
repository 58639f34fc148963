"""Who is calling, and the project they call for."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from questline.model.event import Nonce
from questline.model.own import allowed_commands
from questline.model.permissions import KEY_SCOPES, PUBLISHABLE_SCOPES, MemberRole, Role, Scope
from questline.model.rates import ProjectRates
from questline.model.trust import TRUSTED_TYPES

__all__ = [
    "DedupeStrategy",
    "KeyType",
    "MemberRole",
    "Principal",
    "Project",
    "Role",
    "Scope",
    "SignedEvents",
    "Signing",
    "SigningSecret",
    "scopes_of_key",
]


class KeyType(StrEnum):
    SECRET = "secret"
    PUBLISHABLE = "publishable"


class DedupeStrategy(StrEnum):
    FULL = "full"
    INTENT = "intent"


class SignedEvents(StrEnum):
    """Whose events must be signed. Signatures that are sent are verified in any case, where the project has a secret."""

    OPTIONAL = "optional"
    SECRET_KEYS = "secret-keys"  # a browser cannot keep the secret of a signature, so its key need not sign
    REQUIRED = "required"


class SigningSecret(msgspec.Struct, frozen=True, array_like=True):
    """A secret of signed events as it is stored, valid until `ends_at`."""

    sealed: str
    ends_at: datetime | None = None


class Signing(msgspec.Struct, frozen=True):
    """How a project signs its events; the newest secret comes first."""

    required: SignedEvents = SignedEvents.OPTIONAL
    secrets: tuple[SigningSecret, ...] = ()


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
    cors_origins: frozenset[str] | None = None  # pages whose requests are answered; None: it names none
    trusted_types: frozenset[str] = TRUSTED_TYPES  # event types that only servers may send
    known_types: frozenset[str] | None = None  # the only ones that are taken; None: all
    settings: dict[str, Any] = {}
    rates: ProjectRates | None = None  # what an operator grants it; None: the settings' limits
    user_commands: frozenset[str] = allowed_commands(None)  # that users may give by themselves
    open_registration: bool = True
    signing: Signing | None = None  # None: it has no secret and asks for no signature


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who calls, and for which project: an API key, or a member in one of their organization's projects.

    `key_id` is the key's id or the member's; `scopes` is all they may do; `actor` is who they are in the audit log and in
    events: key:ID or member:ID. `nonce` is set once the signature of this one request has been verified.
    """

    project: Project
    key_id: UUID
    key_type: KeyType
    role: Role
    scopes: frozenset[Scope]
    actor: str
    nonce: Nonce | None = None
    user: str | None = None  # an end user by a token of theirs, who may do what is their own (model/own.py)


def scopes_of_key(type_: KeyType, role: Role, narrowed: Iterable[str] | None) -> frozenset[Scope]:
    """Return what a key may do: all of its role, or those of its own scopes that its role still has."""
    of_role = KEY_SCOPES[role] if type_ is KeyType.SECRET else PUBLISHABLE_SCOPES
    return of_role if narrowed is None else of_role & frozenset(narrowed)
