""".questline/keys.json: the keys of a `questline dev`. Without it, what is sealed in its database stays shut."""

from pathlib import Path

import msgspec

from questline.cli.dev_file import replace_file
from questline.store.sealing import new_key


class DevKeys(msgspec.Struct, rename="camel"):
    """What the file holds: values of settings."""

    secret_keys: str
    token_keys: str


def dev_keys(path: Path) -> DevKeys:
    """Return the keys of a data directory, made on its first start; raises OSError, or msgspec's error for a broken file."""
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=DevKeys)
    keys = DevKeys(secret_keys=new_key(), token_keys=new_key())
    replace_file(path, msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n")
    return keys
