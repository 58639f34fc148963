"""The shape of the code: files and functions of a size to be read, no drawers, nothing that nobody uses."""

import ast
import re

from source import PACKAGE, Module, imports, modules

LINES_MAX = 400  # nine of ten are far below; a file beyond is usually two nouns
FUNCTION_LINES_MAX = 80
DRAWERS = {"utils", "util", "helpers", "helper", "common", "shared", "misc", "manager", "base", "lib"}
CALLED_FROM_OUTSIDE = {
    "cli.reference": "`make docs`",
    "testing.scenario": "a team's own tests of its program",
}


def test_files_are_of_a_size_to_be_read() -> None:
    assert [f"{m.name}: {m.text.count(chr(10))}" for m in modules() if m.text.count("\n") > LINES_MAX] == []


def test_functions_are_of_a_size_to_be_read() -> None:
    long = [
        f"{module.at(node)} {node.name}: {_lines(node)}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines(node) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_file_is_a_drawer() -> None:
    assert [m.name for m in modules() if DRAWERS & set(m.name.split("."))] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [m.name for m in modules() if m.tree.body and not ast.get_docstring(m.tree)] == []


def test_every_module_is_imported_by_another() -> None:
    imported = {name for module in modules() for name in imports(module)}
    alone = {m.name for m in modules() if m.path.name != "__init__.py" and f"questline.{m.name}" not in imported}
    assert alone == set(CALLED_FROM_OUTSIDE)


def test_every_limit_bounds_something() -> None:
    limits = next(m for m in modules() if m.name == "model.limits")
    assert [name for name in _constants(limits) if not _is_used(name, limits)] == []


def test_no_folder_holds_caches_or_leftovers_of_an_editor() -> None:
    strange = [p.name for p in PACKAGE.rglob("*") if p.suffix in {".orig", ".rej", ".bak", ".swp"}]
    assert strange == []


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _constants(module: Module) -> list[str]:
    return [
        target.id
        for node in module.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _is_used(name: str, home: Module) -> bool:
    word = re.compile(rf"\b{name}\b")
    return any(word.search(m.text) for m in modules() if m is not home)
