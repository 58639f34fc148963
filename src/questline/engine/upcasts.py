"""Upcasts: steps that turn a payload of one version into one of the next. They are data, and nothing in them can run.

A step that finds nothing, or something else than it is for, does nothing: the schema of the version that it leads to has
the last word. What is put into a payload is single values, so a payload does not grow by more than a bounded measure.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from questline.engine.forms import NAME, ROUND, object_of
from questline.engine.numbers import EXACT, exact, operand, plain, rounded
from questline.model.limits import SHORT_TEXT_CHARS_MAX, UPCAST_ITEMS_MAX

Payload = dict[str, Any]
Step = Callable[[Payload], None]
_Missing = object
_MISSING: Any = _Missing()
_EACH = "*"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")


class TooManyItems(Exception):
    """A list has more elements than an upcast goes through; the message names its path."""


class _Op:
    """What an `op` needs beside itself, and what it may have."""

    def __init__(
        self, needs: tuple[str, ...], make: Callable[[dict[str, Any]], Step], may: tuple[str, ...] = ()
    ) -> None:
        self.needs = needs
        self.may = may
        self.make = make


def compile_step(raw: dict[str, Any]) -> Step:
    """Return the closure of a step without faults."""
    return _OPS[raw["op"]].make(raw)


def step_faults(raw: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a step whose members have the right types."""
    op = _OPS[raw["op"]]
    if missing := [name for name in op.needs if name not in raw]:
        yield f"{raw['op']} lacks {', '.join(map(repr, missing))}"
    if extra := sorted(raw.keys() - {"op", *op.needs, *op.may}):
        yield f"{raw['op']} takes no {', '.join(map(repr, extra))}"
    for name in ("path", "from", "to"):
        path = raw.get(name)
        if isinstance(path, str) and (raw["op"] != "convert" or name != "to"):
            if not all(path.split(".")):
                yield f"{name}: {path!r} has an empty step"
            elif path.endswith(_EACH):
                yield f"{name}: {path!r} must end in the name of a member"
    if not missing and "from" in op.needs and _prefix(raw["from"]) != _prefix(raw["to"]):
        yield f"from {raw['from']!r} to {raw['to']!r}: both must go through the same lists"


_SCALAR = {"type": ["string", "number", "boolean", "null"], "maxLength": SHORT_TEXT_CHARS_MAX}
_PATH = {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX}


def _containers(payload: Payload, steps: list[str], *, make: bool = False) -> list[Payload]:
    """Return the objects that a path leads to; with `make`, those missing on the way are put there."""
    found: list[Any] = [payload]
    for step in steps:
        below: list[Any] = []
        for value in found:
            if step == _EACH:
                below += value if type(value) is list else ()
            elif type(value) is dict:
                child = value.get(step, _MISSING)
                if child is _MISSING and make:
                    child = value[step] = {}
                if child is not _MISSING:
                    below.append(child)
        if len(below) > UPCAST_ITEMS_MAX:
            raise TooManyItems(".".join(steps))
        found = below
    return [value for value in found if type(value) is dict]


def _places(payload: Payload, path: str, *, make: bool = False) -> list[tuple[Payload, str]]:
    """Return (object, name) of each place a path names, there or not. As in conditions, a name that itself has dots wins."""
    if path in payload:
        return [(payload, path)]
    *steps, name = path.split(".")
    return [(holder, name) for holder in _containers(payload, steps, make=make)]


def _prefix(path: str) -> str:
    """Return a path up to its last list."""
    head, each, _ = path.rpartition(f"{_EACH}.")
    return head + each


def _change(raw: dict[str, Any], change: Callable[[Any], Any]) -> Step:
    """Return the step that puts change(value) wherever there is a value."""
    path = raw["path"]

    def step(payload: Payload) -> None:
        for holder, name in _places(payload, path):
            if name in holder:
                holder[name] = change(holder[name])

    return step


