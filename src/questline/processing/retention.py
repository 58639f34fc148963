"""What is too old is taken away: months as whole partitions, the rest in small steps, nothing that is still needed.

A month is detached in a moment, archived at leisure where that is asked for, and dropped: whatever breaks off in between,
the next run goes on from there. It runs as the owner of the tables.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from typing import Literal
from uuid import UUID

import msgspec

from questline.model.audit import OPERATOR, Act
from questline.model.limits import (
    PRUNE_LOCK_PAUSE_SECONDS,
    PRUNE_LOCK_TRIES,
    PRUNE_PAGES_AT_ONCE,
    PRUNE_ROWS_AT_ONCE,
)
from questline.model.retention import Class, Retention, beginning, month_after
from questline.processing.archive import Archive
from questline.processing.services import stopped
from questline.store import audit
from questline.store import retention as store
from questline.store.ids import received_at
from questline.store.pool import Connection
from questline.store.retention import Busy, Month

# In this order, month by month: whoever reads decisions and attempts begins with the event.
TABLES = {
    "events": Class.EVENTS,
    "decisions": Class.EVENTS,
    "attempts": Class.ATTEMPTS,
    "notices": Class.NOTICES,
}

Tell = Callable[[str, int, int], None]  # of what, how much is done, of how much
NewId = Callable[[], UUID]


class Step(msgspec.Struct, frozen=True):
    """One thing to take away: a month of a table, old rows of a default partition, keys, visitors' events, or settled deliveries.

    `below` is what ids of its events lie below; `first` the first month that is kept, of a default partition.
    """

    what: Literal["month", "rest", "keys", "visitors", "deliveries"]
    class_: Class
    name: str
    rows: int
    bytes: int
    below: UUID
    month: Month | None = None
    table: str = ""
    first: date | None = None


class Kept(msgspec.Struct, frozen=True):
    """What is old enough and stays, and why."""

    name: str
    reason: str


class Plan(msgspec.Struct):
    """What retention would take away, and what it must leave."""

    steps: list[Step] = []
    kept: list[Kept] = []


async def plan(conn: Connection, retention: Retention, now: datetime) -> Plan:
    """Return what is too old by now; nothing is changed."""
    made = Plan()
    oldest = await store.oldest_needed(conn)
    for month in sorted(await store.months(conn, list(TABLES)), key=lambda m: (m.first, list(TABLES).index(m.table))):
        first = retention.first_month(TABLES[month.table], now)
        if first is not None and month.first < first:
            await _plan_month(conn, made, month)
    for table, class_ in TABLES.items():
        if (first := retention.first_month(class_, now)) is not None:
            below = store.below(beginning(first))
            if table != "notices" and oldest is not None:
                below = min(below, oldest)
            if rows := await store.count_default(conn, table, below):
                step = Step("rest", class_, f"{table}_default", rows, 0, below, table=table, first=first)
                made.steps.append(step)
    await _plan_pages(conn, made, retention, now, oldest)
    return made


async def _plan_month(conn: Connection, made: Plan, month: Month) -> None:
    low, high = store.below(beginning(month.first)), store.below(beginning(month_after(month.first)))
    by = await store.needed(conn, low, high) if month.table != "notices" and month.attached else None
    if by:
        made.kept.append(Kept(month.name, str(by)))
        return
    rows = month.rows if month.rows >= 0 else await store.count(conn, month.name)
    made.steps.append(Step("month", TABLES[month.table], month.name, rows, month.bytes, high, month, month.table))


async def _plan_pages(conn: Connection, made: Plan, retention: Retention, now: datetime, oldest: UUID | None) -> None:
    """Plan what is gone over page by page: keys of events that nothing needs, events of visitors, settled deliveries."""
    keys_bytes, visitors_bytes, deliveries_bytes = await store.sizes(conn)
    if (cutoff := retention.cutoff(Class.NOTICES, now)) is not None:
        below = store.below(cutoff)
        if rows := await store.count_deliveries(conn, below):
            made.steps.append(Step("deliveries", Class.NOTICES, "deliveries", rows, deliveries_bytes, below))
    if (cutoff := retention.cutoff(Class.EVENTS, now)) is not None:
        below = store.below(cutoff)
        if rows := await store.count_visitors(conn, below):
            made.steps.append(Step("visitors", Class.EVENTS, "anonymous_events", rows, visitors_bytes, below))
    if (cutoff := retention.cutoff(Class.KEYS, now)) is not None:
        below = store.below(cutoff)
        if oldest is not None and oldest < below:
            below = oldest
            since = f"{received_at(oldest):%Y-%m-%d %H:%M:%S}"
            made.kept.append(Kept(f"dedupe_keys from {since} on", "an event of then is still needed"))
        if rows := await store.count_keys(conn, below):
            made.steps.append(Step("keys", Class.KEYS, "dedupe_keys", rows, keys_bytes, below))


async def prune(
    conn: Connection, made: Plan, retention: Retention, now: datetime, new_id: NewId, archive: Archive | None, tell: Tell,
    stop: asyncio.Event | None = None,
) -> list[Kept]:  # fmt: skip
    """Take away what was planned, and return what had to be left after all; raises ArchiveFailed.

    That it was begun is in every organization's log before anything is gone. With `stop` it ends after the rows, or the
    month, that it is at; the next run goes on from there.
    """
    if archive is not None:
        archive.prepare()
    if made.steps:
        await _write_acts(conn, made, retention, new_id)
    left: list[Kept] = []
    months_left: set[date] = set()
    events_left = any(kept.name.startswith("events_") for kept in made.kept)
    for step in made.steps:
        if stopped(stop):
            return left
        if step.month is not None:
            if step.table in ("decisions", "attempts") and step.month.first in months_left:
                left.append(Kept(step.name, "the events of this month are kept"))
                continue
            reason = await _take_month(conn, step, step.month, now, archive, tell)
            if reason:
                left.append(Kept(step.name, reason))
                if step.table == "events":
                    months_left.add(step.month.first)
                    events_left = True
        elif step.what == "rest" and step.table in ("decisions", "attempts") and events_left:
            left.append(Kept(step.name, "events of older months are kept"))
        elif step.what == "rest":
            await _take_rest(conn, step, now, archive, tell, stop)
        else:
            await _take_pages(conn, step, now, tell, stop)
    if stopped(stop):
        return left
    for class_ in Class:
        if retention.days(class_):
            await store.note(conn, class_, None, now)
    return left


async def _write_acts(conn: Connection, made: Plan, retention: Retention, new_id: NewId) -> None:
    told = {"retentionDays": msgspec.structs.asdict(retention), "taken": [step.name for step in made.steps]}
    acts = [
        Act(new_id(), organization, None, OPERATOR, "data.prune", "installation", "", None, told, None, "", "")
        for organization in await store.organizations(conn)
    ]
    await audit.add(conn, acts)


async def _take_month(
    conn: Connection, step: Step, month: Month, now: datetime, archive: Archive | None, tell: Tell
) -> str:
    """Detach, archive and drop a month; return why it is left, or nothing."""
    tell(step.name, 0, step.rows)
    if month.attached and (reason := await _detach(conn, step, month, now)):
        return reason
    if archive is not None:
        rows = await store.count(conn, month.name)
        name = f"{month.first:%Y-%m}"
        manifest = archive.manifest(month.table, name)
        if manifest is None or not manifest.final:
            manifest = await archive.write(
                conn, month.table, month.name, name, partial(_tell_of, tell, step.name, rows), final=True
            )
        await archive.verify(manifest, rows)
    await store.drop(conn, month)
    tell(step.name, step.rows, step.rows)
    return ""


async def _detach(conn: Connection, step: Step, month: Month, now: datetime) -> str:
    end = beginning(month_after(month.first))
    for _ in range(PRUNE_LOCK_TRIES):
        try:
            by = await store.detach(conn, month, step.class_, end, now)
            return str(by)
        except Busy:
            await asyncio.sleep(PRUNE_LOCK_PAUSE_SECONDS)
    return "its table was in use all the time: repeat it when less is going on"


async def _take_rest(
    conn: Connection, step: Step, now: datetime, archive: Archive | None, tell: Tell, stop: asyncio.Event | None
) -> None:
    """Take old rows out of a default partition; what is archived is deleted by what the files say."""
    assert step.first is not None
    await store.note(conn, step.class_, beginning(step.first), now)
    done = 0
    if archive is not None:
        for number in itertools.count(1):
            name = f"rest-before-{step.first:%Y-%m}-{number}"
            manifest = archive.manifest(step.table, name)
            again = manifest is not None  # written by a run that broke off, or by one long ago whose rows are gone
            if manifest is None:
                rows = await store.count_default(conn, step.table, step.below)
                manifest = await archive.write(
                    conn, step.table, f"{step.table}_default", name, lambda _: None, step.below, final=True
                )
                await archive.verify(manifest, rows)
            for keys in _batches(archive.keys(manifest)):
                done += await store.delete_default(conn, step.table, keys)
                tell(step.name, done, step.rows)
                if stopped(stop):
                    return
            if not again:
                return
    key = (0, UUID(int=0))
    while not stopped(stop) and (
        keys := await store.default_keys(conn, step.table, key, step.below, PRUNE_ROWS_AT_ONCE)
    ):
        began = time.monotonic()
        done += await store.delete_default(conn, step.table, keys)
        tell(step.name, done, step.rows)
        key = keys[-1]
        await _rest(began)


async def _take_pages(conn: Connection, step: Step, now: datetime, tell: Tell, stop: asyncio.Event | None) -> None:
    pages = await store.pages(conn, step.what)
    if step.class_ is Class.KEYS:
        await store.note(conn, step.class_, received_at(step.below), now)
    for page in range(0, pages, PRUNE_PAGES_AT_ONCE):
        if stopped(stop):
            return
        began = time.monotonic()
        await store.forget(conn, step.what, page, PRUNE_PAGES_AT_ONCE, step.below)
        tell(step.name, min(page + PRUNE_PAGES_AT_ONCE, pages), pages)
        await _rest(began)


async def _rest(began: float) -> None:
    """Rest for as long as a step took, so that the disk is others' half of the time."""
    await asyncio.sleep(time.monotonic() - began)


async def copy(conn: Connection, archive: Archive, until: datetime, tell: Tell) -> int:
    """Archive the whole months before an instant, as far as that was not done, and return how many there are.

    They stay where they are; raises ArchiveFailed.
    """
    archive.prepare()
    last = until.astimezone(UTC).date().replace(day=1)
    months = [month for month in await store.months(conn, list(TABLES)) if month.first < last]
    for month in months:
        rows, name = await store.count(conn, month.name), f"{month.first:%Y-%m}"
        manifest = archive.manifest(month.table, name)
        if manifest is None or manifest.rows != rows:
            told = partial(_tell_of, tell, month.name, rows)
            await archive.write(conn, month.table, month.name, name, told, final=not month.attached)
        tell(month.name, rows, rows)
    return len(months)


def _tell_of(tell: Tell, name: str, total: int, done: int) -> None:
    tell(name, done, total)


def _batches(keys: Iterable[tuple[int, UUID]]) -> Iterator[list[tuple[int, UUID]]]:
    given = iter(keys)
    while batch := list(itertools.islice(given, PRUNE_ROWS_AT_ONCE)):
        yield batch
