"""JSON bodies of handlers: read with care, and every field that is wrong named at once."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_args

import msgspec
from litestar import Request

from questline.api.problems import Problem

S = TypeVar("S", bound=msgspec.Struct)
Fault = dict[str, str]  # field, message

_EXPECTED = re.compile(r"^Expected `([^`]+)`(?:, got `([^`]+)`)?(.*?)(?: - at `\$?([^`]*)`)?$")
_WORDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "an object",
    "array": "a list", "null": "null",
}  # fmt: skip


class ApiRequest(Request[Any, Any, Any]):
    """A request whose JSON body is kept for the error handler, which names what is wrong with it."""

    async def json(self) -> Any:
        """Return the body's value; raises a 400 problem for what is no JSON, 422 for text that cannot be stored."""
        value = self.scope["state"]["body"] = _decoded(await self.body())
        return value


def invalid(faults: list[Fault]) -> Problem:
    """A readable request with values that cannot be: every one of them."""
    detail = "; ".join(f"{f['field']}: {f['message']}" if f["field"] else f["message"] for f in faults)
    return Problem(422, "invalid-request", detail, errors=faults)


def read(type_: type[S], body: bytes) -> S:
    """Return a body as its type, outside of Litestar; raises the problems that ApiRequest and its error handler do."""
    value = _decoded(body)
    if faults := faults_of(type_, value):
        raise invalid(faults)
    return msgspec.convert(value, type_, strict=False)


def faults_of(type_: type[msgspec.Struct], value: Any) -> list[Fault]:
    """Return what stops a JSON value from being of a type, field by field.

    A type may have a static method `faults`, given the fields that were right in themselves, for what its types cannot
    say; see api/apps.py.
    """
    if not isinstance(value, dict):
        return [{"field": "", "message": "the body must be a JSON object"}]
    faults: list[Fault] = []
    right: dict[str, Any] = {}
    known = msgspec.structs.fields(type_)
    for field in known:
        if field.encode_name in value:
            try:
                right[field.name] = msgspec.convert(value[field.encode_name], field.type, strict=False)
            except msgspec.ValidationError as error:
                faults.append(_fault(field.encode_name, str(error), field.type))
        elif field.required:
            faults.append({"field": field.encode_name, "message": "is missing"})
    unknown = value.keys() - {field.encode_name for field in known}
    faults += [{"field": name, "message": "is not known here"} for name in sorted(unknown)]
    further: Callable[[Mapping[str, Any]], list[Fault]] = getattr(type_, "faults", lambda _: [])
    return faults + further(right)


def message_of(text: str, type_: Any = None) -> str:
    """Return a converter's error in our words."""
    if "enum value" in text and (choices := _choices(type_)):
        return f"must be one of {', '.join(choices)}"
    found = _EXPECTED.match(text)
    if found is None:
        return text.split(" - at ")[0]
    wanted, got, more, _ = found.groups()
    message = f"must be {' or '.join(_WORDS.get(w.strip(), w.strip()) for w in wanted.split('|'))}{more}"
    return f"{message}, not {_WORDS.get(got, got)}" if got else message


def _decoded(body: bytes) -> Any:
    try:
        value = msgspec.json.decode(body)
        faults = _nul_faults(value, "") if b"\\u0000" in body else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, "invalid-request", f"the body is no JSON: {why}") from error
    if faults:
        raise invalid(faults)
    return value


def _fault(name: str, text: str, type_: Any) -> Fault:
    found = _EXPECTED.match(text)
    inside = (found[4] if found else None) or ""
    return {"field": name + inside, "message": message_of(text, type_)}


def _choices(type_: Any) -> list[str]:
    for option in (type_, *get_args(type_)):
        if isinstance(option, type) and issubclass(option, StrEnum):
            return [member.value for member in option]
    return []


def _nul_faults(value: Any, path: str) -> list[Fault]:
    if isinstance(value, str):
        return [{"field": path, "message": "must not hold a NUL character"}] if "\0" in value else []
    if isinstance(value, list):
        return [fault for n, item in enumerate(value) for fault in _nul_faults(item, f"{path}[{n}]")]
    if isinstance(value, dict):
        nested = [
            fault for name, item in value.items() for fault in _nul_faults(item, f"{path}.{name}" if path else name)
        ]
        return nested + [fault for name in value for fault in _nul_faults(name, path)]
    return []
