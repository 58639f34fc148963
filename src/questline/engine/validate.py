"""A program is validated as a whole before it is applied: every error at once, each with its path."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
import re2
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from questline.engine.conditions import operator_of
from questline.engine.program_error import ProgramError, hint
from questline.engine.references import references
from questline.engine.schema import PROGRAM_SCHEMA
from questline.model.limits import CONDITION_DEPTH_MAX, CONDITION_LEAVES_MAX, PATTERN_CHARS_MAX, PROGRAM_ERRORS_MAX
from questline.model.program import parse, string_keys

__all__ = ["ProgramError", "ProgramInvalid", "validate"]

_FORMATS = FormatChecker(formats=())
_VALIDATOR = Draft202012Validator(PROGRAM_SCHEMA, format_checker=_FORMATS)
_DOCUMENT_DEPTH_MAX = 64


@_FORMATS.checks("date-time", raises=ValueError)
def _is_instant(text: Any) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


class ProgramInvalid(ValueError):
    """The document has errors; `errors` are all of them."""

    def __init__(self, errors: list[ProgramError]) -> None:
        super().__init__("; ".join(f"{e.path}: {e.message}" for e in errors[:10]))
        self.errors = errors


def validate(document: Any) -> list[ProgramError]:
    """Return every error of a document, at most PROGRAM_ERRORS_MAX; never raises, whatever the document holds."""
    if _depth(document) > _DOCUMENT_DEPTH_MAX:
        return [ProgramError("", f"the document is nested deeper than {_DOCUMENT_DEPTH_MAX} levels")]
    document = string_keys(document)
    found = list(_VALIDATOR.iter_errors(document))
    errors = [_structural(error) for error in found]
    conditions = list(_conditions(document))
    errors.extend(conditions)
    broken = {tuple(map(str, list(error.absolute_path)[:2])) for error in found}
    broken |= {tuple(error.path.split(".")[:2]) for error in conditions}
    if isinstance(document, dict):
        errors.extend(_references_of_the_rest(document, broken))
    unique = {(error.path, error.message): error for error in errors}
    return sorted(unique.values(), key=lambda error: error.path)[:PROGRAM_ERRORS_MAX]


def _references_of_the_rest(document: dict[str, Any], broken: set[tuple[str, ...]]) -> Iterator[ProgramError]:
    """Check the references of all definitions that have no error of form; the names of the broken ones still count."""
    whole = {
        section: {name: entry for name, entry in entries.items() if (section, name) not in broken}
        if isinstance(entries, dict)
        else entries
        for section, entries in document.items()
        if section in PROGRAM_SCHEMA["properties"] and (section,) not in broken
    }
    try:
        program = parse(whole)
    except msgspec.ValidationError as error:
        if not broken:
            yield ProgramError("", str(error))
        return
    yield from references(program, document)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= _DOCUMENT_DEPTH_MAX:
        depth += 1
        level = [
            child
            for item in level
            for child in (
                item.values() if isinstance(item, Mapping) else item if isinstance(item, list | tuple) else ()
            )
        ]
    return depth


def path_text(path: Iterable[str | int]) -> str:
    """Return a path as people write it: rules.hard-task.when.all[0].op."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _structural(error: ValidationError) -> ProgramError:
    while error.validator in ("anyOf", "oneOf") and error.context:
        wanted = _branch(error)
        if wanted is None:
            return ProgramError(path_text(error.absolute_path), "must be a whole number above 0, or {field, times, round}"
                                if "award" in error.absolute_path else "must be one event type or a list of them")  # fmt: skip
        error = wanted
    path = path_text(error.absolute_path)
    found: Any = error.instance
    schema: Any = error.schema
    limit: Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            extra = [key for key in found if key not in known]
            hints = [f"{key!r}{hint(key, known)}" for key in extra]
            return ProgramError(path, f"unknown {'key' if len(extra) == 1 else 'keys'} {', '.join(hints)}")
        case "required":
            missing = [key for key in limit if key not in found]
            return ProgramError(path, f"lacks {', '.join(map(repr, missing))}")
        case "enum":
            options = [str(option) for option in limit]
            return ProgramError(
                path, f"{_short(found)} is not one of {', '.join(options[:14])}{hint(str(found), options)}"
            )
        case "type":
            return ProgramError(path, f"{_short(found)} must be of type {limit}")
        case "minimum" | "exclusiveMinimum":
            return ProgramError(path, f"{_short(found)} is below {limit}")
        case "maximum" | "maxItems" | "maxLength" | "maxProperties":
            return ProgramError(path, f"{_short(found)} is above the limit of {limit}")
        case "minItems" | "minLength" | "minProperties":
            return ProgramError(path, "must not be empty")
        case "const":
            return ProgramError(path, f"must be {limit!r}; leave it out otherwise")
        case "uniqueItems":
            return ProgramError(path, "names something twice")
        case "format":
            return ProgramError(path, f"{_short(found)} is no instant; write one such as 2026-12-01T00:00:00Z")
        case "pattern":
            return ProgramError(path, f"{_short(found)} has a wrong form")
        case _:
            return ProgramError(path, error.message[:300])


