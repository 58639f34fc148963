"""SQL as first-class code: each statement lives in sql/AGGREGATE.sql under a line `-- name: NAME`.

The comment lines that follow the name say what the statement is for and what it returns; they stay in the text, so
they are seen in pg_stat_statements too.
"""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: ([a-z_][a-z0-9_]*)[ \t]*$", re.MULTILINE)


@cache
def statements(aggregate: str) -> dict[str, str]:
    """Return the statements of one aggregate by name; a name used twice is a ValueError."""
    text = files("questline.store").joinpath("sql", f"{aggregate}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in found:
            raise ValueError(f"sql/{aggregate}.sql names the statement {name!r} twice")
        found[name] = body.strip().rstrip(";")
    return found
