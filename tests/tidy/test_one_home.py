"""What has one home: the clock, the environment, chance, SQL."""

import ast
import re

import pytest
from source import Module, dotted, modules

from questline.settings import PREFIX

# What reads the hour of the day. Stopwatches (monotonic, perf_counter) measure a wait and date nothing.
CLOCKS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "datetime.datetime.now",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
}
CLOCK_HOMES = {
    "assembly_worker",
    "store.ids",  # a UUIDv7 is its moment; no date is taken from it but the month of a partition
}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv"}
ENVIRONMENT_HOMES = {
    "settings",
    "store.embedded",  # hands the environment on to PostgreSQL without the variables that would steer it; reads none
}
# A statement of SQL begins with one of these in capitals; prose in capitals does not go on like this.
STATEMENT = re.compile(
    r"^\s*(SELECT\s+\S|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s|MERGE\s+INTO\s"
    r"|(CREATE|ALTER|DROP|TRUNCATE)\s+\w|SET\s+(LOCAL|SESSION)\s|COPY\s+\w|LOCK\s+TABLE\s|NOTIFY\s+\w|LISTEN\s+\w)"
)
SQL_HOMES = {"store.pool", "store.health"}  # setting up a connection, and asking whether one answers


def test_the_clock_is_read_in_one_part_of_assembly_alone_so_that_every_date_can_be_given() -> None:
    assert _mentions(CLOCKS, CLOCK_HOMES) == []


def test_the_environment_is_read_in_settings_alone_so_that_the_page_of_settings_is_whole() -> None:
    assert _mentions(ENVIRONMENT, ENVIRONMENT_HOMES) == []


def test_no_module_but_settings_spells_a_variable_of_ours_except_to_name_it_to_a_person() -> None:
    spelt = re.compile(rf"{PREFIX}[A-Z]")
    found = [
        module.at(node)
        for module in modules()
        if module.name != "settings" and not module.name.startswith("cli") and module.name != "assembly"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and spelt.search(node.value)
    ]
    assert found == []


def test_the_header_of_an_idempotency_key_is_read_in_one_module_so_that_its_two_names_are_equal_everywhere() -> None:
    spelt = {"idempotency-key", "x-idempotency-key", b"idempotency-key", b"x-idempotency-key"}
    found = [
        module.at(node)
        for module in modules()
        if module.name != "api.idempotency"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and node.value in spelt
    ]
    assert found == []


def test_sql_stands_in_named_statements_alone() -> None:
    found = [
        f"{module.at(node)}: {text.strip().splitlines()[0][:60]}"
        for module in modules()
        if module.name not in SQL_HOMES
        for node, text in _literals(module)
        if STATEMENT.match(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_sql"),
    [
        ("SELECT 1", True),
        ("  INSERT INTO users (id)", True),
        ("UPDATE users SET name = $1", True),
        ("CREATE TABLE x ()", True),
        ("Select a board", False),
        ("UPDATE", False),
        ("WITH", False),
    ],
)
def test_sql_is_told_from_prose(text: str, is_sql: bool) -> None:
    assert bool(STATEMENT.match(text)) is is_sql


def _mentions(names: set[str], homes: set[str]) -> list[str]:
    return [
        f"{module.at(node)}: {dotted(node)}"
        for module in modules()
        if module.name not in homes
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and dotted(node) in names
    ]


def _literals(module: Module) -> list[tuple[ast.AST, str]]:
    """Return the string literals that are no docstrings; of an f-string, its first piece."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node, node.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
