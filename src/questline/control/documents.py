"""Program documents as text: JSON or YAML in, values and the lines they stand on out."""

import re
from typing import Any

import msgspec
import yaml

_NODES_MAX = 200_000  # also what aliases expand to: an alias is refused, so a document cannot grow by being read


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


class _Loader(yaml.SafeLoader):
    """YAML as people write programs: `on` is a word, `yes` a text, a date a text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_document(text: bytes, *, yaml_allowed: bool = True) -> Document:
    """Return the document of a text; raises DocumentUnreadable with line and reason."""
    if not yaml_allowed or text.lstrip()[:1] == b"{":
        try:
            return Document(msgspec.json.decode(text), {})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not yaml_allowed:
                raise DocumentUnreadable(f"the body is no JSON: {error}") from error
    try:
        loader = _Loader(text.decode())
        node = loader.get_single_node()
        lines: dict[str, int] = {}
        _walk(node, "", lines, set(), [0])
        value = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise DocumentUnreadable(f"{where}{error.problem or 'is no YAML'}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DocumentUnreadable(str(error)) from error
    return Document(value, lines)


def _walk(node: Any, path: str, lines: dict[str, int], seen: set[int], count: list[int]) -> None:
    if node is None:
        return
    count[0] += 1
    line = node.start_mark.line + 1
    if count[0] > _NODES_MAX:
        raise ValueError(f"line {line}: the document has more than {_NODES_MAX} nodes")
    if id(node) in seen and not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"line {line}: aliases are not taken; write it out")
    seen.add(id(node))
    lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                raise ValueError(f"line {key.start_mark.line + 1}: {name!r} stands twice in one place")
            keys.add(name)
            child = f"{path}.{name}" if path else name
            lines[child] = key.start_mark.line + 1
            _walk(value, child, lines, seen, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, f"{path}[{index}]", lines, seen, count)
