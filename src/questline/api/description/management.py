"""Examples of what manages: projects, organizations, members, keys, the audit log. The others are in examples.py."""

from typing import Any

from questline.api.description.access import AT, ID
from questline.api.description.examples import APP

_ORGANIZATION = {"id": "acme", "name": "Acme", "role": "owner", "createdAt": AT, "archivedAt": None}
_MEMBER = {"id": ID, "email": "ada@example.com", "name": "Ada", "role": "owner", "since": AT}
_INVITATION = {
    "id": ID, "email": "bob@example.com", "role": "analyst", "invitedBy": f"member:{ID}", "createdAt": AT, "expiresAt": AT,
    "acceptedAt": None, "revokedAt": None, "open": True,
}  # fmt: skip
_ACCOUNT = {
    "id": ID, "email": "ada@example.com", "name": "Ada",
    "organizations": [{"organization": "acme", "name": "Acme", "role": "owner"}],
}  # fmt: skip
_KEY = {
    "id": ID, "prefix": "sk_live_1f3a", "type": "secret", "role": "INGEST", "name": "till",
    "scopes": ["events:write"], "createdAt": AT, "expiresAt": None,
}  # fmt: skip
_NEW_KEY = {**_KEY, "key": f"sk_live_{'1f3a' * 16}"}

SCHEMAS: dict[str, Any] = {
    "ProjectUpdate": {"name": "Todo", "settings": {"dedupeStrategy": "intent"}},
    "ProjectList": {"items": [APP], "nextCursor": None},
    "OrganizationCreate": {"id": "acme", "name": "Acme"},
    "OrganizationUpdate": {"name": "Acme Inc."},
    "Organization": _ORGANIZATION,
    "OrganizationList": {"items": [_ORGANIZATION], "nextCursor": None},
    "MemberList": {"items": [_MEMBER]},
    "MemberUpdate": {"role": "admin"},
    "Invite": {"email": "bob@example.com", "role": "analyst"},
    "Invited": {"invitation": _INVITATION, "token": f"qi_{'1f3a' * 16}"},
    "InvitationList": {"items": [_INVITATION], "nextCursor": None},
    "Accept": {"token": f"qi_{'1f3a' * 16}", "name": "Bob", "password": "correct horse battery"},
    "Joined": {"memberId": ID, "email": "bob@example.com", "role": "analyst"},
    "Login": {"email": "ada@example.com", "password": "correct horse battery"},
    "LoggedIn": {"token": f"qm_{'1f3a' * 16}", "expiresAt": AT, "member": _ACCOUNT},
    "Account": _ACCOUNT,
    "PasswordChange": {"password": "correct horse battery", "newPassword": "staple of some length"},
    "MemberReset": {"memberId": ID, "email": "ada@example.com", "token": f"qp_{'1f3a' * 16}", "expiresAt": AT},
    "ForgottenMemberPassword": {"token": f"qp_{'1f3a' * 16}", "newPassword": "staple of some length"},
    "ActPage": {
        "items": [
            {
                "id": ID,
                "at": AT,
                "actor": f"key:{ID}",
                "action": "key.revoke",
                "target": {"kind": "key", "id": ID},
                "before": {"revokedAt": None},
                "after": {"revokedAt": AT},
                "eventId": None,
                "correlationId": ID,
                "address": "192.0.2.1",
                "appId": "todo",
            }
        ],
        "nextCursor": None,
    },
    "KeyCreate": {"type": "secret", "role": "INGEST", "name": "till", "scopes": ["events:write"]},
    "NewKey": _NEW_KEY,
    "KeyRotate": {"overlapSeconds": 3600},
    "Rotated": {"key": _NEW_KEY, "oldKeyId": ID, "oldKeyEndsAt": AT},
    "KeyList": {"items": [{**_KEY, "lastUsedAt": AT, "revokedAt": None, "replacedBy": None}]},
}
