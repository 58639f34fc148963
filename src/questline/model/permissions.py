"""Who may do what: one table, read by the handlers, the API's description and docs/reference/permissions.md."""

from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a key may do in its project."""

    ADMIN = "ADMIN"  # everything in the project
    INGEST = "INGEST"  # sends events and commands, reads events
    READONLY = "READONLY"  # reads everything but keys and the audit log, writes nothing


class MemberRole(StrEnum):
    """What a member may do in an organization and in all its projects."""

    OWNER = "owner"  # everything
    ADMIN = "admin"  # everything but to change the organization itself and its owners
    ANALYST = "analyst"  # reads


class Scope(StrEnum):
    """One thing that may be allowed. Each route names its own; a key may be narrowed to some of its role's."""

    EVENTS_WRITE = "events:write"
    EVENTS_READ = "events:read"
    COMMANDS_WRITE = "commands:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    TOKENS_WRITE = "tokens:write"
    BOARDS_READ = "boards:read"
    PROGRAM_READ = "program:read"
    PROGRAM_WRITE = "program:write"
    REWARDS_READ = "rewards:read"
    REWARDS_WRITE = "rewards:write"
    REVIEWS_READ = "reviews:read"
    REVIEWS_WRITE = "reviews:write"
    SWEEPS_READ = "sweeps:read"
    SWEEPS_WRITE = "sweeps:write"
    PROJECT_READ = "project:read"
    PROJECT_WRITE = "project:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    AUDIT_READ = "audit:read"
    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_WRITE = "organization:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    PROJECTS_WRITE = "projects:write"


class Permission(msgspec.Struct, frozen=True):
    """What a scope permits, and who has it."""

    meaning: str
    roles: frozenset[Role]
    members: frozenset[MemberRole]


_ALL = frozenset(Role)
_SENDS = frozenset({Role.ADMIN, Role.INGEST})
_READS = frozenset({Role.ADMIN, Role.READONLY})
_ADMIN = frozenset({Role.ADMIN})
_NO_KEY: frozenset[Role] = frozenset()

_EVERYONE = frozenset(MemberRole)
_MANAGES = frozenset({MemberRole.OWNER, MemberRole.ADMIN})
_OWNS = frozenset({MemberRole.OWNER})

PERMISSIONS: dict[Scope, Permission] = {
    Scope.EVENTS_WRITE: Permission("send events", _SENDS, _MANAGES),
    Scope.EVENTS_READ: Permission("read events, their status and why", _ALL, _EVERYONE),
    Scope.COMMANDS_WRITE: Permission("spend, check in, buy, claim, quests: what users do", _SENDS, _MANAGES),
    Scope.USERS_READ: Permission("read users and all they have", _READS, _EVERYONE),
    Scope.USERS_WRITE: Permission("create, update, block and unblock users, mend their streaks", _ADMIN, _MANAGES),
    Scope.TOKENS_WRITE: Permission(
        "make tokens of users, who then do what is their own, and tokens that reset their passwords", _ADMIN, _MANAGES
    ),
    Scope.BOARDS_READ: Permission("read leaderboards and leagues", _READS, _EVERYONE),
    Scope.PROGRAM_READ: Permission("read and plan the program", _READS, _EVERYONE),
    Scope.PROGRAM_WRITE: Permission("change the program", _ADMIN, _MANAGES),
    Scope.REWARDS_READ: Permission("read stocks, fulfilments and pools of codes", _READS, _EVERYONE),
    Scope.REWARDS_WRITE: Permission("revoke grants, settle fulfilments, upload codes", _ADMIN, _MANAGES),
    Scope.REVIEWS_READ: Permission("read held events", _READS, _EVERYONE),
    Scope.REVIEWS_WRITE: Permission("approve and deny held events", _ADMIN, _MANAGES),
    Scope.SWEEPS_READ: Permission("read incidents", _READS, _EVERYONE),
    Scope.SWEEPS_WRITE: Permission("report incidents, award retroactively", _ADMIN, _MANAGES),
    Scope.PROJECT_READ: Permission("read the project's settings", _READS, _EVERYONE),
    Scope.PROJECT_WRITE: Permission("change the project's settings", _ADMIN, _MANAGES),
    Scope.KEYS_READ: Permission("list keys", _ADMIN, _MANAGES),
    Scope.KEYS_WRITE: Permission("make, rotate and revoke keys that may no more than the caller", _ADMIN, _MANAGES),
    Scope.OPERATIONS_READ: Permission("read dead letters and replays", _READS, _EVERYONE),
    Scope.OPERATIONS_WRITE: Permission("retry and discard dead letters, replay events", _ADMIN, _MANAGES),
    Scope.AUDIT_READ: Permission("read and export the audit log", _ADMIN, _MANAGES),
    Scope.ORGANIZATION_READ: Permission("read the organization and its projects", _NO_KEY, _EVERYONE),
    Scope.ORGANIZATION_WRITE: Permission("rename and archive the organization", _NO_KEY, _OWNS),
    Scope.MEMBERS_READ: Permission("list members and invitations", _NO_KEY, _EVERYONE),
    Scope.MEMBERS_WRITE: Permission(
        "invite and remove members, change roles; owners only by owners", _NO_KEY, _MANAGES
    ),
    Scope.PROJECTS_WRITE: Permission("create, archive and restore projects", _NO_KEY, _MANAGES),
}

KEY_SCOPES = {role: frozenset(s for s, p in PERMISSIONS.items() if role in p.roles) for role in Role}
MEMBER_SCOPES = {role: frozenset(s for s, p in PERMISSIONS.items() if role in p.members) for role in MemberRole}
PUBLISHABLE_SCOPES = frozenset({Scope.EVENTS_WRITE})
"""What a publishable key may do by itself; trust and user tokens say the rest."""
