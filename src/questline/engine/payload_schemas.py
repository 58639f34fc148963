"""JSON Schemas of payloads (draft 2020-12): what they may hold, and the check they are compiled to.

They are written by customers and run on every event, so what a check can cost is bounded before it is compiled: nothing is
fetched, no schema refers to itself, references are counted as if they were written out, and patterns are of the
linear-time kind.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from questline.engine.program_error import hint
from questline.model.limits import (
    EVENT_SCHEMA_NODES_MAX,
    EVENT_SCHEMA_PATTERN_BYTES_MAX,
    EVENT_SCHEMA_REFERENCES_DEEP_MAX,
    PATTERN_CHARS_MAX,
    SCHEMA_MESSAGE_CHARS_MAX,
)

Check = Callable[[Any], str | None]
"""Returns the first violation as PATH: MESSAGE, or nothing."""
Pointer = tuple[str, ...]
Fault = tuple[Pointer, str]

_ONE = frozenset(
    {
        "additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames", "unevaluatedItems",
        "unevaluatedProperties",
    }
)  # fmt: skip
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_PLAIN = frozenset(
    {
        "$schema", "$ref", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
        "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains",
        "minProperties", "maxProperties", "required", "dependentRequired", "contentEncoding", "contentMediaType",
    }
)  # fmt: skip
_KNOWN = _ONE | _MANY | _NAMED | _PLAIN
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PATTERNS = RegexOptions(EVENT_SCHEMA_PATTERN_BYTES_MAX, EVENT_SCHEMA_PATTERN_BYTES_MAX)
_MASK = "the value"  # what a payload holds is the customer's: it stays out of messages, which outlive it


def compile_schema(schema: dict[str, Any]) -> Check:
    """Return the check of a schema without faults."""
    validator = _compile(schema, _MASK)
    is_valid, errors = validator.is_valid, validator.iter_errors

    def check(payload: Any) -> str | None:
        return None if is_valid(payload) else _violation(next(errors(payload)))

    return check


def faults(schema: dict[str, Any]) -> list[Fault]:
    """Return what stops a schema from being compiled, each with the pointer to it."""
    nodes: dict[Pointer, list[Pointer]] = {}
    found = list(_collect(schema, (), nodes))
    if not found:
        found = list(_size_faults(nodes))
    if not found:
        try:
            _compile(schema)
        except ValidationError as error:
            found = [(tuple(map(str, error.instance_path)), _why(error.message))]
        except ValueError as error:
            found = [((), str(error))]
    return found


def _compile(schema: dict[str, Any], mask: str | None = None) -> Draft202012Validator:
    return Draft202012Validator(schema, validate_formats=True, pattern_options=_PATTERNS, offline=True, mask=mask)


def _why(message: str) -> str:
    if message.endswith('is not a "regex"'):
        return "is no pattern of the linear-time kind: no look-around and no back-references, and not too large"
    return message[:SCHEMA_MESSAGE_CHARS_MAX]


def _violation(error: ValidationError) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"payload{path}: {error.message}"[:SCHEMA_MESSAGE_CHARS_MAX]


def _collect(schema: Any, at: Pointer, nodes: dict[Pointer, list[Pointer]]) -> Iterator[Fault]:
    """Note each schema below one with what it applies, and yield what is wrong with its keywords."""
    applied = nodes[at] = []
    if isinstance(schema, bool) or len(nodes) > EVENT_SCHEMA_NODES_MAX:
        return
    if not isinstance(schema, dict):
        yield at, "must be a schema: an object, true or false"
        return
    for keyword, value in schema.items():
        below: list[tuple[Pointer, Any]]
        if keyword in _ONE:
            below = [((keyword,), value)]
        elif keyword in _MANY and isinstance(value, list):
            below = [((keyword, str(place)), item) for place, item in enumerate(value)]
        elif keyword in _NAMED and isinstance(value, dict):
            below = [((keyword, name), item) for name, item in value.items()]
        else:
            yield from _keyword_faults(keyword, value, at)
            below = []
        for path, item in below:
            if keyword == "patternProperties" and len(path[1]) > PATTERN_CHARS_MAX:
                yield (*at, keyword), f"a pattern is longer than {PATTERN_CHARS_MAX} characters"
            if keyword not in ("$defs", "definitions"):
                applied.append((*at, *path))
            yield from _collect(item, (*at, *path), nodes)
    target = _target(schema.get("$ref"))
    if target is not None:
        applied.append(target)


def _keyword_faults(keyword: str, value: Any, at: Pointer) -> Iterator[Fault]:
    if keyword == "$ref" and _target(value) is None:
        yield (*at, keyword), "must point into this schema, as #/$defs/NAME does: nothing is fetched"
    elif keyword == "$schema" and (not isinstance(value, str) or value.rstrip("#") != _DRAFT):
        yield (*at, keyword), f"must be {_DRAFT}, or left out"
    elif keyword == "pattern" and isinstance(value, str) and len(value) > PATTERN_CHARS_MAX:
        yield (*at, keyword), f"is longer than {PATTERN_CHARS_MAX} characters"
    elif keyword not in _KNOWN and not keyword.startswith("x-"):
        # To a validator an unknown keyword is a remark: one mistyped letter would switch a check off unseen.
        yield at, f"{keyword!r} is no keyword that is taken here{hint(keyword, _KNOWN)}; remarks begin with x-"


def _target(ref: Any) -> Pointer | None:
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in unquote(ref[1:]).split("/")[1:])


def _size_faults(nodes: dict[Pointer, list[Pointer]]) -> Iterator[Fault]:
    """Yield references to nothing, references in a circle, and a size that is too large once all are written out."""
    sizes: dict[Pointer, int] = {}
    trail: list[Pointer] = []

    def size(at: Pointer) -> int:
        if at in sizes:
            return sizes[at]
        if at not in nodes:
            raise _Bad(trail[-1], f"the reference to #/{'/'.join(at)} finds no schema")
        if at in trail:
            raise _Bad(trail[-1], "a schema must not refer to itself, directly or through others")
        if len(trail) > EVENT_SCHEMA_REFERENCES_DEEP_MAX:
            raise _Bad(at, f"is more than {EVENT_SCHEMA_REFERENCES_DEEP_MAX} levels deep, references included")
        trail.append(at)
        sizes[at] = 1 + sum(size(below) for below in nodes[at])
        trail.pop()
        return sizes[at]

    try:
        total = len(nodes) if len(nodes) > EVENT_SCHEMA_NODES_MAX else max(size(at) for at in nodes)
    except _Bad as bad:
        yield bad.at, str(bad)
        return
    if total > EVENT_SCHEMA_NODES_MAX:
        yield (
            (),
            f"has more than {EVENT_SCHEMA_NODES_MAX:,} schemas in it, each reference counted as what it stands for",
        )


class _Bad(Exception):
    def __init__(self, at: Pointer, message: str) -> None:
        super().__init__(message)
        self.at = at
