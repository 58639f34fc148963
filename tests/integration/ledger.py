"""The books in PostgreSQL: what users hold and owe, and what is in escrow, held against what the transfers say."""

import asyncpg

# Each side is counted by itself, so a row that only one of them has is found too.
_MISBOOKED = """
    WITH moved AS (
        SELECT project_id, user_id, currency,
            sum(amount * ((credit = 'user')::int - (debit = 'user')::int)) AS amount,
            sum(amount * ((debit = 'debt')::int - (credit = 'debt')::int)) AS debt,
            sum(amount * ((credit = 'escrow')::int - (debit = 'escrow')::int)) AS escrow
        FROM transfers GROUP BY 1, 2, 3),
    priced AS (
        SELECT f.project_id, f.user_id, p.key AS currency, sum(p.value::bigint) AS price
        FROM fulfilments f, json_each_text(f.price) AS p WHERE f.status = 'PENDING' GROUP BY 1, 2, 3)
    SELECT project_id, user_id, currency, 'has ' || coalesce(b.amount, 0) || ' and owes ' || coalesce(b.debt, 0)
        || ' where transfers leave ' || coalesce(m.amount, 0) || ' and ' || coalesce(m.debt, 0) AS why
    FROM moved m FULL JOIN balances b USING (project_id, user_id, currency)
    WHERE (coalesce(m.amount, 0), coalesce(m.debt, 0)) <> (coalesce(b.amount, 0), coalesce(b.debt, 0))
    UNION ALL
    SELECT project_id, user_id, currency, 'has ' || coalesce(m.escrow, 0) || ' in escrow for ' || coalesce(f.price, 0)
    FROM moved m FULL JOIN priced f USING (project_id, user_id, currency)
    WHERE coalesce(m.escrow, 0) <> coalesce(f.price, 0)
    UNION ALL
    SELECT project_id, NULL, currency, 'users have ' || sum(held) || ' of the ' || sum(given) || ' that was given out and not taken back'
    FROM (
        SELECT project_id, currency, amount - debt AS held, 0 AS given FROM balances
        UNION ALL
        SELECT project_id, currency, 0, amount * ((debit NOT IN ('user', 'debt'))::int - (credit NOT IN ('user', 'debt'))::int)
        FROM transfers) AS both_sides
    GROUP BY 1, 3 HAVING sum(held) <> sum(given)
    ORDER BY 1, 2, 3"""


async def misbooked(owner: asyncpg.Connection) -> list[str]:
    """Say of every (project, user, currency), and of every currency as a whole, what is not booked; none: the books balance."""
    return [
        f"project {project_id}, user {user_id or 'of any id'}, {currency}: {why}"
        for project_id, user_id, currency, why in await owner.fetch(_MISBOOKED)
    ]
