"""Fields of a condition or an amount: dotted paths into the payload, and `user.`, `balance.`, `level.`, `streak.`,
`metric.`, `vital.`, `segment.`, `tier.`, `quest.` (its status) and `event.` beyond it.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from questline.model.event import Event
from questline.model.limits import ATTRIBUTE_READ_BYTES_MAX, ATTRIBUTE_READS_MAX

_encode = msgspec.json.encode


class _Missing:
    """The value of a field that is not there; unlike None, which a payload may hold."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()

STATE_ROOTS = ("balance", "level", "streak", "metric", "vital", "segment", "tier", "quest")
ROOTS = (*STATE_ROOTS, "user", "event")
CONTEXT = "context."  # below event: what the sender said of the circumstances, by any path
EVENT_FIELDS = ("type", "userId", "source", "schemaVersion", "occurredAt", "hour", "weekday")


class StateReader(Protocol):
    """A user's state during a decision, this event's changes so far included."""

    def balance(self, currency: str) -> int: ...
    def level(self, track: str) -> int: ...
    def streak(self, streak: str) -> int: ...
    def metric(self, metric: str) -> Any: ...
    def vital(self, vital: str) -> int: ...
    def segment(self, segment: str) -> bool: ...
    def tier(self, tier: str) -> str: ...
    def quest(self, quest: str) -> str: ...


class View:
    """What a condition may look at. Values read of the user's state and attributes are kept in `reads`, by field."""

    __slots__ = ("attributes", "event", "payload", "reads", "state", "zone")

    def __init__(self, event: Event, attributes: Mapping[str, Any], state: StateReader, zone: Any) -> None:
        self.event = event
        self.payload = event.payload
        self.attributes = attributes
        self.state = state
        self.zone = zone  # of the program: event.hour and event.weekday are read on its clocks
        self.reads: dict[str, Any] = {}

    def attribute(self, field: str, steps: list[str]) -> Any:
        """Return an attribute by its path, and keep what was found: attributes change, and their past is not stored.

        What is not there is kept as null. What is long, or itself null, is not kept: then it is not known later.
        """
        value = _walk(self.attributes, steps)
        reads = self.reads
        if field not in reads and len(reads) < ATTRIBUTE_READS_MAX and is_short(value):
            reads[field] = None if value is MISSING else value
        return value


def is_short(value: Any) -> bool:
    """Tell whether an attribute's value is kept with a decision that read it."""
    kind = type(value)
    if kind is str:
        return len(value) <= ATTRIBUTE_READ_BYTES_MAX // 4
    if kind is int or kind is float or kind is bool or value is MISSING:
        return True
    return value is not None and len(_encode(value)) <= ATTRIBUTE_READ_BYTES_MAX


class HasPayload(Protocol):
    """A view or an event: what a field of the payload is read from."""

    @property
    def payload(self) -> Mapping[str, Any]: ...


Get = Callable[[View], Any]
PayloadGet = Callable[[HasPayload], Any]


def split_field(field: str) -> tuple[str, str]:
    """Return (root, rest): ("balance", "Builder XP") for state, ("", "a.b") for the payload."""
    root, dot, rest = field.partition(".")
    if dot and rest and root in ROOTS:
        return root, rest
    if root == "payload" and rest:
        return "", rest
    return "", field


def attributes_read(document: Any) -> frozenset[str]:
    """Return the attributes of users that a program document, as plain values, reads anywhere as `user.NAME`."""
    found, due = set(), [document]
    while due:
        value = due.pop()
        if isinstance(value, list | tuple):
            due.extend(value)
        elif isinstance(value, dict):
            due.extend(value.values())
            field = value.get("field")
            root, rest = split_field(field) if isinstance(field, str) else ("", "")
            if root == "user" and rest != "id":
                found.add(rest.partition(".")[0])
    return frozenset(found)


def compile_field(field: str) -> Get:
    """Return the closure that reads a field; what is not there reads as MISSING."""
    root, rest = split_field(field)
    if root == "":
        return _payload(rest)
    if root == "user":
        return _attribute(field, rest)
    if root == "event":
        return _event(rest)
    return _state(field, root, rest)


def payload_field(field: str) -> PayloadGet:
    """Return the closure that reads a field of the payload from a view or an event."""
    return _payload(split_field(field)[1])


def _payload(path: str) -> PayloadGet:
    if "." not in path:
        return lambda holder: holder.payload.get(path, MISSING)
    steps = path.split(".")

    def get(holder: HasPayload) -> Any:
        whole = holder.payload.get(path, MISSING)  # a key that itself has dots wins
        return _walk(holder.payload, steps) if whole is MISSING else whole

    return get


def _attribute(field: str, path: str) -> Get:
    if path == "id":
        return lambda view: view.event.user
    steps = path.split(".")

    return lambda view: view.attribute(field, steps)


def _walk(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step, MISSING)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 7:
            index = int(step)
            value = value[index] if index < len(value) else MISSING
        else:
            return MISSING
    return value


def _event(name: str) -> Get:
    if name.startswith(CONTEXT):
        steps = name.removeprefix(CONTEXT).split(".")
        return lambda view: MISSING if view.event.context is None else _walk(view.event.context, steps)
    return _EVENT[name]


def _or_missing(value: Any) -> Any:
    return MISSING if value is None else value


_EVENT: dict[str, Get] = {
    "type": lambda view: view.event.type,
    "userId": lambda view: view.event.user,
    "source": lambda view: _or_missing(view.event.source),
    "schemaVersion": lambda view: _or_missing(view.event.schema_version),
    "occurredAt": lambda view: view.event.occurred_at.isoformat(),
    "hour": lambda view: view.event.occurred_at.astimezone(view.zone).hour,
    "weekday": lambda view: view.event.occurred_at.astimezone(view.zone).isoweekday(),
}


def _state(field: str, root: str, name: str) -> Get:
    def get(view: View) -> Any:
        value = getattr(view.state, root)(name)
        if type(value) is Decimal:  # payloads and programs hold floats: compare like with like
            value = float(value)
        view.reads[field] = value
        return MISSING if value is None else value

    return get
