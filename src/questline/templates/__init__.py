"""Programs to start from, as YAML files of this folder."""

from importlib.resources import files


class UnknownTemplate(LookupError):
    """There is no template of that name; the message lists those there are."""


def names() -> list[str]:
    """Return the names of the templates."""
    return sorted(file.name.removesuffix(".yaml") for file in files(__name__).iterdir() if file.name.endswith(".yaml"))


def text(name: str) -> bytes:
    """Return a template's document as YAML; raises UnknownTemplate."""
    if name not in names():
        raise UnknownTemplate(f"there is no template {name!r}; there are {', '.join(names())}")
    return (files(__name__) / f"{name}.yaml").read_bytes()
