"""What one process has asked about a key, another believes: but nothing of before a revocation that it heard of."""

import asyncio
from uuid import UUID

import pytest
from moments import Moments

from questline.api.shared_keys import SharedKeys
from questline.cache.entries import MemoryEntries
from questline.model.limits import KEY_CACHE_SECONDS, REVOCATIONS_REMEMBERED
from questline.model.permissions import KEY_SCOPES
from questline.model.principal import KeyType, Principal, Project, Role, Signing, SigningSecret
from questline.store.keys import Found

ID = UUID(int=7)
PROJECT = Project(
    3,
    2,
    "shop",
    "Shop",
    "UTC",
    0,
    cors_origins=frozenset({"https://a"}),
    signing=Signing(secrets=(SigningSecret("s"),)),
)
ADA = Principal(PROJECT, ID, KeyType.SECRET, Role.ADMIN, KEY_SCOPES[Role.ADMIN], f"key:{ID}")
KEY = b"sk_live_1"


class World:
    """Two processes that share a cache; `asked` counts questions to the database."""

    def __init__(self, seconds_left: float | None = None) -> None:
        self.moments = Moments()
        self.answer: Found | None = Found(ADA, seconds_left)
        self.asked = 0
        self.entries = MemoryEntries(100, lambda: self.moments.seconds)
        self.one, self.two = self.process(), self.process()

    def process(self) -> SharedKeys:
        made = SharedKeys(self.find, self.entries, self.moments)  # type: ignore[arg-type]
        made.hears(True)
        asyncio.run(made.find(b"sk_another", None))  # it has begun
        self.asked = 0
        self.moments.seconds += 1
        return made

    async def find(self, secret: bytes, tenant: str | None) -> Found | None:
        self.asked += 1
        return self.answer

    def call(self, process: SharedKeys, key: bytes = KEY, tenant: str | None = None) -> Found | None:
        found = asyncio.run(process.find(key, tenant))
        self.moments.seconds += 1
        return found


def test_what_one_process_found_another_need_not_ask() -> None:
    world = World()
    world.call(world.one)
    assert world.call(world.two) == Found(ADA, KEY_CACHE_SECONDS - 1)
    assert world.asked == 1


@pytest.mark.parametrize(
    ("seconds_left", "later", "left"),
    [
        (None, 10, KEY_CACHE_SECONDS - 11),
        (None, KEY_CACHE_SECONDS, None),
        (20.0, 10, 9.0),
        (20.0, 19, None),
        (0.0,  0, None),
    ],
)  # fmt: skip
def test_what_is_found_in_the_cache_is_believed_for_what_is_left_of_its_time(
    seconds_left: float | None, later: float, left: float | None
) -> None:
    world = World(seconds_left)
    world.call(world.one)
    world.moments.seconds += later
    found = world.call(world.two)
    assert found == (Found(ADA, seconds_left) if left is None else Found(ADA, left))
    assert world.asked == (2 if left is None else 1)


@pytest.mark.parametrize(
    ("announced", "asked"),
    [
        (f"key {ID}", 2), (f"key {UUID(int=8)}", 1), (f"member {ID}", 2), ("project 3", 2), ("project 4", 1),
        ("organization 2", 2), ("organization 3", 1), ("something new", 2),
    ],
)  # fmt: skip
def test_nothing_is_believed_of_before_an_announcement_of_whom_it_is_about(announced: str, asked: int) -> None:
    world = World()
    world.call(world.one)
    world.two.forget(announced)
    world.call(world.two)
    assert world.asked == asked


def test_what_a_slow_process_puts_after_a_revocation_is_not_believed() -> None:
    world = World()
    world.call(world.one)
    late = asyncio.run(world.entries.get([next(iter(world.entries._entries))]))[0]
    assert late is not None
    world.answer = None
    world.two.forget(f"key {ID}")
    world.moments.seconds += 1
    for key in list(world.entries._entries):
        world.entries.put({key: late}, 1000)  # as it stood before
    assert world.call(world.two) is None


def test_a_process_that_was_deaf_believes_nothing_older() -> None:
    world = World()
    world.call(world.one)
    world.two.hears(False)
    world.call(world.two)
    assert world.asked == 2
    world.two.hears(True)
    world.moments.seconds += 1
    world.call(world.two)
    assert world.asked == 3
    world.call(world.one)
    world.call(world.two)
    assert world.asked == 3


def test_another_history_of_the_database_has_keys_of_its_own() -> None:
    world = World()
    world.call(world.one)
    world.moments.line = "00000002"
    world.call(world.two)
    assert world.asked == 2


def test_while_the_history_is_unknown_the_database_is_asked() -> None:
    world = World()
    world.call(world.one)
    world.moments.line = None
    world.call(world.two)
    assert world.asked == 2


def test_more_revocations_than_are_remembered_are_not_forgotten() -> None:
    world = World()
    world.call(world.one)
    world.two.forget(f"key {ID}")
    for n in range(REVOCATIONS_REMEMBERED):
        world.two.forget(f"key {n}")
    world.call(world.two)
    assert world.asked == 2


def test_what_cannot_be_read_is_no_entry() -> None:
    world = World()
    world.call(world.one)
    for key in list(world.entries._entries):
        world.entries.put({key: b"\xc1"}, 1000)
    assert world.call(world.two) == world.answer


def test_neither_key_nor_tenant_can_be_read_in_the_cache_and_both_tell_entries_apart() -> None:
    world = World()
    for key, tenant in ((KEY, None), (KEY, "shop"), (b"qm_1", "shop"), (b"op:qm_1", "sh")):
        world.call(world.one, key, tenant)
    assert world.asked == 4
    held = b"".join(key + value for key, (value, _) in world.entries._entries.items())
    assert b"sk_live" not in held
    assert b"qm_1" not in held