def _branch(error: ValidationError) -> ValidationError | None:
    """The error of the one branch whose type fits, for `anyOf`; None where no branch has the right type."""
    fitting = [e for e in error.context or () if not (e.validator == "type" and len(e.relative_path) == 0)]
    return fitting[0] if fitting else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _conditions(document: Any) -> Iterator[ProgramError]:
    if isinstance(document, dict):  # a payload may have a member `when`, and its schema then has one
        document = {part: value for part, value in document.items() if part != "eventTypes"}
    for path, when in _whens(document, ()):
        leaves = [0]
        yield from _condition(when, path, 1, leaves)
        if leaves[0] > CONDITION_LEAVES_MAX:
            yield ProgramError(path_text(path), f"has more than {CONDITION_LEAVES_MAX} leaves")


def _whens(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each `when` of a definition, or of a part of one, with its path."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _whens(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "when" and len(path) > 1:
                yield (*path, key), item
            else:
                yield from _whens(item, (*path, key))


def _condition(raw: Any, path: tuple[str | int, ...], depth: int, leaves: list[int]) -> Iterator[ProgramError]:
    if not isinstance(raw, dict):
        return  # the schema has said so
    if depth > CONDITION_DEPTH_MAX:
        yield ProgramError(path_text(path), f"is nested deeper than {CONDITION_DEPTH_MAX} levels")
        return
    forms = [key for key in ("all", "any", "not", "field") if key in raw]
    if len(forms) != 1:
        yield ProgramError(path_text(path), "must be exactly one of all, any, not, or a leaf {field, op, value}")
        return
    form = forms[0]
    if form == "field":
        leaves[0] += 1
        yield from _leaf(raw, path)
    elif form == "not":
        yield from _condition(raw["not"], (*path, "not"), depth + 1, leaves)
    elif isinstance(raw[form], list):
        for index, part in enumerate(raw[form]):
            yield from _condition(part, (*path, form, index), depth + 1, leaves)


def _leaf(raw: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[ProgramError]:
    if "op" not in raw:
        yield ProgramError(path_text(path), "lacks 'op'")
        return
    op, value, at = operator_of(raw["op"]), raw.get("value"), path_text((*path, "value"))
    if op is None:
        return
    if "value" not in raw and op != "exists":
        yield ProgramError(path_text(path), f"lacks 'value', which {op} compares with")
    elif op in ("gt", "gte", "lt", "lte") and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        yield ProgramError(at, f"{_short(value)} must be a number or a text for {op}")
    elif op in ("in", "nin") and not isinstance(value, list):
        yield ProgramError(at, f"{_short(value)} must be a list for {op}")
    elif op in ("startsWith", "endsWith", "matches") and not isinstance(value, str):
        yield ProgramError(at, f"{_short(value)} must be a text for {op}")
    elif op == "exists" and not isinstance(value, bool) and value is not None:
        yield ProgramError(at, "must be true or false for exists")
    elif op == "between" and not _is_range(value):
        yield ProgramError(at, f"{_short(value)} must be [low, high], two numbers or two texts, for between")
    elif op == "matches":
        yield from _pattern(value, at)


def _is_range(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or any(isinstance(v, bool) for v in value):
        return False
    return all(isinstance(v, str) for v in value) or all(isinstance(v, int | float) for v in value)


def _pattern(value: Any, path: str) -> Iterator[ProgramError]:
    if len(value) > PATTERN_CHARS_MAX:
        yield ProgramError(path, f"is longer than {PATTERN_CHARS_MAX} characters")
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        yield ProgramError(path, f"is no pattern of the linear-time kind (RE2 syntax): {reason}")