def _move(raw: dict[str, Any], *, keep: bool) -> Step:
    prefix = _prefix(raw["from"])
    source, target = raw["from"].removeprefix(prefix), raw["to"].removeprefix(prefix)
    steps = prefix.removesuffix(".").split(".") if prefix else []

    def step(payload: Payload) -> None:
        for whole in _containers(payload, steps):
            for holder, name in _places(whole, source):
                value = holder.get(name, _MISSING)
                if value is _MISSING or (keep and type(value) in (dict, list)):
                    continue
                if not keep:
                    del holder[name]
                if places := _places(whole, target, make=True):
                    into, as_ = places[0]
                    into[as_] = value
                elif not keep:
                    holder[name] = value

    return step


def _put(raw: dict[str, Any], *, always: bool) -> Step:
    path, value = raw["path"], raw["value"]

    def step(payload: Payload) -> None:
        for holder, name in _places(payload, path, make=True):
            if always or holder.get(name) is None:
                holder[name] = value

    return step


def _drop(raw: dict[str, Any]) -> Step:
    path = raw["path"]

    def step(payload: Payload) -> None:
        for holder, name in _places(payload, path):
            holder.pop(name, None)

    return step


def _map(raw: dict[str, Any]) -> Step:
    values, otherwise = raw["values"], raw.get("otherwise", _MISSING)

    def change(value: Any) -> Any:
        if type(value) in (dict, list):
            return value
        found = values.get(_text(value), _MISSING)
        if found is not _MISSING:
            return found
        return value if otherwise is _MISSING else otherwise

    return _change(raw, change)


def _times(raw: dict[str, Any]) -> Step:
    by, rounding = exact(raw["by"]), raw.get("round")

    def change(value: Any) -> Any:
        number = operand(value)
        if number is None:
            return value
        product = EXACT.multiply(exact(number), by)
        if rounding is not None:
            return rounded(product, rounding)
        whole = plain(product)
        return whole if type(whole) is int else float(whole)

    return _change(raw, change)


def _text(value: Any) -> str:
    return value if type(value) is str else msgspec.json.encode(value).decode()


def _number(value: Any) -> Any:
    if type(value) is str and _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return value


def _integer(value: Any) -> Any:
    number = _number(value)
    return int(number) if type(number) is float and number.is_integer() else number


def _truth(value: Any) -> Any:
    known = {"true": True, "false": False, "1": True, "0": False}
    return value if type(value) in (dict, list) else known.get(_text(value), value)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: value if value is None or type(value) in (dict, list) else _text(value),
    "number": _number,
    "integer": _integer,
    "boolean": _truth,
}

_OPS: dict[str, _Op] = {
    "move": _Op(("from", "to"), lambda raw: _move(raw, keep=False)),
    "copy": _Op(("from", "to"), lambda raw: _move(raw, keep=True)),
    "default": _Op(("path", "value"), lambda raw: _put(raw, always=False)),
    "set": _Op(("path", "value"), lambda raw: _put(raw, always=True)),
    "drop": _Op(("path",), _drop),
    "map": _Op(("path", "values"), _map, ("otherwise",)),
    "times": _Op(("path", "by"), _times, ("round",)),
    "convert": _Op(("path", "to"), lambda raw: _change(raw, _CONVERSIONS[raw["to"]])),
}

STEP_SCHEMA = object_of(
    {
        "op": {"enum": list(_OPS)},
        "path": _PATH,
        "from": _PATH,
        "to": _PATH,
        "value": _SCALAR,
        "values": {"type": "object", "propertyNames": NAME, "additionalProperties": _SCALAR, "maxProperties": 1_000},
        "otherwise": _SCALAR,
        "by": {"type": "number", "minimum": -1_000_000_000, "maximum": 1_000_000_000},
        "round": ROUND,
    },
    ("op",),
    description="One step of an upcast; paths are dotted, and `*` is each element of a list: items.*.price.",
)
