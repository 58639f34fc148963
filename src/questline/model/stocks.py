"""Stocks: what all users of a project share, loaded for a batch under a lock and counted down by its decisions."""

from enum import StrEnum

import msgspec


class StockState(msgspec.Struct, frozen=True, gc=False):
    """Units taken, of how many are bounded by the program; of a pool of coupons also how many codes were ever added."""

    taken: int = 0
    added: int = 0


class StockMove(msgspec.Struct, frozen=True, gc=False):
    """Units that a decision takes (above zero) or puts back. The name is `reward:NAME`, `store:NAME` or `pool:NAME`."""

    name: str
    units: int


class CodeUse(StrEnum):
    DRAW = "draw"  # a free code of the pool is the holder's from now on
    SHOW = "show"  # the holder's code is told by this event
    RETURN = "return"  # nobody has seen the holder's code; it is free again


class CodeMove(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a holder's coupon code. Which code it is, the store alone knows: the engine counts them."""

    use: CodeUse
    pool: str
    holder: str  # the name of a grant or the id of a fulfilment


def reward_stock(name: str) -> str:
    """Return the name of a named reward's stock, and of a user's allowance of it."""
    return f"reward:{name}"


def store_stock(name: str) -> str:
    """Return the name of a store item's stock, and of a user's allowance of it."""
    return f"store:{name}"


def pool_stock(name: str) -> str:
    """Return the name of a coupon pool's stock."""
    return f"pool:{name}"
