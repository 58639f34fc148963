"""`questline doctor`: what an installation needs, looked at one by one."""

import time
from datetime import datetime
from typing import Literal

import msgspec

from questline.assembly import now
from questline.cli.database import NoDatabase, app_dsn
from questline.settings import Settings, unknown_variables
from questline.store import health
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, connect
from questline.store.roles import APP_ROLE

_OLDEST_POSTGRES = 15
_LAG_SECONDS_MAX = 10.0
_CLOCK_SECONDS_MAX = 1.0
_MARKS = {"good": "[green]✓[/]", "doubtful": "[yellow]![/]", "wrong": "[bold red]✗[/]"}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    state: Literal["good", "doubtful", "wrong"]
    text: str

    def render(self) -> str:
        """Return the line for a terminal."""
        return f"{_MARKS[self.state]} {self.text}"


async def examine(settings: Settings) -> list[Finding]:
    """Return what was found, in the order in which to mend it."""
    findings = [Finding("doubtful", f"no setting reads {name}") for name in unknown_variables()]
    try:
        began = time.perf_counter()
        conn = await connect(app_dsn(settings))
    except NoDatabase as error:
        return [*findings, Finding("wrong", str(error))]
    except TRANSIENT_FAULTS as fault:
        return [*findings, Finding("wrong", f"PostgreSQL cannot be reached: {fault}; start it, or correct the DSN")]
    try:
        took_ms = (time.perf_counter() - began) * 1000
        findings.append(Finding("good", f"PostgreSQL answers ({took_ms:.0f} ms to connect)"))
        findings += await _database(conn)
    finally:
        await conn.close()
    return findings


async def _database(conn: Connection) -> list[Finding]:
    moment = now()
    facts = await health.facts(conn, moment)
    findings = [_version(facts.server_version), _role(facts), _clock(facts.server_time, moment)]
    if facts.migrations_missing:
        names = ", ".join(facts.migrations_missing)
        return [*findings, Finding("wrong", f"migrations are missing: {names}; run questline migrate")]
    findings.append(Finding("good", "every migration is applied"))
    if facts.partitions_missing:
        names = ", ".join(facts.partitions_missing)
        findings.append(Finding("doubtful", f"partitions are missing: {names}; run questline migrate once a month"))
    lag = 0.0 if facts.oldest_waiting is None else (moment - facts.oldest_waiting).total_seconds()
    state: Literal["good", "doubtful"] = "good" if lag < _LAG_SECONDS_MAX else "doubtful"
    findings.append(Finding(state, f"{facts.waiting:,} events wait to be applied, the oldest for {lag:.1f} s"))
    if not facts.workers and facts.waiting:
        findings.append(Finding("wrong", "no worker runs; start questline work"))
    if facts.dead_letters:
        findings.append(Finding("doubtful", f"{facts.dead_letters:,} events gave up and are dead letters"))
    return findings


def _version(number: int) -> Finding:
    major = number // 10_000
    good = major >= _OLDEST_POSTGRES
    return Finding("good" if good else "wrong", f"PostgreSQL is version {major}; {_OLDEST_POSTGRES} or later is needed")


def _role(facts: health.Facts) -> Finding:
    if facts.role_is_unbound:
        return Finding("wrong", f"the role {facts.role!r} is not bound by row-level security; log in as {APP_ROLE!r}")
    return Finding("good", f"the role {facts.role!r} is bound by row-level security")


def _clock(server: datetime, here: datetime) -> Finding:
    apart = abs((server - here).total_seconds())
    state: Literal["good", "doubtful"] = "good" if apart < _CLOCK_SECONDS_MAX else "doubtful"
    return Finding(state, f"the clocks here and of PostgreSQL are {apart:.2f} s apart")
