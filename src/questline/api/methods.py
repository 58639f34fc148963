"""Which methods a path takes, whoever answers them: what OPTIONS and 405 say."""

import re
from collections.abc import Iterable

_PARAMETER = re.compile(r"\{[^}]+\}")


class Methods:
    """A table of paths, as the routes and the hot paths have them, with what each takes."""

    def __init__(self, routes: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._exact: dict[str, set[str]] = {}
        self._patterns: list[tuple[re.Pattern[str], set[str]]] = []
        for path, methods in routes:
            taken = self._exact.setdefault(path, {"OPTIONS"})
            taken |= set(methods) | ({"HEAD"} if "GET" in methods else set())
        for path, taken in self._exact.items():
            if "{" in path:
                texts = [re.escape(text) for text in _PARAMETER.split(path)]
                self._patterns.append((re.compile("[^/]+".join(texts) + "/?"), taken))

    def of(self, path: str) -> list[str]:
        """Return the methods of a path, in order; none where there is no such path.

        A path that is named as it stands is that one alone, as OpenAPI has it, even where a pattern would match it too.
        """
        if path in self._exact:
            return sorted(self._exact[path])
        found: set[str] = set()
        for pattern, taken in self._patterns:
            if pattern.fullmatch(path):
                found |= taken
        return sorted(found)
