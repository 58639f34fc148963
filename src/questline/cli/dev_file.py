""".questline/dev.json: where a `questline dev` answers, and its keys."""

import os
from pathlib import Path

import msgspec


class DevFile(msgspec.Struct, rename="camel"):
    """What the file holds."""

    url: str
    project: str
    secret_key: str
    publishable_key: str
    admin_token: str


def read_dev_file(path: Path) -> DevFile | None:
    """Return what the file tells; None when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DevFile)
    except (OSError, msgspec.MsgspecError):
        return None


def write_dev_file(path: Path, file: DevFile) -> None:
    """Write the file for its owner's eyes alone."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner's eyes alone."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
