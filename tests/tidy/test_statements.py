"""Named statements: each is described, each is used, and none is asked for that does not exist."""

import ast
import re
from importlib.resources import files

from source import Module, modules

from questline.store.statements import statements

FOLDER = files("questline.store").joinpath("sql")
AGGREGATES = sorted(f.name.removesuffix(".sql") for f in FOLDER.iterdir())
# Statements that speak of every tenant, each with its reason.
ALL_TENANTS = {
    "backlog.counts": "counts for the operator, and shows no row",
    "board_copies.end_forgotten": "ends what an installation gave up, and shows no row",
    "deliveries.waiting": "counts for the operator, and shows no row",
    "health.parked_since": "tells the operator one time, and shows no row",
    "health.stuck": "tells the operator numbers of partitions, and shows no row",
    "keys.touch": "notes the use of keys by their own ids, many projects at once",
    "outbox.backlog": "counts for the operator, and shows no row",
    "relay.counts": "counts for the operator, and shows no row",
    "retention.count_deliveries": "retention is an installation's, and of every project",
    "retention.count_keys": "retention is an installation's, and of every project",
    "retention.count_visitors": "likewise",
    "retention.forget_deliveries": "likewise; it goes over pages of the table",
    "retention.forget_keys": "likewise; it goes over pages of the table",
    "retention.forget_visitors": "likewise",
    "sweeps.hold_next": "finds a worker its next work, and the row it returns names its project",
}
# Statements on tenants' tables whose first parameter is no project, each with its reason. All others take the project first.
NO_PROJECT_FIRST = {
    "accept.accept": "stores events of many projects at once; each row brings its project",
    "accept.accept_signed": "likewise",
    "backlog.counts": "counts for the operator, and shows no row",
    "backlog.oldest": "likewise",
    "board_copies.copies": "finds a worker its next work; each row names its project",
    "board_copies.end_forgotten": "ends what an installation gave up, and shows no row",
    "board_rebuild.insert_periods": "numbers what the statement before it, which takes the project, gathered",
    "boards.crowds": "finds a worker its next work; each row names its project",
    "boards.global_projects": "takes the organization: such boards are its own, over projects that opted in",
    "boards.resolve_periods": "of many projects at once; each row brings its project",
    "commands.accept": "stores commands of many projects at once; each row brings its project",
    "deliveries.claim": "finds a deliverer its next work; each row names its project",
    "deliveries.waiting": "counts for the operator, and shows no row",
    "grants.due_of": "finds whose the grants are that take_due would take",
    "grants.take_due": "finds a worker its next work; each row names its project",
    "health.newest": "tells the operator two times, and shows no row",
    "health.parked_since": "likewise",
    "health.stuck": "tells the operator numbers of partitions, and shows no row",
    "keys.create": "the project is $1, and the id comes before it in the row",
    "sealed.all": "of every project, for the operator who rotates a key, and shows only what is sealed",
    "end_users.sweep": "forgets, and shows no row",
    "keys.project": "the id outside is how a project is found",
    "keys.find": "the hash of a key is how its project is found",
    "keys.touch": "notes the use of keys by their own ids, many projects at once",
    "leagues.due": "finds a worker its next work; each row names its project",
    "logged.keep": "stores events of many projects at once; each row brings its project",
    "logged.store": "likewise",
    "nonces.sweep": "forgets, and shows no row",
    "outbox.backlog": "counts for the operator, and shows no row",
    "outbox.claim": "finds a worker its next work by partition; each row names its project",
    "outbox.take": "removes what a worker claimed, by partition and place",
    "parking.due": "finds a worker its next work; each row names its project",
    "parking.set_aside": "moves what a worker claimed, by partition and place",
    "quests.due": "finds a worker its next work; each row names its project",
    "relay.again": "lets be handed over anew what a broker lost, by partition, and shows no event",
    "relay.carried": "looks up what a broker brought of many projects at once; each row names its project",
    "relay.counts": "counts for the operator, and shows no row",
    "relay.forget": "notes what a broker lost, by partition, and shows no row",
    "relay.lease": "finds a relay its next work by partition; each row names its project",
    "relay.oldest": "tells the operator one time, and shows no row",
    "relay.settle": "notes what became of what a relay leased, by partition and place",
    "relay.to_mirror": "finds a relay its next work; each row names its project",
    "relay.unapplied": "tells a relay which partitions to ask its broker about, and shows no row",
    "relay.waiting": "completes what `carried` found, by partition and place",
    "retention.count_deliveries": "retention is an installation's, and of every project",
    "retention.count_keys": "retention is an installation's, and of every project",
    "retention.count_visitors": "likewise",
    "retention.forget_deliveries": "likewise; it goes over pages of the table",
    "retention.forget_keys": "likewise; it goes over pages of the table",
    "retention.forget_visitors": "likewise",
    "retention.needed": "likewise; it goes over every project, and shows no row",
    "retention.oldest_needed": "likewise",
    "reminders.projects": "finds a worker its next work: the projects themselves",
    "replays.hold_next": "finds a worker its next work; the row names its project",
    "replies.sweep": "forgets, and shows no row",
    "resets.find": "the hash of a token is how its project is found",
    "seasons.projects": "finds a worker its next work: the projects themselves",
    "sightings.sweep": "forgets, and shows no row",
    "sweeps.hold_next": "finds a worker its next work; the row names its project",
}
_PROJECT_FIRST = re.compile(r"project_id = \$1\b|project_id = ANY \(\$1|\$1::integer\[\]|SELECT \$1\b|\(\$1,")
MIGRATIONS = files("questline.store").joinpath("migrations")


