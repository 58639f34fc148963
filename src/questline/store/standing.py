"""The standing of users on boards: removed when they are blocked, restored as it was when they are unblocked."""

from collections.abc import Collection

from asyncpg import Connection

from questline.model.decision import Decision
from questline.model.guards import BlockState
from questline.store.board_copies import Touched, mark_users
from questline.store.boards import STRIPE_LOCKS, stripes_of
from questline.store.statements import statements

SQL = statements("standing")


class Standing:
    """Whose standing a batch removes or restores. `restore` before the batch's points are added, `remove` after."""

    def __init__(self) -> None:
        self._hidden: dict[tuple[int, int], bool] = {}

    def add(self, project_id: int, user_id: int, decision: Decision) -> None:
        """Add a decision; of a user's decisions the last one counts."""
        for record in decision.records:
            if isinstance(record.state, BlockState):
                self._hidden[project_id, user_id] = record.state.off_boards

    async def restore(self, conn: Connection, shard: int) -> None:
        """Put back what was removed of these users, in the caller's transaction, which has locked them."""
        await self._move(conn, "restore", shard, self._hidden)

    async def remove(self, conn: Connection, shard: int, touched: Touched) -> None:
        """Take the entries of those who are to be hidden off the boards; `touched` is told of all who were moved."""
        await self._move(conn, "remove", shard, [user for user, hidden in self._hidden.items() if hidden])
        if self._hidden:
            await mark_users(conn, shard, self._hidden, touched)

    async def _move(self, conn: Connection, statement: str, shard: int, users: Collection[tuple[int, int]]) -> None:
        if users:
            projects = [project_id for project_id, _ in users]
            await conn.execute(SQL["lock_stripes"], STRIPE_LOCKS, stripes_of(projects))
            await conn.execute(SQL[statement], projects, [user_id for _, user_id in users], shard)
