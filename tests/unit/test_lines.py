"""Lines of a stream: the same however the network cuts them, and no line is kept that is too long."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questline.api.hot.lines import Line, LineSplitter, groups_of_lines
from questline.model.limits import STREAM_GROUP_BYTES, STREAM_GROUP_EVENTS

LIMIT = 10


def split(*chunks: bytes, limit: int = LIMIT) -> list[Line]:
    splitter = LineSplitter(limit)
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    return found + splitter.end()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [(1, b"a"), (2, b"b")]),
        ([b"a\nb"], [(1, b"a"), (2, b"b")]),
        ([b"a", b"b\nc", b"\n"], [(1, b"ab"), (2, b"c")]),
        ([b"a\r\nb\r\n"], [(1, b"a\r"), (2, b"b\r")]),
        ([b"\n\na\n \n\t\nb"], [(3, b"a"), (6, b"b")]),
        ([b""], []),
        ([], []),
        ([b"\n"], []),
        ([b"0123456789\n"], [(1, b"0123456789")]),
        ([b"0123456789x\na"], [(1, None), (2, b"a")]),
        ([b"0123456789", b"x\na"], [(1, None), (2, b"a")]),
        ([b"0123456789", b"x", b"y" * 100, b"\na\n"], [(1, None), (2, b"a")]),
        ([b"a\n0123456789x"], [(1, b"a"), (2, None)]),
        ([b"a\n0123456789x\n0123456789y\n"], [(1, b"a"), (2, None), (3, None)]),
        ([b"\xef\xbb\xbfa\n\xef\xbb\xbfb"], [(1, b"a"), (2, b"\xef\xbb\xbfb")]),
    ],
)
def test_lines_are_numbered_and_blank_ones_left_out(chunks: list[bytes], lines: list[Line]) -> None:
    assert split(*chunks) == lines


@given(st.binary(max_size=200).map(lambda b: b.replace(b"\xef", b"x")), st.lists(st.integers(0, 200), max_size=8))
def test_the_lines_do_not_depend_on_where_chunks_end(content: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[start:end] for start, end in pairwise(bounds)]
    assert split(*chunks) == split(content)


def test_a_line_that_is_too_long_is_never_kept() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1_000):
        assert splitter.feed(b"x" * 1_000) == []
        assert sum(map(len, splitter._parts)) <= LIMIT


async def groups(*chunks: bytes) -> list[list[Line]]:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [group async for group in groups_of_lines(source(), LineSplitter(STREAM_GROUP_BYTES))]


async def test_a_group_holds_so_many_lines_and_no_more() -> None:
    sizes = [len(group) for group in await groups(b"a\n" * (STREAM_GROUP_EVENTS * 2 + 1))]
    assert sizes == [STREAM_GROUP_EVENTS, STREAM_GROUP_EVENTS, 1]


async def test_a_group_ends_early_when_its_lines_are_long() -> None:
    line = b"x" * (STREAM_GROUP_BYTES // 3) + b"\n"
    assert [len(group) for group in await groups(line * 7)] == [4, 3]


async def test_a_group_ends_when_the_sender_pauses() -> None:
    assert await groups(b"a\nb\nc", b"", b"", b"d\n") == [[(1, b"a"), (2, b"b")], [(3, b"cd")]]