def test_every_aggregate_of_statements_has_its_module() -> None:
    assert sorted({aggregate for module in modules() for aggregate in _tables(module).values()}) == AGGREGATES


def test_every_statement_is_used() -> None:
    """A statement reached through a name that is computed counts as used where its name stands as a word."""
    used = {(a, n) for module in modules() for a, n in _asked_for(module)}
    words = {a: _words(module) for module in modules() for a in _tables(module).values()}
    unused = [
        f"{a}.{n}" for a in AGGREGATES for n in statements(a) if (a, n) not in used and n not in words.get(a, set())
    ]
    assert unused == []


def test_no_statement_is_asked_for_that_does_not_exist() -> None:
    missing = [
        f"{module.name}: {aggregate}.{name}"
        for module in modules()
        for aggregate, name in _asked_for(module)
        if name not in statements(aggregate)
    ]
    assert missing == []


def test_every_file_of_statements_says_what_it_is_about() -> None:
    assert [a for a in AGGREGATES if not FOLDER.joinpath(f"{a}.sql").read_text(encoding="utf-8").startswith("--")] == []


def test_a_statement_with_a_condition_names_the_project_or_says_why_not() -> None:
    """The accident this prevents: a finder without its tenant, which answers with the neighbour's rows."""
    tenant_tables = _tenant_tables()
    loose = []
    for aggregate in AGGREGATES:
        for name, text in statements(aggregate).items():
            body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
            about = tenant_tables & set(re.findall(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)", body))
            if about and "project" not in body:
                loose.append(f"{aggregate}.{name}")
    assert sorted(loose) == sorted(ALL_TENANTS)


def test_every_query_takes_the_project_first_or_says_why_not() -> None:
    """The accident this prevents: the tenant as one condition among many, which the next edit loses."""
    tenant_tables = _tenant_tables()
    others = set()
    for aggregate in AGGREGATES:
        for name, text in statements(aggregate).items():
            body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
            about = tenant_tables & set(re.findall(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)", body))
            if about and not _PROJECT_FIRST.search(body):
                others.add(f"{aggregate}.{name}")
    assert others == set(NO_PROJECT_FIRST)


def test_migrations_have_numbers_of_their_own() -> None:
    """That they make schema.sql is compared in test_store.py, catalog by catalog."""
    numbers = [f.name.partition("_")[0] for f in MIGRATIONS.iterdir() if f.name.endswith(".sql")]
    assert len(set(numbers)) == len(numbers)
    assert [n for n in numbers if not re.fullmatch(r"\d{4}", n)] == []


def _tenant_tables() -> set[str]:
    schema = files("questline.store").joinpath("schema.sql").read_text(encoding="utf-8")
    tables = re.findall(r"^CREATE TABLE (\w+) \((.*?)^\)", schema, flags=re.MULTILINE | re.DOTALL)
    return {name for name, body in tables if re.search(r"^\s+project_id\s", body, flags=re.MULTILINE)}


def _tables(module: Module) -> dict[str, str]:
    """Return the module's tables of statements: variable → aggregate."""
    found = {}
    for node in module.tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "statements"
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value.args[0], ast.Constant)
        ):
            found[node.targets[0].id] = str(node.value.args[0].value)
    return found


def _asked_for(module: Module) -> list[tuple[str, str]]:
    tables = _tables(module)
    return [
        (tables[node.value.id], node.slice.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in tables
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]


def _words(module: Module) -> set[str]:
    return {n.value for n in ast.walk(module.tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
