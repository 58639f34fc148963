"""Reference pages written from the code (settings, commands, quests, permissions): `make docs`; a test holds them current."""

import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import typer.main
from prometheus_client import CollectorRegistry

from questline.api.meters import ApiMeters
from questline.cache.board_meters import BoardMeters
from questline.cache.meters import CacheMeters
from questline.cli.main import app
from questline.control.schema import quest_transitions
from questline.ingest.meters import IngestMeters
from questline.model.limits import RETRY_JITTER_PERCENT, RETRY_SECONDS
from questline.model.own import OWN_COMMANDS, OWN_READS
from questline.model.permissions import PERMISSIONS, PUBLISHABLE_SCOPES, MemberRole, Role
from questline.outward.meters import DeliveryMeters
from questline.processing.meters import BacklogMeters, LogMeters, ProcessingMeters
from questline.settings import DESCRIPTIONS, Settings, text_of, variable_of
from questline.store.faults import FAULTS
from questline.telemetry.projects import LABELS, ProjectEvents
from questline.transport.kafka_meters import FeedMeters
from questline.transport.meters import RelayMeters


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by `make docs` from src/questline/settings.py. -->",
        "",
        "Every process reads its settings from the environment once, when it starts. A value that cannot be stops it with an",
        "error that names the variable; a variable that begins with `QUESTLINE_` and is none of these gets a warning.",
        "`questline dev` chooses the database and the operator's token itself, and takes the rest from here.",
        "",
        "| variable | default | unit | meaning |",
        "|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(Settings):
        about = DESCRIPTIONS[field.name]
        default = text_of(field.default)
        shown = f"`{default}`" if default else "empty"
        choices = f" One of {', '.join(f'`{c}`' for c in _choices(field.type))}." if _choices(field.type) else ""
        lines.append(f"| `{variable_of(field.name)}` | {shown} | {about.unit} | {about.meaning}{choices} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    lines = [
        "# Commands",
        "",
        "<!-- Written by `make docs` from src/questline/cli. -->",
        "",
        "`questline COMMAND --help` says the same. Settings of the servers are in [settings](settings.md).",
    ]
    for path, command in _commands("questline", typer.main.get_command(app)):
        lines += ["", f"## `{path}`", "", (command.help or "").strip()]
        rows = [_row(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        if rows:
            lines += ["", "| argument or option | default | meaning |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def quest_states_page() -> str:
    """Return docs/reference/quest-states.md."""
    ways = quest_transitions()
    lines = [
        "# The states of a quest",
        "",
        "<!-- Written by `make docs` from src/questline/engine/quest_states.py. -->",
        "",
        "These are all the ways there are. [Quests](../explanation/quests.md) says what they are about.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {ways[0].before}",
        *(f"    {way.before} --> {way.after}: {way.on}" for way in ways),
        "```",
        "",
        "| from | by | to | when |",
        "|---|---|---|---|",
        *(f"| `{way.before}` | {way.on} | `{way.after}` | {way.when} |" for way in ways),
    ]
    return "\n".join(lines) + "\n"


def retries_page() -> str:
    """Return docs/reference/retries.md."""
    waits = ", ".join(str(seconds) for seconds in RETRY_SECONDS)
    lines = [
        "# What is tried again",
        "",
        "<!-- Written by `make docs` from src/questline/store/faults.py. -->",
        "",
        "The first row that fits a fault says what becomes of the event. [Dead letters and replay]"
        "(../how-to/dead-letters-and-replay.md) says what to do then.",
        "",
        "- *wait*: the database is away. Lanes wait and go on where they were; no event is to blame, and no attempt is counted.",
        f"- *retry*: the event is tried again after {waits} seconds (`QUESTLINE_RETRY_SECONDS`), each changed at random by up to",
        f"  {RETRY_JITTER_PERCENT} percent (`QUESTLINE_RETRY_JITTER_PERCENT`). Then it is a dead letter with `RETRY_EXHAUSTED`.",
        "- *final*: the event is a dead letter at once.",
        "",
        "| fault | SQLSTATE | what it means | remedy | reason of the attempt |",
        "|---|---|---|---|---|",
        *(
            f"| `{fault.kind.__name__}` | {', '.join(fault.codes)} | {fault.meaning} | {fault.remedy} | `{fault.reason}` |"
            for fault in FAULTS
        ),
        "| of the engine | | a defect of ours | final | `ENGINE_ERROR` |",
        "| of a stored payload | | it cannot be read | final | `INVALID_ENVELOPE` |",
        "",
        "Two characters of SQLSTATE stand for all codes that begin so.",
    ]
    return "\n".join(lines) + "\n"


def permissions_page() -> str:
    """Return docs/reference/permissions.md."""
    members = " | ".join(f"member {role}" for role in MemberRole)
    lines = [
        "# Who may do what",
        "",
        "<!-- Written by `make docs` from src/questline/model/permissions.py. -->",
        "",
        "Each route of [the API](http-api.md) needs one scope. A key of a role has the role's scopes, or those of them that it",
        "was narrowed to. A member has the scopes of their role, in their organization and all its projects. A publishable key",
        f"has {', '.join(f'`{scope}`' for scope in sorted(PUBLISHABLE_SCOPES))} alone. An operator (`X-Admin-Token`) manages",
        "organizations and projects, and does nothing inside a project.",
        "",
        f"| scope | permits to | {' | '.join(f'key {role}' for role in Role)} | {members} |",
        "|---|---|" + "---|" * (len(Role) + len(MemberRole)),
    ]
    for scope, permission in PERMISSIONS.items():
        has = [role in permission.roles for role in Role] + [role in permission.members for role in MemberRole]
        lines.append(f"| `{scope}` | {permission.meaning} | {' | '.join('yes' if may else '' for may in has)} |")
    lines += [
        "",
        "## What users may do by themselves",
        "",
        "<!-- From src/questline/model/own.py. -->",
        "",
        "[A token of a user](../how-to/end-users.md) reaches what is that user's own, and nothing else: each operation below,",
        "about its own user. It sends events of its own user, of the types that a publishable key may. A project changes",
        'the commands by its setting `userCommands`, such as `{"spend": false}`.',
        "",
        "| operation | permits to | |",
        "|---|---|---|",
        *(f"| `{name}` | read {meaning} | always |" for name, meaning in OWN_READS.items()),
        *(
            f"| `{name}` | {command.meaning} | {'yes' if command.by_default else 'when the project says so'} |"
            for name, command in OWN_COMMANDS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return docs/reference/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "<!-- Written by `make docs` from the meters of the code. -->",
        "",
        "Each process answers `/metrics` in the text format of Prometheus and `/ready`: the API on its own port, a worker, a",
        "relay or a deliverer on `QUESTLINE_WORKER_PORT` (`questline dev` chooses ports for its workers, and writes them to",
        "`.questline/workers.json`).",
        "[Watch it](../how-to/watch.md) says what to look at; `deploy/` has a dashboard and alert rules.",
        "",
        "Labels are bounded: `route` is a template, `project` one of the busiest projects or `other`, and the rest are",
        "listed in these docs. All kinds of process also tell `process_*`, such as `process_resident_memory_bytes`.",
        "What waits is measured by each worker, relay and deliverer for the whole database: take the greatest, not the sum.",
        "",
        "| metric | type | labels | told by | meaning |",
        "|---|---|---|---|---|",
    ]
    told_by: dict[Metric, list[str]] = {}
    for process in PROCESSES:
        for metric in metrics_of(process):
            told_by.setdefault(metric, []).append(process)
    for metric, processes in sorted(told_by.items()):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        row = f"| `{metric.name}` | {metric.kind} | {labels} | {', '.join(processes)} | {metric.meaning} |"
        lines.append(row)
    return "\n".join(lines) + "\n"


class Metric(NamedTuple):
    """One metric as it is exposed."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


PROCESSES = ("API", "worker", "relay", "deliverer")


def metrics_of(process: str) -> list[Metric]:
    """Return what a process exposes of its own."""
    registry = CollectorRegistry()
    if process == "relay":
        RelayMeters(registry)
    elif process == "deliverer":
        DeliveryMeters(registry)
    else:
        projects = ProjectEvents(registry)
        ProcessingMeters(registry, projects)
        CacheMeters(registry)
        BoardMeters(registry)
        if process == "API":
            ApiMeters(registry)
            IngestMeters(registry, projects)
        else:
            BacklogMeters(registry)
            LogMeters(registry)
            FeedMeters(registry)
    return [
        Metric(
            family.name + ("_total" if family.type == "counter" else ""),
            family.type,
            getattr(collector, "_labelnames", LABELS),
            family.documentation,
        )
        for collector in registry._collector_to_names
        for family in collector.collect()
    ]


def _choices(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) is Literal else ()


def _commands(path: str, group: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            found += _commands(f"{path} {name}", command)
        else:
            found.append((f"{path} {name}", command))
    return found


def _row(parameter: Any) -> str:
    option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if option else parameter.name.upper()
    default = (
        "" if parameter.default in (None, False, "") else f"`{getattr(parameter.default, 'value', parameter.default)}`"
    )
    return f"| `{name}` | {default} | {getattr(parameter, 'help', None) or ''} |"


PAGES = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "quest-states.md": quest_states_page,
    "retries.md": retries_page,
    "metrics.md": metrics_page,
    "permissions.md": permissions_page,
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, page in PAGES.items():
        (folder / file).write_text(page(), encoding="utf-8")
