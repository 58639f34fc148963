"""What the documentation shows is what the code takes, and what the code has is documented."""

import re
from pathlib import Path
from typing import Any

import pytest
from litestar import Router

from questline.api.app import RESOURCES, SYSTEM
from questline.api.hot.commands import HOT_COMMANDS
from questline.api.hot.router import HOT_PATHS
from questline.api.problems import STATUS_OF_REASON, code_of
from questline.control.documents import read_document
from questline.control.programs import SECTIONS
from questline.engine.compile import compile_program
from questline.engine.conditions import OPERATORS, SYNONYMS
from questline.engine.schema import PROGRAM_SCHEMA
from questline.engine.validate import validate
from questline.model.reasons import REASONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", DOCS / "reference/program.md", *sorted(DOCS.glob("explanation/*.md"))]
FILES = [ROOT / "examples/open-source/program.yaml", ROOT / "src/questline/cli/demo.yaml"]
PARTS = PROGRAM_SCHEMA["properties"].keys()

# What the fragments on a page refer to and do not define themselves.
BASE: dict[str, dict[str, Any]] = {
    "currencies": {
        "XP": {"kind": "xp", "levels": {"curve": "sqrt"}},
        "Builder XP": {"kind": "xp", "levels": {"curve": "sqrt"}},
        "coins": {"kind": "currency"},
    },
    "metrics": {name: {"on": "e", "count": True} for name in ("tasks", "hard-tasks", "commits")}
    | {"spent": {"on": "e", "sum": "amount"}},
    "streaks": {"daily": {"on": "e"}},
}


def blocks(page: Path) -> list[str]:
    found = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in found if block.split(":")[0] in PARTS]


def with_base(document: dict[str, Any]) -> dict[str, Any]:
    return document | {part: base | document.get(part, {}) for part, base in BASE.items()}


EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}") for page in PAGES for number, block in enumerate(blocks(page), 1)
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_a_program_is_valid(text: str) -> None:
    assert validate(with_base(read_document(text.encode()).value)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_program_that_comes_with_questline_compiles(path: Path) -> None:
    compile_program(read_document(path.read_bytes()).value, 1)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_program_is_in_the_reference(part: str) -> None:
    page = DOCS / "reference/program.md"
    shown = {key for block in blocks(page) for key in read_document(block.encode()).value}
    assert part in shown or f"## {part}\n" in page.read_text(encoding="utf-8")


def test_every_condition_in_the_table_of_operators_is_valid() -> None:
    page = (DOCS / "reference/program.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\{field: .*?\})` \|", page, re.MULTILINE)
    assert [op for op, _ in rows] == list(OPERATORS)
    for op, text in rows:
        when = read_document(text.encode()).value
        assert when["op"] == op
        rule = {"on": "e", "when": when, "award": {"coins": 1}}
        assert validate(with_base({"rules": {"r": rule}})) == []


def test_every_operator_and_synonym_is_in_the_reference() -> None:
    page = (DOCS / "reference/program.md").read_text(encoding="utf-8")
    assert [name for name in (*OPERATORS, *SYNONYMS) if f"`{name}`" not in page] == []


def test_every_reason_code_is_in_the_reference_with_its_line() -> None:
    page = (DOCS / "reference/events.md").read_text(encoding="utf-8")
    assert [reason for reason, line in REASONS.items() if f"| `{reason}` | {line} |\n" not in page] == []


def routes(handlers: list[Any], prefix: str) -> set[str]:
    """Return routes as the reference writes them: the six sections of a program as one."""
    sections = re.compile(rf"^/v1/({'|'.join(SECTIONS)})(?=(/{{name}})?$)")
    found = set()
    for route in Router(prefix, route_handlers=handlers).routes:
        path = sections.sub("/v1/{section}", re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        found |= {f"{method} {path}" for method in route.methods if method not in ("OPTIONS", "HEAD")}
    return found


def test_the_reference_has_every_route_of_the_openapi_document_and_none_that_is_not() -> None:
    page = (DOCS / "reference/http-api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", page, re.MULTILINE))
    described = [handler for handler in SYSTEM if handler.include_in_schema is not False]
    resources = routes(RESOURCES, "/v1") | {f"POST {path}" for path in HOT_PATHS}
    resources |= {f"POST /v1{command.path}" for command in HOT_COMMANDS}
    assert (resources | routes(described, "/")) - shown == set()
    assert shown - (resources | routes(SYSTEM, "/")) == set()
    assert [section for section in SECTIONS if f"`{section}`" not in page] == []


def test_every_problem_code_is_in_the_reference() -> None:
    page = (DOCS / "reference/http-api.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/questline/api").rglob("*.py"))
    raised = set(re.findall(r'Problem\(\s*\d{3},\s*"([a-z-]+)"', source))
    raised |= {code_of(reason) for reason in STATUS_OF_REASON}
    assert len(raised) > 15
    assert [code for code in sorted(raised) if f"`{code}`" not in page] == []
