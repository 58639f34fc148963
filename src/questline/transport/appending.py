"""How appending to a log fails, for callers who know no client of one."""


class Full(Exception):
    """As much waits to be acknowledged as may; nothing of this call was written."""


class Failed(Exception):
    """No broker acknowledged it in time, so whether it was written is unknown."""
