"""The standing of users on boards: removed when they are blocked, restored as it was when they are unblocked."""

from collections.abc import Collection

from asyncpg import Connection

from questline.model.decision import Decision
from questline.model.guards import BlockState
from questline.model.state import UserState
from questline.store.board_copies import Touched, mark_users
from questline.store.boards import STRIPE_LOCKS, stripes_of
from questline.store.statements import statements

SQL = statements("standing")


class Standing:
    """Whose standing a batch removes or restores. `restore` before the batch's points are added, `remove` after.

    Points of a user who is hidden (what was sold to them failed, say) go to the entries that lie beside the boards, by way of
    the boards: else there would be two entries of theirs when they are unblocked.
    """

    def __init__(self) -> None:
        self._hidden: dict[tuple[int, int], bool] = {}
        self._scored: set[tuple[int, int]] = set()  # while they were blocked

    def add(self, project_id: int, user: UserState, decision: Decision) -> None:
        """Add a decision that is folded into its user's state; of a user's decisions the last one counts."""
        for record in decision.records:
            if isinstance(record.state, BlockState):
                self._hidden[project_id, user.id] = record.state.off_boards
        if user.blocked and decision.board_points:
            self._scored.add((project_id, user.id))

    async def restore(self, conn: Connection, shard: int) -> None:
        """Put back what was removed of these users, in the caller's transaction, which has locked them."""
        scored = [user for user in self._scored if user not in self._hidden]
        if scored:
            columns = [project_id for project_id, _ in scored], [user_id for _, user_id in scored]
            self._hidden.update({(row[0], row[1]): True for row in await conn.fetch(SQL["hidden"], *columns)})
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
