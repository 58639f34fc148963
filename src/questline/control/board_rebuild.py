"""Boards worked out again: from the ledger what currencies and tracks earned, from the events what metrics counted.

A rebuild gives the boards of the program as if it had always been in force. Where the program has not changed that is
what is there already, ties included. A metric is counted by replaying the users' applied events through the engine.
"""

from typing import Any

from questline.engine.boards import PeriodKeys
from questline.engine.compile import Program
from questline.engine.decide import decide_again
from questline.engine.evolve import evolve
from questline.model.calendar import period_of_key
from questline.model.decision import BoardMode, BoardPoints
from questline.model.principal import Project
from questline.model.retention import Class
from questline.model.state import UserState
from questline.store import board_rebuild as store
from questline.store import boards, retention
from questline.store.board_rebuild import WrongCount, WrongEntry
from questline.store.boards import BoardRows


class EventsPruned(Exception):
    """Boards by metric are counted from events, of which the oldest are not kept any more."""


_GATHERED = 20_000  # rows held before they are copied out
_USERS = 200  # whose events are replayed at a time

Difference = WrongEntry | WrongCount


async def rebuild(conn: Any, project: Project, program: Program) -> int:
    """Rebuild all boards of the program in one transaction and return how many entries changed.

    `conn` may read and write the project's rows (the service role). Writers of the project's boards wait meanwhile.
    """
    async with conn.transaction():
        await boards.lock_alone(conn, project.id)
        await _gather(conn, project, program)
        return await store.replace(conn, project.id, _names(program))


async def compare(conn: Any, project: Project, program: Program, limit: int = 100) -> list[Difference]:
    """Return up to `limit` differences between the boards and the ledger or the events, and as many wrong counts.

    Nothing is kept of it, and nobody waits: boards, ledger and events are looked at as they were at one moment. Entries of
    periods that a board of the program has no more are dormant, and no difference: nobody can read them.
    """
    transaction = conn.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await _gather(conn, project, program)
        names = _names(program)
        dormant = [
            number
            for number, board, key in await store.periods(conn, project.id, list(program.boards))
            if period_of_key(key) not in program.boards[board].periods
        ]
        counts = await store.wrong_counts(conn, project.id, names, limit, dormant)
        await store.show_hidden(conn, project.id)
        entries = await store.wrong_entries(conn, project.id, names, limit, dormant)
        return [*entries, *counts]
    finally:
        await transaction.rollback()


def _names(program: Program) -> list[str]:
    """Return the names that the program's boards are stored under, those of its seasons included."""
    scores = program.season_scores
    return [*program.boards, *(() if scores is None else sorted(scores.names))]


async def _gather(conn: Any, project: Project, program: Program) -> None:
    await store.open_gathering(conn)
    await _gather_earned(conn, project, program)
    if program.boards_by_metric or (program.season_scores is not None and program.season_scores.by_metric):
        before = await retention.pruned_before(conn, Class.EVENTS)
        if before is not None:
            raise EventsPruned(
                f"boards by metric are counted from events, and those from before {before:%Y-%m-%d} are pruned"
            )
        await _gather_counted(conn, project, program)
    await store.settle(conn)


async def _gather_earned(conn: Any, project: Project, program: Program) -> None:
    by_currency = program.boards_by_currency
    seasons = {} if program.season_scores is None else program.season_scores.by_currency
    keys = PeriodKeys(program.zone)
    rows = BoardRows()
    async for user_id, currency, amount, at in store.earned(conn, project.id, list({*by_currency, *seasons})):
        of_instant = keys.of(at)
        rows.add(
            project.id,
            user_id,
            [
                BoardPoints(name, of_instant[period], BoardMode.ADD, amount, at)
                for name, board in by_currency.get(currency, ())
                for period in board.periods
            ]
            + [
                BoardPoints(score.name, score.season, BoardMode.ADD, amount, at)
                for score in seasons.get(currency, ())
                if score.start <= at < score.end
            ],
        )
        if len(rows) >= _GATHERED:
            await store.gather(conn, rows)
            rows = BoardRows()
    await store.gather(conn, rows)


async def _gather_counted(conn: Any, project: Project, program: Program) -> None:
    ranked = {name for named in program.boards_by_metric.values() for name, _ in named}
    if program.season_scores is not None:
        ranked |= {score.name for scores in program.season_scores.by_metric.values() for score in scores}
    last = ""
    while users := await store.users_after(conn, project.id, last, _USERS):
        last = list(users.values())[-1]
        states = {user_id: UserState(user_id, user) for user_id, user in users.items()}
        rows = BoardRows()
        async for user_id, event in store.applied_events(conn, project.id, list(users)):
            decision = decide_again(program, states[user_id], event)
            evolve(states[user_id], decision)
            rows.add(project.id, user_id, [p for p in decision.board_points if p.board in ranked])
        await store.gather(conn, rows)
