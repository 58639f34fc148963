"""Events in XML, read as they come in: any root, an `<event>` each below it, handed on as JSON.

The parser is expat, which holds what it was given in this moment and no more. It is kept from everything by which XML has
hurt its readers: a document type is refused as soon as it begins, so there is no entity but the five of XML, nothing
external and nothing to expand; depth, names and the length of a tag are bounded.
"""

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any
from xml.parsers import expat

import msgspec

from questline.ingest.envelope import Invalid, Rejection
from questline.model.limits import XML_DEPTH_MAX, XML_NAMES_MAX, XML_PIECE_BYTES
from questline.model.reasons import Reason

Item = tuple[int, bytes | Rejection | None]  # line from 1; None: longer than allowed

_EVENT = "event"
_OBJECTS = frozenset({"payload", "metadata", "properties", "traits", "data", "context"})
_XSI = "http://www.w3.org/2001/XMLSchema-instance "
_TYPE, _NIL = _XSI + "type", _XSI + "nil"
_ENCODINGS = frozenset({"utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "iso-8859-1"})
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(\.\d{1,15})?")  # of more digits, a text: it is an id, or would be rounded
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BEGINS_NUMBER = frozenset("-0123456789")
_WORDS = {"true": True, "false": False}
_INTEGERS = frozenset({"int", "integer", "long", "short", "byte"}) | {
    f"{sign}{kind}" for sign in ("unsigned", "positive", "nonpositive", "negative", "nonnegative")
    for kind in ("int", "integer", "long", "short", "byte")
}  # fmt: skip
_DECIMALS = frozenset({"decimal", "double", "float"})
_encode = msgspec.json.Encoder().encode


class XmlRefused(Exception):
    """The stream cannot be read on: it is `malformed`, or XML of a kind that is not taken."""

    def __init__(self, message: str, *, malformed: bool = False) -> None:
        super().__init__(message)
        self.malformed = malformed


class _Element:
    """An element under way: its members, from attributes and children, and the pieces of its text."""

    __slots__ = ("is_array", "members", "name", "nil", "parts", "type")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, list[Any]] | None = None
        self.parts: list[str] = []
        self.type: str | None = None
        self.nil = self.is_array = False

    def add(self, name: str, value: Any) -> None:
        if self.members is None:
            self.members = {name: [value]}
        else:
            self.members.setdefault(name, []).append(value)

    def value(self, *, as_text: bool) -> Any:
        """Return what the element says: a text, number, truth value, object or list; a name that repeats is a list."""
        if self.nil:
            return None
        text = "".join(self.parts).strip()
        if self.is_array:
            return [value for values in (self.members or {}).values() for value in values]
        if self.members is None:
            return text if as_text else self._typed(text)
        if text:
            self.add("value", self._typed(text))
        return {name: values[0] if len(values) == 1 else values for name, values in self.members.items()}

    def _typed(self, text: str) -> Any:
        if self.type is None:
            return _guessed(text)
        try:
            if self.type in _INTEGERS:
                return _integer(text)
            if self.type in _DECIMALS:
                return _decimal(text)
            if self.type == "boolean":
                return {"true": True, "1": True, "false": False, "0": False}[text]
        except (ValueError, KeyError) as error:
            shown = text if len(text) <= 40 else text[:40] + "…"
            raise Invalid("payload", f"<{self.name}> holds {shown!r}, which is no {self.type}") from error
        return text


class XmlReader:
    """Takes chunks of a document and gives the events that became complete, each with the line it began on."""

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._found: list[Item] = []
        self._open: list[_Element] = []  # of the event under way, itself first
        self._depth = 0
        self._event_depth = 0  # of the event under way; 0: there is none
        self._began = self._line = 0
        self._too_long = False
        self._fault: Invalid | None = None
        self._names: set[str] = set()
        self._quiet_bytes = 0  # since the parser last came to the end of anything
        self._parser = self._hardened()

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """Yield the events that this chunk completes; raises XmlRefused after those that came before the fault."""
        for start in range(0, len(chunk), XML_PIECE_BYTES):
            yield from self._parse(chunk[start : start + XML_PIECE_BYTES], last=False)

    def end(self) -> Iterator[Item]:
        """End the document: raises XmlRefused where it is not complete."""
        yield from self._parse(b"", last=True)

    def _hardened(self) -> "expat.XMLParserType":
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.XmlDeclHandler = self._declaration
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartDoctypeDeclHandler = self._doctype
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._passed_over
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        return parser

    def _parse(self, piece: bytes, *, last: bool) -> Iterator[Item]:
        refusal = None
        self._quiet_bytes += len(piece)
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            where = f"line {error.lineno}, column {error.offset + 1}"
            refusal = XmlRefused(
                f"the XML is not well-formed at {where}: {expat.ErrorString(error.code)}", malformed=True
            )
        except XmlRefused as refused:
            refusal = refused
        found, self._found = self._found, []
        yield from found
        if refusal is not None:
            raise refusal
        if self._quiet_bytes > self._event_bytes_max + XML_PIECE_BYTES:
            raise XmlRefused(f"a tag is longer than {self._event_bytes_max} bytes")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._quiet_bytes = 0
        self._depth += 1
        if self._depth > XML_DEPTH_MAX:
            raise XmlRefused(f"elements are nested deeper than {XML_DEPTH_MAX} levels")
        if name not in self._names:
            self._know(name)
        local = name.rpartition(" ")[2]
        if not self._event_depth:
            if self._depth == 1 and local != _EVENT:
                for attribute in attributes:
                    self._know(attribute)
                return
            self._event_depth = self._depth
            self._began, self._line = self._parser.CurrentByteIndex, self._parser.CurrentLineNumber
            self._too_long, self._fault = False, None
            if local != _EVENT:
                self._fault = Invalid("", f"<{local}> is no <event>: only those may stand below the root")
        elif self._is_over():
            return
        element = _Element(local)
        self._open.append(element)
        if attributes:
            self._add_attributes(element, attributes)

    def _add_attributes(self, element: _Element, attributes: dict[str, str]) -> None:
        is_envelope = len(self._open) == 1
        for name, value in attributes.items():
            if name not in self._names:
                self._know(name)
            if name == _TYPE:
                element.type = value.rpartition(":")[2].lower()
                element.is_array = element.type == "array"
            elif name == _NIL:
                element.nil = value in ("true", "1")
            else:
                local = name.rpartition(" ")[2]
                if not is_envelope:
                    element.add(local, _guessed(value))
                elif local in _OBJECTS:
                    self._add_object(element, local, value)
                else:
                    element.add(local, value)

    def _add_object(self, event: _Element, name: str, text: str) -> None:
        try:
            event.add(name, _object_of(name, text))
        except Invalid as fault:
            self._fault = self._fault or fault

    def _end(self, _: str) -> None:
        self._quiet_bytes = 0
        self._depth -= 1
        if not self._event_depth:
            return
        if self._depth < self._event_depth:
            self._end_event()
            return
        if self._is_over():
            return
        element = self._open.pop()
        above, is_object = self._open[-1], element.name in _OBJECTS
        try:
            value = element.value(as_text=len(self._open) == 1 and not is_object)
        except Invalid as fault:
            self._fault = self._fault or fault
            return
        if len(self._open) == 1 and is_object and type(value) is str:
            self._add_object(above, element.name, value)
        else:
            above.add(element.name, value)

    def _end_event(self) -> None:
        self._event_depth = 0
        body: bytes | Rejection | None
        if self._is_over():
            body = None
        elif self._fault is not None:
            body = self._fault.rejection
        else:
            try:
                fields = self._open[0].value(as_text=True)
                body = _encode(fields if type(fields) is dict else {})
            except (RecursionError, ValueError, Invalid) as error:
                body = Rejection(Reason.INVALID_ENVELOPE, f"the event cannot be read: {error}")
        self._open.clear()
        self._found.append((self._line, body))

    def _text(self, text: str) -> None:
        self._quiet_bytes = 0
        if self._event_depth and not self._is_over() and (self._open[-1].parts or not text.isspace()):
            self._open[-1].parts.append(text)

    def _is_over(self) -> bool:
        """Tell whether the event under way is longer than allowed; from then on nothing of it is kept."""
        if not self._too_long and self._parser.CurrentByteIndex - self._began > self._event_bytes_max:
            self._too_long = True
            self._open.clear()
        return self._too_long

    def _know(self, name: str) -> None:
        """Count a name: the parser remembers each for as long as the stream lasts."""
        self._names.add(name)
        if len(self._names) > XML_NAMES_MAX:
            raise XmlRefused(f"there are more than {XML_NAMES_MAX} different names of elements and attributes")

    def _namespace(self, prefix: str | None, _: str) -> None:
        self._know(f"xmlns:{prefix}")

    def _declaration(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise XmlRefused(f"the encoding {encoding[:40]!r} is not taken; send UTF-8")

    def _doctype(self, *_: Any) -> None:
        raise XmlRefused("a document type (<!DOCTYPE) is not taken, nor the entities it declares")

    def _passed_over(self, *_: Any) -> None:
        self._quiet_bytes = 0


def _guessed(text: str) -> Any:
    """Return a number or a truth value where a text is written as JSON writes one, else the text."""
    if text[:1] in _BEGINS_NUMBER:
        found = _NUMBER.fullmatch(text)
        if found is None or len(text) > 17:
            return text
        return int(text) if found[1] is None else float(text)
    return _WORDS.get(text, text)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _decimal(text: str) -> float:
    number = float(text)
    if not isfinite(number) or "_" in text:
        raise ValueError(text)
    return number


def _object_of(field: str, text: str) -> Any:
    """Return the object that a text of JSON holds; nothing is an empty one, and what is no JSON stays as it is."""
    if not text.startswith("{"):
        return text or {}
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Invalid(field, f"is no JSON: {error}") from error
