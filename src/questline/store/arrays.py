"""Columns as PostgreSQL arrays, encoded as wholes rather than value by value.

Every statement takes its rows as arrays, a column each, and the driver's own encoder asks of each value whether it is a
container: a quarter of a worker's time. A column here is laid out by a few operations on whole buffers, and a text that
occurs often is encoded once. The form is that of array_recv(): dimensions, a flag, the element type, the length and lower
bound, then each value with its length before it.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Connection

Encode = Callable[[Sequence[Any]], bytes]
Decode = Callable[[bytes], list[Any]]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NULL = b"\xff\xff\xff\xff"
_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_SHORT_LENGTHS = [_LENGTH.pack(length) for length in range(4_096)]


def _head(element: int, count: int) -> bytes:
    """The header of an array; 1 says that there may be NULLs, whether there are or not."""
    return _HEAD.pack(1, 1, element, count, 1) if count else struct.pack(">iiI", 0, 0, element)


def _fixed(element: int, size: int, whole: Callable[[Sequence[Any]], bytes], one: Callable[[Any], bytes]) -> Encode:
    """An encoder of values of one size: `whole` packs all of them, and fails where one is None."""
    step, length = size + 4, _LENGTH.pack(size)

    def encode(values: Sequence[Any]) -> bytes:
        count = len(values)
        if not count:
            return _head(element, 0)
        try:
            packed = whole(values)
        except (TypeError, AttributeError):  # there are NULLs among them, or what is no such value
            return _head(element, count) + b"".join([_NULL if v is None else length + _checked(one, v) for v in values])
        buffer = bytearray(step * count)
        buffer[3::step] = length[3:] * count
        for place in range(size):
            buffer[4 + place :: step] = packed[place::size]
        return _head(element, count) + bytes(buffer)

    return encode


def _checked(one: Callable[[Any], bytes], value: Any) -> bytes:
    """Encode a value; the driver names the argument in its error, except for an AttributeError."""
    try:
        return one(value)
    except AttributeError as error:
        raise TypeError(f"{value!r} is of a wrong type") from error


def _big_endian(numbers: "array[int]") -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()


def _integers(element: int, size: int, code: str) -> Encode:
    def whole(values: Sequence[Any]) -> bytes:
        return _big_endian(array(code, values))

    return _fixed(element, size, whole, lambda value: _signed(value, size))


def _signed(value: Any, size: int) -> bytes:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value.to_bytes(size, "big", signed=True)


def _uuids(values: Sequence[Any]) -> bytes:
    return b"".join([value.bytes for value in values])


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instants(values: Sequence[Any]) -> bytes:
    """Rows of one event share its instant, so the one before is looked at first."""
    numbers, number = array("q"), 0
    last: Any = _EPOCH
    for value in values:
        if value is not last:
            last, number = value, _microseconds(value)
        numbers.append(number)
    return _big_endian(numbers)


def _with_length(data: bytes) -> bytes:
    length = len(data)
    return (_SHORT_LENGTHS[length] if length < len(_SHORT_LENGTHS) else _LENGTH.pack(length)) + data


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return _with_length(value.encode())


def _texts(element: int) -> Encode:
    def encode(values: Sequence[Any]) -> bytes:
        if not values:
            return _head(element, 0)
        distinct = set(values)
        if 2 * len(distinct) <= len(values):
            table = {value: _text(value) for value in distinct}
            parts = [table[value] for value in values]
        else:
            try:
                parts = [_SHORT_LENGTHS[len(data)] + data for data in map(str.encode, values)]
            except (TypeError, IndexError):  # there are NULLs among them, or long ones, or what is no text
                parts = [_text(value) for value in values]
        return _head(element, len(values)) + b"".join(parts)

    return encode


def _bytes(element: int) -> Encode:
    def encode(values: Sequence[Any]) -> bytes:
        try:
            parts = [_SHORT_LENGTHS[len(data)] + data for data in values]
        except (TypeError, IndexError):
            parts = [_NULL if data is None else _with_length(data) for data in values]
        return _head(element, len(values)) + b"".join(parts)

    return encode


def _decoder(one: Callable[[bytes], Any]) -> Decode:
    """A decoder of arrays of one dimension, which is all that our statements return."""

    def decode(data: bytes) -> list[Any]:
        if len(data) < _HEAD.size:
            return []
        count, at, found = _HEAD.unpack_from(data)[3], _HEAD.size, []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, at)
            at += 4
            found.append(None if length < 0 else one(data[at : at + length]))
            at += max(length, 0)
        return found

    return decode


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _instant(data: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=_integer(data))


# Of pg_type.dat: the array's oid, its name, the element's oid. These are the same in every PostgreSQL.
ARRAYS: dict[int, tuple[str, Encode, Decode]] = {
    1005: ("_int2", _integers(21, 2, "h"), _decoder(_integer)),
    1007: ("_int4", _integers(23, 4, "i"), _decoder(_integer)),
    1016: ("_int8", _integers(20, 8, "q"), _decoder(_integer)),
    2951: ("_uuid", _fixed(2950, 16, _uuids, lambda value: value.bytes), _decoder(lambda data: UUID(bytes=data))),
    1185: (
        "_timestamptz",
        _fixed(1184, 8, _instants, lambda value: _signed(_microseconds(value), 8)),
        _decoder(_instant),
    ),
    1009: ("_text", _texts(25), _decoder(bytes.decode)),
    199: ("_json", _texts(114), _decoder(bytes.decode)),
    1001: ("_bytea", _bytes(17), _decoder(bytes)),
}


async def use_arrays(conn: Connection) -> None:
    """Let a connection encode the columns of its statements by this module.

    The driver offers codecs for single values only, so this asks its settings directly, as its own set_type_codec() does.
    """
    settings = conn._protocol.get_settings()
    for oid, (name, encode, decode) in ARRAYS.items():
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", encode, decode, "binary")
