"""Copies of boards beside PostgreSQL: what a writer tells of a change, and what a reader asks and is told."""

import msgspec

Marks = dict[int, int]  # by writer (shard): the stamp of its last change


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one commit of one writer made of one copied board.

    `entries` are (user, place) as of that commit: the last 8 bytes of a place, and the 16 before them, or b"" for a user who
    left the board. The writer's mark goes from `before` (0: none) to `stamp`.
    """

    copy: str
    shard: int
    before: int
    stamp: int
    entries: tuple[tuple[bytes, bytes], ...]


class Question(msgspec.Struct, frozen=True):
    """A page after a place (b"": the top), and those around a user (None: nobody) on each side. `ties` is the board's."""

    ties: str  # first | competition | dense
    after: bytes
    limit: int
    user_id: int | None
    neighbours: int


class Stretch(msgspec.Struct, frozen=True):
    """Places in rank order; before the first stand `before` entries, and `above` its score as the ties count them."""

    places: list[bytes]
    before: int
    above: int


class Sight(msgspec.Struct, frozen=True):
    """A whole copy at one instant. `marks` tell which changes it holds: all up to these, and no others."""

    marks: Marks
    total: int
    page: Stretch
    around: Stretch


class CopyState(msgspec.Struct, frozen=True):
    """How a copy stands: `whole`, `filling`, or `none` where it is not, or not all of it, there."""

    state: str
    dense: bool
    marks: Marks
