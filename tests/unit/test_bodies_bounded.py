"""Request bodies: read within a bound, as sent and as unpacked, however they are cut and packed."""

import gzip
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from questline.api.asgi import Receive
from questline.api.hot.body import Disconnected, Room, chunks_of, counted, read_body
from questline.api.problems import Problem
from questline.model.limits import SMALL_BODY_BYTES

LIMIT = 100_000
GZIP = [(b"content-encoding", b"gzip")]


def receiving(*chunks: bytes, ends: bool = True) -> tuple[Receive, list[int]]:
    """Return a `receive` that gives the chunks one by one, and a list that grows by one at each call."""
    calls: list[int] = []
    messages = iter(
        {"type": "http.request", "body": chunk, "more_body": not (ends and last)}
        for chunk, last in zip(chunks, itertools.chain([False] * (len(chunks) - 1), [True]), strict=True)
    )

    async def receive() -> dict[str, Any]:
        calls.append(1)
        return next(messages, {"type": "http.disconnect"})

    return receive, calls


def scope(headers: Sequence[tuple[bytes, bytes]] = ()) -> dict[str, Any]:
    return {"type": "http", "headers": headers}


async def test_a_body_is_read_whole_however_it_was_cut() -> None:
    receive, _ = receiving(b"ab", b"", b"c")
    assert await read_body(scope(), receive, LIMIT) == b"abc"


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("cut", [1, 7, 100_000])
async def test_gzip_is_unpacked_however_it_was_cut_and_of_however_many_members(members: int, cut: int) -> None:
    packed = b"".join(gzip.compress(f"part {n}\n".encode() * 50) for n in range(members))
    receive, _ = receiving(*(packed[at : at + cut] for at in range(0, len(packed), cut)))
    wanted = b"".join(f"part {n}\n".encode() * 50 for n in range(members))
    assert await read_body(scope(GZIP), receive, LIMIT) == wanted


async def test_a_length_over_the_limit_is_refused_before_it_is_read() -> None:
    receive, calls = receiving(b"x")
    with pytest.raises(Problem) as caught:
        await read_body(scope([(b"content-length", b"100001")]), receive, LIMIT)
    assert (caught.value.status, caught.value.code, calls) == (413, "payload-too-large", [])


async def test_a_body_without_a_length_is_read_no_further_than_its_limit() -> None:
    receive, calls = receiving(*[b"x" * 10_000] * 1_000)
    with pytest.raises(Problem) as caught:
        await read_body(scope(), receive, LIMIT)
    assert (caught.value.status, len(calls)) == (413, 11)


async def test_a_bomb_is_unpacked_no_further_than_its_limit() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < LIMIT
    receive, _ = receiving(bomb)
    pieces = chunks_of(scope(GZIP), receive, LIMIT, 60)
    with pytest.raises(Problem) as caught:
        await anext(pieces)  # the first piece is over already, and the others are never made
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("packed", "detail"),
    [
        (b"not gzip at all", "cannot be unpacked"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-5], "ends too early"),
        (b"", "too early"),
    ],
)
async def test_broken_gzip_is_a_clear_problem(packed: bytes, detail: str) -> None:
    receive, _ = receiving(packed)
    with pytest.raises(Problem, match=detail) as caught:
        await read_body(scope(GZIP), receive, LIMIT)
    assert caught.value.status == 400


async def test_an_encoding_that_is_not_understood_is_a_415() -> None:
    receive, _ = receiving(b"x")
    with pytest.raises(Problem) as caught:
        await read_body(scope([(b"content-encoding", b"br")]), receive, LIMIT)
    assert caught.value.status == 415


async def test_a_client_that_goes_away_is_no_error_of_its_body() -> None:
    receive, _ = receiving(b"x", ends=False)
    with pytest.raises(Disconnected):
        await read_body(scope(), receive, LIMIT)


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ([b"x" * 10_000] * 9, []),
        ([b"x" * 10_000] * 9, [(b"content-length", b"90000")]),
        ([gzip.compress(b"x" * 90_000)], GZIP),
    ],
    ids=["in pieces", "in pieces of a known length", "packed"],
)
async def test_a_body_takes_room_as_it_comes_and_gives_it_back_once_it_is_whole(
    chunks: list[bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    needed = 90_000 - SMALL_BODY_BYTES
    room = Room(needed)
    receive, _ = receiving(*chunks)
    assert len(await read_body(scope(headers), receive, LIMIT, room)) == 90_000
    assert room.left == needed
    receive, calls = receiving(*chunks)
    small = Room(needed - 1)
    with pytest.raises(Problem) as caught:
        await read_body(scope(headers), receive, LIMIT, small)
    assert (caught.value.status, caught.value.code, len(calls)) == (
        503,
        "overloaded",
        len(chunks),
    )  # all was let pass by
    assert small.left == needed - 1


async def test_a_small_body_needs_no_room() -> None:
    receive, _ = receiving(b"x" * 1_000, b"x" * (SMALL_BODY_BYTES - 1_000))
    assert len(await read_body(scope(), receive, LIMIT, Room(0))) == SMALL_BODY_BYTES


async def test_requests_share_a_room_for_as_long_as_they_hold_their_bodies() -> None:
    room = Room(10_000)
    pieces = [receiving(b"x" * SMALL_BODY_BYTES, b"x" * 6_000)[0] for _ in range(3)]
    with room.share() as first:
        one = counted(pieces[0], first)
        assert [len((await one())["body"]) for _ in range(2)] == [SMALL_BODY_BYTES, 6_000]
        with room.share() as second:
            other = counted(pieces[1], second)
            await other()
            with pytest.raises(Problem) as caught:
                await other()
            assert caught.value.status == 503
    with room.share() as third:
        another = counted(pieces[2], third)
        assert [len((await another())["body"]) for _ in range(2)] == [SMALL_BODY_BYTES, 6_000]
    assert room.left == 10_000
