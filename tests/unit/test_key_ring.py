"""What a process remembers of keys, for how long, and when it forgets."""

import asyncio
from uuid import UUID

import pytest

from questline.api.auth import KeyRing
from questline.api.operators import Operators, weakness_of
from questline.api.problems import Problem
from questline.api.throttles import Throttle
from questline.cache.buckets import MemoryBuckets
from questline.model.limits import KEY_CACHE_DEAF_SECONDS, KEY_CACHE_SECONDS, OPERATOR_REQUESTS_PER_MINUTE
from questline.model.permissions import KEY_SCOPES, Scope
from questline.model.principal import KeyType, Principal, Project, Role, scopes_of_key
from questline.store.keys import Found

ID = UUID(int=7)
PROJECT = Project(3, 2, "shop", "Shop", "UTC", 0)
ADA = Principal(PROJECT, ID, KeyType.SECRET, Role.ADMIN, KEY_SCOPES[Role.ADMIN], f"key:{ID}")


class World:
    """A ring, the clock it goes by, and what it is answered when it asks."""

    def __init__(self, hears: bool = True, seconds_left: float | None = None) -> None:
        self.now = 1000.0
        self.asked: list[tuple[bytes, str | None]] = []
        self.answer: Found | None = Found(ADA, seconds_left)
        self.while_asked = lambda: None
        self.ring = KeyRing(self.find, lambda: self.now)
        self.ring.hears(hears)

    async def find(self, secret: bytes, tenant: str | None) -> Found | None:
        self.asked.append((secret, tenant))
        answer = self.answer
        self.while_asked()
        return answer

    def call(self, key: bytes = b"sk_live_1", **headers: str) -> int:
        """Return how often anybody has been asked, after one more request."""
        sent = [(b"x-api-key", key), *((n.replace("_", "-").encode(), v.encode()) for n, v in headers.items())]
        asyncio.run(self.ring.principal(sent))
        return len(self.asked)


@pytest.mark.parametrize(
    ("hears", "seconds_left", "later", "asked"),
    [
        (True,  None, KEY_CACHE_SECONDS - 1,      1),
        (True,  None, KEY_CACHE_SECONDS + 1,      2),
        (True,  5.0,  4.0,                        1),  # the key itself ends
        (True,  5.0,  6.0,                        2),
        (False, None, KEY_CACHE_DEAF_SECONDS / 2, 1),
        (False, None, KEY_CACHE_DEAF_SECONDS * 2, 2),
    ],
)  # fmt: skip
def test_a_key_is_remembered_as_long_as_it_is_safe(
    hears: bool, seconds_left: float | None, later: float, asked: int
) -> None:
    world = World(hears, seconds_left)
    world.call()
    world.now += later
    assert world.call() == asked


@pytest.mark.parametrize(
    ("announced", "asked"),
    [
        (f"key {ID}", 2), (f"key {UUID(int=8)}", 1), (f"member {ID}", 2), ("project 3", 2), ("project 4", 1),
        ("organization 2", 2), ("organization 3", 1), ("something new", 2),
    ],
)  # fmt: skip
def test_an_announcement_makes_the_ring_forget_whom_it_is_about(announced: str, asked: int) -> None:
    world = World()
    world.call()
    world.ring.forget(announced)
    assert world.call() == asked


def test_a_ring_that_hears_again_forgets_everything_since_it_may_have_missed_something() -> None:
    world = World()
    world.call()
    world.ring.hears(True)
    assert world.call() == 1
    world.ring.hears(False)
    world.ring.hears(True)
    assert world.call() == 2


def test_an_answer_that_was_on_its_way_when_the_key_was_revoked_is_not_remembered() -> None:
    world = World()
    world.while_asked = lambda: world.ring.forget(f"key {ID}")
    assert (world.call(), world.call()) == (1, 2)


