"""Program documents as text: JSON or YAML in, values and the lines they stand on out."""

import math
import re
from typing import Any

import msgspec
import yaml

from questline.model.limits import PROGRAM_DEPTH_MAX, PROGRAM_VALUES_MAX

_NUMBER_CHARS_MAX = 64  # what is longer is no amount, and long digits are slow to read


class DocumentUnreadable(ValueError):
    """The text is no JSON or YAML that a program can be; the message says where."""


class Document(msgspec.Struct, frozen=True):
    """A document with the line of each of its paths, counted from 1."""

    value: Any
    lines: dict[str, int]

    def line_of(self, path: str) -> int:
        """Return the line a path stands on, or that of the nearest thing around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return 1


def read_document(text: bytes, *, yaml_allowed: bool = True) -> Document:
    """Return the document of a text; raises DocumentUnreadable with line and reason.

    YAML is read by the core schema of YAML 1.2, with which JSON agrees: `on`, `yes`, `12:30` and dates are texts, keys
    are always texts. Tags, anchors and aliases are refused.
    """
    if not yaml_allowed:
        return _read_json(text)
    if text.lstrip()[:1] in (b"{", b"["):
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            pass  # YAML's own braces look alike
        else:
            return Document(value, _json_lines(text))
    return _read_yaml(text)


def write_yaml(document: Any) -> bytes:
    """Return a document as YAML that read_document() reads to the same values."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


class _Open:
    """A mapping or list whose end is yet to come."""

    __slots__ = ("into", "key", "path")

    def __init__(self, path: str, into: dict[str, Any] | list[Any]) -> None:
        self.path = path
        self.into = into
        self.key: str | None = None


class _Tree:
    """A document put together value by value, within bounds."""

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[str, int] = {}
        self._open: list[_Open] = []
        self._values = 0

    @property
    def wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].into, dict) and self._open[-1].key is None

    def key(self, name: str, line: int) -> None:
        top = self._open[-1]
        if name in top.into:
            raise DocumentUnreadable(f"line {line}: {name!r} stands twice in one place")
        top.key = name
        self.lines[f"{top.path}.{name}" if top.path else name] = line

    def add(self, value: Any, line: int) -> str:
        self._values += 1
        if self._values > PROGRAM_VALUES_MAX:
            raise DocumentUnreadable(f"line {line}: the document has more than {PROGRAM_VALUES_MAX} values")
        if not self._open:
            self.value, path = value, ""
        else:
            top = self._open[-1]
            if isinstance(top.into, list):
                path = f"{top.path}[{len(top.into)}]"
                top.into.append(value)
            else:
                assert top.key is not None
                path = f"{top.path}.{top.key}" if top.path else top.key
                top.into[top.key], top.key = value, None
        self.lines.setdefault(path, line)
        return path

    def begin(self, into: dict[str, Any] | list[Any], line: int) -> None:
        path = self.add(into, line)
        if len(self._open) >= PROGRAM_DEPTH_MAX:
            raise DocumentUnreadable(f"line {line}: is nested deeper than {PROGRAM_DEPTH_MAX} levels")
        self._open.append(_Open(path, into))

    def end(self) -> None:
        self._open.pop()


# ── JSON

_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]|[^\s{}\[\]:,"]+', re.DOTALL)


def _read_json(text: bytes) -> Document:
    try:
        value = msgspec.json.decode(text)
    except RecursionError as error:
        raise DocumentUnreadable(f"the body is nested deeper than {PROGRAM_DEPTH_MAX} levels") from error
    except (msgspec.DecodeError, ValueError) as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        line = text.count(b"\n", 0, int(at[1])) + 1 if at else 1
        raise DocumentUnreadable(f"line {line}: the body is no JSON: {error}") from error
    return Document(value, _json_lines(text))


def _json_lines(text: bytes) -> dict[str, int]:
    """Return the lines of a text that is known to be JSON; raises for a key that stands twice, which JSON leaves open."""
    tree, line = _Tree(), 1
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        if token == b"\n":
            line += 1
        elif token in (b"{", b"["):
            tree.begin({} if token == b"{" else [], line)
        elif token in (b"}", b"]"):
            tree.end()
        elif token not in (b":", b","):
            if tree.wants_key:
                tree.key(msgspec.json.decode(token), line)
            else:
                tree.add(None, line)
    return tree.lines


# ── YAML

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where the wheel has it, is 15 times as fast

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def _read_yaml(text: bytes) -> Document:
    tree, documents = _Tree(), 0
    try:
        events: Any = yaml.parse(text.decode("utf-8-sig"), Loader=_Loader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise DocumentUnreadable(f"line {_line(event)}: a second document begins")
            elif isinstance(event, yaml.NodeEvent):
                _take(tree, event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                tree.end()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        last = text.rstrip().count(b"\n")  # libyaml finds what is missing at the end on the line after it
        where = f"line {min(mark.line, last) + 1}: " if mark is not None else ""
        raise DocumentUnreadable(f"{where}{error.problem or 'is no YAML'}") from error
    except UnicodeError as error:
        raise DocumentUnreadable(f"the text is no UTF-8: {error}") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, DocumentUnreadable):
            raise
        raise DocumentUnreadable(f"the text is no YAML: {' '.join(str(error).split())}") from error
    return Document({} if tree.value is None else tree.value, tree.lines)


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _take(tree: _Tree, event: Any) -> None:
    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise DocumentUnreadable(f"line {line}: aliases and their anchors are not taken; write it out")
    if event.tag is not None:
        raise DocumentUnreadable(f"line {line}: tags such as {event.tag!r} are not taken")
    if isinstance(event, yaml.ScalarEvent):
        if tree.wants_key:
            tree.key(event.value, line)
        else:
            tree.add(_scalar(event.value, line) if event.implicit[0] else event.value, line)
    elif tree.wants_key:
        raise DocumentUnreadable(f"line {line}: a key must be a text")
    else:
        tree.begin({} if isinstance(event, yaml.MappingStartEvent) else [], line)


def _scalar(text: str, line: int) -> Any:
    """Return what a plain scalar means by the core schema of YAML 1.2 (section 10.3.2)."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    whole = _INTEGER.fullmatch(text)
    if whole or _FLOAT.fullmatch(text) or _OCTAL_OR_HEX.fullmatch(text):
        if len(text) > _NUMBER_CHARS_MAX:
            raise DocumentUnreadable(f"line {line}: a number has more than {_NUMBER_CHARS_MAX} characters")
        number = int(text) if whole else int(text, 0) if text[:2] in ("0o", "0x") else float(text)
        if math.isfinite(number):
            return number
    elif not _NO_NUMBER.fullmatch(text):
        return text
    raise DocumentUnreadable(f"line {line}: {text} is no number that JSON has; write it in quotes if it is a text")


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would be read as something else: PyYAML leaves `08` and `1e3` bare, and folds U+0085."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def represent_str(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if text.isprintable() else '"')


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(f"(?:{_FLOAT.pattern}|{_OCTAL_OR_HEX.pattern}|{_NO_NUMBER.pattern})$"),
    list("-+.0123456789"),
)
_Dumper.add_representer(str, _Dumper.represent_str)
