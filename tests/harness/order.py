"""The order in which each user's events were applied, held against what their senders saw."""

import math
from collections import defaultdict

import asyncpg

from .load import Book

# Places are given while the user is locked, so those of one user are in the order of the commits.
_RECORD = """
    CREATE TABLE harness_applied (place bigint GENERATED ALWAYS AS IDENTITY, project_id integer, event_id uuid);
    GRANT INSERT ON harness_applied TO public;
    CREATE FUNCTION harness_note_applied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO harness_applied (project_id, event_id) VALUES (NEW.project_id, NEW.event_id);
        RETURN NEW;
    END $$;
    CREATE TRIGGER harness_note_applied BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION harness_note_applied()"""
_APPLIED = """
    SELECT e.external_user, e.external_id FROM harness_applied a
    JOIN events e ON e.project_id = a.project_id AND e.id = a.event_id WHERE e.type = 'task' ORDER BY a.place"""
_RECORDED = "SELECT to_regclass('harness_applied') IS NOT NULL"


async def record(conn: asyncpg.Connection) -> None:
    """Have the database note what is applied, from now on. `conn` is the owner's."""
    await conn.execute(_RECORD)


async def disorders(conn: asyncpg.Connection, book: Book) -> list[tuple[str, str]]:
    """Return events that were applied too late, each with one that was applied before it and should not have been.

    One event comes before another if it was acknowledged when the other was first sent, or stands before it in a request that
    was sent once. Without a record nothing is out of order.
    """
    if not await conn.fetchval(_RECORDED):
        return []
    by_user: dict[str, list[str]] = defaultdict(list)
    for user, id_ in await conn.fetch(_APPLIED):
        by_user[user].append(id_)
    found = [pair for ids in by_user.values() for pair in _late(ids, book)]
    places = {id_: (user, place) for user, ids in by_user.items() for place, id_ in enumerate(ids)}
    for request in book.in_order:
        last: dict[str, tuple[int, str]] = {}
        for id_ in request:
            user, place = places.get(id_, ("", -1))
            before, id_before = last.get(user, (-1, ""))
            if 0 <= place < before:
                found.append((id_before, id_))
            elif place >= 0:
                last[user] = place, id_
    return found


def _late(ids: list[str], book: Book) -> list[tuple[str, str]]:
    """Return (late, early) for each event that was sent when one behind it was acknowledged already."""
    found: list[tuple[str, str]] = []
    least, late = math.inf, ""  # the earliest answer among the events behind
    for id_ in reversed(ids):
        if id_ not in book.first_sent:
            continue
        if least < book.first_sent[id_]:
            found.append((late, id_))
        if (answered := book.first_answered.get(id_, math.inf)) < least:
            least, late = answered, id_
    return found
