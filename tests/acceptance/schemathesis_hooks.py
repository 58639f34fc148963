"""What the schema of a parameter cannot say: a cursor is one that a page before gave."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ask for first pages."""
    return query and {name: value for name, value in query.items() if name not in ("cursor", "after")}
