"""Stocks in a decision: what is left for all users, units taken and put back, codes of coupons drawn for a holder."""

from typing import TYPE_CHECKING

from questline.model.stocks import CodeMove, CodeUse, StockMove, StockState, pool_stock

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_UNTOUCHED = StockState()


def state_of(draft: "Draft", name: str) -> StockState:
    """Return a stock as this event has left it so far."""
    found = draft.stocks.get(name)
    return found if found is not None else draft.state.stocks.get(name, _UNTOUCHED)


def left(draft: "Draft", name: str, bound: int) -> int:
    """Return how many units of a bounded stock are left; below zero where the program has lowered the bound since."""
    return bound - state_of(draft, name).taken


def codes_left(draft: "Draft", pool: str) -> int:
    """Return how many codes of a pool are free."""
    found = state_of(draft, pool_stock(pool))
    return found.added - found.taken


def move(draft: "Draft", name: str, units: int) -> None:
    """Take units (above zero) of a stock, or put them back."""
    before = state_of(draft, name)
    draft.stocks[name] = StockState(before.taken + units, before.added)
    draft.stock_moves.append(StockMove(name, units))


def draw_code(draft: "Draft", pool: str, holder: str) -> None:
    """Give a holder a code of a pool that has one left; `show_code` tells it."""
    move(draft, pool_stock(pool), 1)
    draft.codes.append(CodeMove(CodeUse.DRAW, pool, holder))


def show_code(draft: "Draft", pool: str, holder: str) -> None:
    """Tell a holder's code; from then on it is spent."""
    draft.codes.append(CodeMove(CodeUse.SHOW, pool, holder))


def return_code(draft: "Draft", pool: str, holder: str) -> None:
    """Put back the code of a holder whom it was never shown to."""
    move(draft, pool_stock(pool), -1)
    draft.codes.append(CodeMove(CodeUse.RETURN, pool, holder))
