"""A user's token is believed when one of our keys signed it, for users, in our algorithm, and it is not over."""

import base64
import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest

from questline.control.end_users import folded
from questline.control.user_tokens import ALGORITHM, BadToken, RefreshClaims, TokensNotConfigured, UserTokens, _derived

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 32
CLAIMS = {
    "iss": "questline", "aud": "questline:user", "prj": "todo", "sub": "ada", "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 900,
}  # fmt: skip


def tokens(*keys: bytes, at: datetime = NOW) -> UserTokens:
    return UserTokens(keys or (OLD,), lambda: at, "QUESTLINE_TOKEN_KEYS")


def signed(claims: dict[str, Any], key: bytes | str | None = None, algorithm: str = ALGORITHM, **header: Any) -> bytes:
    kid = jwt.get_unverified_header(tokens().mint("x", "y", 1))["kid"]
    key = _derived(OLD, b"access") if key is None else key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)  # the key is of our algorithm's length
        return jwt.encode(claims, key, algorithm, headers={"kid": kid, **header}).encode()


def test_a_token_tells_its_project_and_its_user_until_it_is_over() -> None:
    token = tokens().mint("todo", "ada é", 900).encode()
    claims = tokens(at=NOW + timedelta(seconds=899)).read(token)
    assert (claims.app_id, claims.user) == ("todo", "ada é")
    late = tokens(at=NOW + timedelta(seconds=900))
    for _ in range(2):  # also when it is remembered
        with pytest.raises(BadToken, match="over"):
            late.read(token)


def test_a_token_tells_the_session_that_it_was_given_with_or_that_it_was_given_with_none() -> None:
    session = UUID(int=7)
    told = [tokens().read(tokens().mint("todo", "ada", 900, s).encode()).session for s in (session, None)]
    assert told == [session, None]


def test_a_new_key_in_front_signs_while_the_old_one_still_verifies() -> None:
    old = tokens(OLD).mint("todo", "ada", 900).encode()
    both = tokens(NEW, OLD)
    assert both.read(old).user == "ada"
    assert tokens(NEW).read(both.mint("todo", "ada", 900).encode()).user == "ada"
    with pytest.raises(BadToken, match="not in use"):
        tokens(NEW).read(old)


def _unsigned() -> bytes:
    kid = jwt.get_unverified_header(signed(CLAIMS))["kid"]
    parts = [{"alg": "none", "typ": "JWT", "kid": kid}, CLAIMS]
    return b".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts) + b"."


@pytest.mark.parametrize(
    ("what", "token"),
    [
        ("nothing",              b""),
        ("no token",             b"eyJ.eyJ.x"),
        ("no algorithm",         _unsigned()),
        ("another algorithm",    signed(CLAIMS, b"x" * 64, algorithm="HS512")),
        ("another key",          signed(CLAIMS, b"x" * 32)),
        ("the key itself",       signed(CLAIMS, OLD)),
        ("the key of refreshes", signed(CLAIMS, _derived(OLD, b"refresh"))),
        ("an unknown kid",       signed(CLAIMS, kid="ffffffff")),
        ("no kid",               jwt.encode(CLAIMS, _derived(OLD, b"access"), ALGORITHM).encode()),
        ("another audience",     signed({**CLAIMS, "aud": "questline:member"})),
        ("another issuer",       signed({**CLAIMS, "iss": "somebody"})),
        ("no user",              signed({k: v for k, v in CLAIMS.items() if k != "sub"})),
        ("no project",           signed({k: v for k, v in CLAIMS.items() if k != "prj"})),
        ("no end",               signed({k: v for k, v in CLAIMS.items() if k != "exp"})),
        ("an end that is none",  signed({**CLAIMS, "exp": 1e300})),
        ("a time to come",       signed({**CLAIMS, "iat": CLAIMS["iat"] + 31})),
        ("a session of no form", signed({**CLAIMS, "sid": "x"})),
        ("a session that is none", signed({**CLAIMS, "sid": 7})),
        ("a changed user",       signed(CLAIMS).replace(b".eyJ", b".eyK", 1)),
    ],
)  # fmt: skip
def test_a_token_that_is_not_ours_is_refused(what: str, token: bytes) -> None:
    with pytest.raises(BadToken):
        tokens().read(token)


def test_a_token_whose_maker_is_a_little_ahead_is_taken() -> None:
    assert tokens().read(signed({**CLAIMS, "iat": CLAIMS["iat"] + 30})).user == "ada"


CLAIM = RefreshClaims(7, UUID(int=5), 3)


def test_a_refresh_token_tells_its_session_and_generation_under_every_key_in_use() -> None:
    token = tokens(OLD).refresh_token(CLAIM)
    assert tokens(NEW, OLD).read_refresh(token) == CLAIM
    with pytest.raises(BadToken):
        tokens(NEW).read_refresh(token)


@pytest.mark.parametrize("position", [3, 20, 40, -1])
def test_a_refresh_token_that_was_changed_is_refused(position: int) -> None:
    token = tokens().refresh_token(CLAIM)
    changed = list(token)
    changed[position] = "A" if changed[position] != "A" else "Q"
    with pytest.raises(BadToken):
        tokens().read_refresh("".join(changed))


def test_without_a_key_nothing_is_made_and_nothing_is_believed() -> None:
    none = UserTokens((), lambda: NOW, "QUESTLINE_TOKEN_KEYS")
    with pytest.raises(TokensNotConfigured, match="QUESTLINE_TOKEN_KEYS"):
        none.mint("todo", "ada", 1)
    with pytest.raises(BadToken):
        none.read(signed(CLAIMS))
    with pytest.raises(BadToken):
        none.read_refresh(tokens().refresh_token(CLAIM))


@pytest.mark.parametrize(
    ("one", "other"), [("Ada@Example.com", "ada@example.COM"), ("ſtraße", "STRASSE"), ("ﬁ", "FI"), (" ada", "ada")]
)
def test_logins_that_a_person_takes_for_the_same_are_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)
