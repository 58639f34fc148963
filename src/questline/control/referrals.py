"""Referral codes: short, spoken over a telephone without mistakes, one a user."""

import secrets

from questline.model.limits import REFERRAL_CODE_CHARS, REFERRAL_CODE_TRIES_MAX
from questline.store import referrals
from questline.store.pool import Pool

LETTERS = "23456789ACDEFGHJKMNPQRTUVWXY"  # without 0 O, 1 I L, and without S, B and Z, which pass for 5, 8 and 2


class NoFreeCode(Exception):
    """Every code that was tried is taken: make them longer (REFERRAL_CODE_CHARS)."""


async def code_of(pool: Pool, project_id: int, user_id: int) -> str:
    """Return a user's code, made now unless they have one; two callers at once get the same."""
    async with pool.acquire() as conn:
        for _ in range(REFERRAL_CODE_TRIES_MAX):
            if (found := await referrals.code_of(conn, project_id, user_id)) is not None:
                return found
            await referrals.add_code(conn, project_id, user_id, new_code())
    raise NoFreeCode("no free referral code was found")


def new_code() -> str:
    """Return a code by chance."""
    return "".join(secrets.choice(LETTERS) for _ in range(REFERRAL_CODE_CHARS))
