"""The first run of `questline dev`: a project, its keys, and the file that tells them."""

import secrets
from hashlib import sha256
from pathlib import Path

from questline.cli.dev_file import DevFile, read_dev_file, write_dev_file
from questline.control.apps import create_app
from questline.control.keys import NewKey, create
from questline.model.principal import KeyType, Role
from questline.store import keys, projects
from questline.store.ids import EventIds
from questline.store.pool import Pool, open_pool

PROJECT = "my-app"


async def bootstrap(app_dsn: str, path: Path, url: str) -> DevFile:
    """Return the project and its keys, with the url of this start, and write them down.

    Keys are kept from start to start. They are made anew when the file was lost, or knows a database that is gone.
    """
    pool = await open_pool(app_dsn, max_size=2)
    try:
        file = read_dev_file(path)
        if file is None or await keys.find(pool, sha256(file.secret_key.encode()).digest()) is None:
            file = await _make(pool, url)
    finally:
        await pool.close()
    file.url = url
    write_dev_file(path, file)
    return file


async def _make(pool: Pool, url: str) -> DevFile:
    ids = EventIds()
    found = await projects.find(pool, PROJECT)
    if found is None:
        async with pool.acquire() as conn, conn.transaction():
            found, secret = await create_app(conn, None, ids.new(), PROJECT, "My app", "UTC", {})
    else:
        secret = await _key(pool, ids, found.project.id, KeyType.SECRET, Role.ADMIN)
    publishable = await _key(pool, ids, found.project.id, KeyType.PUBLISHABLE, Role.INGEST)
    return DevFile(url, PROJECT, secret.key, publishable.key, f"qa_{secrets.token_hex(24)}")


async def _key(pool: Pool, ids: EventIds, project_id: int, type_: KeyType, role: Role) -> NewKey:
    async with pool.acquire() as conn:
        return await create(conn, project_id, ids.new(), type_, role, "dev")