def test_a_key_that_is_unknown_is_soon_asked_for_again_since_it_may_have_been_made() -> None:
    world = World()
    world.answer = None
    for _ in range(3):
        with pytest.raises(Problem, match="unknown"):
            world.call()
    assert len(world.asked) == 1
    world.now += 2
    world.answer = Found(ADA, None)
    assert world.call() == 2


def test_a_key_that_was_unknown_is_asked_for_again_when_anything_was_announced() -> None:
    world = World()
    world.answer = None
    with pytest.raises(Problem):
        world.call()
    world.answer = Found(ADA, None)
    world.ring.forget("project 3")
    assert world.call() == 2


def test_a_member_is_somebody_else_in_each_project_they_name() -> None:
    world = World()
    world.call(b"qm_1", x_tenant_id="shop")
    world.call(b"qm_1", x_tenant_id="bar")
    world.call(b"qm_1", x_tenant_id="shop")
    assert world.asked == [(b"qm_1", "shop"), (b"qm_1", "bar")]


@pytest.mark.parametrize(
    ("type_", "role", "narrowed", "scopes"),
    [
        (KeyType.SECRET,      Role.INGEST, None,                            {"events:write", "events:read", "commands:write"}),
        (KeyType.SECRET,      Role.INGEST, ["events:read"],                 {"events:read"}),
        (KeyType.SECRET,      Role.INGEST, ["events:read", "keys:write"],   {"events:read"}),  # its role has no such scope
        (KeyType.SECRET,      Role.INGEST, ["gone:read"],                   set()),
        (KeyType.PUBLISHABLE, Role.INGEST, None,                            {"events:write"}),
    ],
)  # fmt: skip
def test_scopes_narrow_a_role_and_never_widen_it(
    type_: KeyType, role: Role, narrowed: list[str] | None, scopes: set[str]
) -> None:
    assert scopes_of_key(type_, role, narrowed) == scopes


def test_readonly_reads_all_but_keys_and_the_audit_log() -> None:
    reads = {scope for scope in KEY_SCOPES[Role.ADMIN] if scope.endswith(":read")}
    assert KEY_SCOPES[Role.READONLY] == reads - {Scope.KEYS_READ, Scope.AUDIT_READ}


def throttle(per_minute: int = OPERATOR_REQUESTS_PER_MINUTE) -> Throttle:
    return Throttle(MemoryBuckets(9, lambda: 0.0), per_minute, "login")


async def test_the_operators_token_opens_and_no_other_does() -> None:
    token = "a-token-of-some-length"
    operators = Operators(token, throttle())
    assert [await operators.is_operator(given, "1.2.3.4") for given in (token, token[:-1], "", None)] == [
        True, False, False, False,
    ]  # fmt: skip
    assert await Operators("", throttle()).is_operator("", "1.2.3.4") is False


async def test_an_address_may_not_guess_the_operators_token_for_long_and_stops_no_other() -> None:
    operators = Operators("a-token-of-some-length", throttle())
    for _ in range(OPERATOR_REQUESTS_PER_MINUTE):
        assert not await operators.is_operator("guess", "1.2.3.4")
    with pytest.raises(Problem) as refused:
        await operators.is_operator("guess", "1.2.3.4")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    assert await operators.is_operator("a-token-of-some-length", "5.6.7.8")


async def test_a_throttle_tells_when_the_next_try_comes() -> None:
    twice = throttle(2)
    await twice.take("ada")
    await twice.take("ada")
    with pytest.raises(Problem) as refused:
        await twice.take("ada")
    assert refused.value.headers == {
        "Retry-After": "30", "ratelimit-policy": '"login";q=2;w=60', "ratelimit": '"login";r=0;t=30',
    }  # fmt: skip


@pytest.mark.parametrize(("token", "said"), [("", "is not set"), ("admin", "is shorter"), ("0123456789abcdef", None)])
def test_a_server_needs_an_operators_token_that_cannot_be_guessed(token: str, said: str | None) -> None:
    weakness = weakness_of(token)
    assert weakness is None if said is None else weakness is not None and weakness.startswith(said)
