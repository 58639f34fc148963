"""Examples of who gets in, and by what: secrets of signed events, logins and tokens of end users."""

from typing import Any

ID = "019aa8f2-6f3e-7000-8000-000000000000"
AT = "2025-11-21T12:00:00Z"

ACCESS: dict[str, Any] = {
    "SecretRotate": {"overlapSeconds": 86400},
    "NewSecret": {"id": ID, "secret": f"ss_live_{'1f3a' * 16}", "prefix": "ss_live_1f3a"},
    "SecretList": {"items": [{"id": ID, "prefix": "ss_live_1f3a", "createdAt": AT, "endsAt": None}]},
    "UserRegister": {"email": "ada@example.com", "password": "a long enough one", "displayName": "Ada", "appId": "todo"},
    "UserLogin": {"email": "ada@example.com", "password": "a long enough one", "appId": "todo"},
    "RefreshToken": {"refreshToken": "qr_AAAAAQ"},
    "UserSession": {
        "userId": "usr_1f3a", "accessToken": "eyJhbGciOiJIUzI1NiJ9", "expiresIn": 900, "refreshToken": "qr_AAAAAQ",
        "refreshExpiresIn": 2592000, "tokenType": "Bearer",
    },
    "OwnPasswordChange": {"currentPassword": "a long enough one", "newPassword": "another long one"},
    "ForgottenLogin": {"email": "ada@example.com"},
    "PasswordReset": {"userId": "usr_1f3a", "login": "ada@example.com", "token": f"qp_{'1f3a' * 16}", "expiresAt": AT},
    "ForgottenPassword": {"token": f"qp_{'1f3a' * 16}", "newPassword": "another long one"},
    "TokenMint": {"expiresIn": 900},
    "UserToken": {"userId": "ada", "accessToken": "eyJhbGciOiJIUzI1NiJ9", "expiresIn": 900, "tokenType": "Bearer"},
}  # fmt: skip
