"""Partitions written to Parquet files, each with a manifest that says what is in it.

A file and its manifest have their names only when they are whole, so what is found under a name can be trusted, and what
was broken off is written again.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from questline.model.limits import ARCHIVE_GROUP_BYTES, ARCHIVE_GROUP_ROWS
from questline.store import archive
from questline.store.archive import COLUMNS, Column, Kind
from questline.store.pool import Connection

FORMAT = 1  # of files and manifests; a change of the columns makes it another
LAST_ID = UUID(int=2**128 - 1)
_BUFFER_BYTES = 1024 * 1024

Tell = Callable[[int], None]  # how many rows are done


class ArchiveFailed(Exception):
    """An archive cannot be written, or is not what it should be; nothing was dropped for it."""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What a file holds. `final`: its partition was detached, so nothing could be added to it any more."""

    format: int
    table: str
    name: str
    rows: int
    min_id: UUID | None
    max_id: UUID | None
    bytes: int
    sha256: str
    final: bool
    columns: list[Column]


class Archive:
    """A directory of Parquet files: TABLE/NAME.parquet, and NAME.json beside it. Raises ArchiveFailed without pyarrow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        _parquet()

    def prepare(self) -> None:
        """Make the directories, and see that files can be written there; raises ArchiveFailed."""
        try:
            for table in COLUMNS:
                (self._directory / table).mkdir(parents=True, exist_ok=True)
            probe = self._directory / ".questline"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ArchiveFailed(f"{self._directory} cannot be written to: {error}") from error

    def file(self, table: str, name: str) -> Path:
        """Return where a file is, or will be."""
        return self._directory / table / f"{name}.parquet"

    def manifest(self, table: str, name: str) -> Manifest | None:
        """Return what a file should hold; None: it was not written, or not to its end."""
        try:
            text = self.file(table, name).with_suffix(".json").read_bytes()
            found = msgspec.json.decode(text, type=Manifest)
        except (OSError, msgspec.MsgspecError):
            return None
        return found if found.format == FORMAT and self.file(table, name).exists() else None

    async def write(
        self, conn: Connection, table: str, partition: str, name: str, tell: Tell, below: UUID = LAST_ID,
        *, final: bool,
    ) -> Manifest:  # fmt: skip
        """Write what a partition has of events below an id, and return its manifest; raises ArchiveFailed."""
        path = self.file(table, name)
        part = path.with_name(f".{path.name}.part")
        try:
            projects = await archive.project_names(conn)
            writer = await asyncio.to_thread(_Writer, part, table)
            try:
                async for page in archive.rows(conn, table, partition, below):
                    await asyncio.to_thread(writer.add, [(projects[row[0]], *row) for row in page])
                    tell(writer.rows)
            finally:
                await asyncio.to_thread(writer.close)
            digest = await asyncio.to_thread(_digest, part)
            manifest = Manifest(
                FORMAT, table, name, writer.rows, writer.least, writer.most, part.stat().st_size, digest, final,
                list(COLUMNS[table]),
            )  # fmt: skip
            path.with_suffix(".json").unlink(missing_ok=True)  # an older one is not this file's
            _put(part, path)
            told = part.with_suffix(".json")
            told.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            _put(told, path.with_suffix(".json"))
        except OSError as error:
            raise ArchiveFailed(f"{path} cannot be written: {error}") from error
        return manifest

    async def verify(self, manifest: Manifest, rows: int) -> None:
        """Read a file again from its beginning to its end; raises ArchiveFailed where it has other rows or other bytes."""
        path = self.file(manifest.table, manifest.name)
        digest, found = await asyncio.to_thread(lambda: (_digest(path), sum(1 for _ in _keys(path, manifest.table))))
        if digest != manifest.sha256:
            raise ArchiveFailed(f"{path} is not what was written: its SHA-256 is another than its manifest says")
        if not found == manifest.rows == rows:
            raise ArchiveFailed(
                f"{path} has {found:,} rows, its manifest says {manifest.rows:,}, the table has {rows:,}"
            )

    def keys(self, manifest: Manifest) -> Iterator[tuple[int, UUID]]:
        """Yield (project, event) of each row of a file."""
        return _keys(self.file(manifest.table, manifest.name), manifest.table)


class _Writer:
    """One file under way: rows are gathered to row groups, so that memory is bounded."""

    def __init__(self, path: Path, table: str) -> None:
        self._columns = COLUMNS[table]
        self._id = next(place for place, column in enumerate(self._columns) if column.kind is Kind.ID)
        self._long = [place for place, column in enumerate(self._columns) if column.kind is Kind.JSON]
        self._schema = _schema(table)
        self._writer = _parquet().ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[tuple[Any, ...]] = []
        self._held_bytes = 0
        self.rows = 0
        self.least: UUID | None = None
        self.most: UUID | None = None

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        ids = [row[self._id] for row in rows]
        self.least = min(ids) if self.least is None else min(self.least, *ids)
        self.most = max(ids) if self.most is None else max(self.most, *ids)
        self._held += rows
        self._held_bytes += sum(len(row[place] or "") for row in rows for place in self._long)
        self.rows += len(rows)
        if len(self._held) >= ARCHIVE_GROUP_ROWS or self._held_bytes >= ARCHIVE_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._held:
            return
        pyarrow = _pyarrow()
        columns = [
            [None if value is None else str(value) for value in values] if column.kind is Kind.ID else list(values)
            for column, values in zip(self._columns, zip(*self._held, strict=True), strict=True)
        ]
        arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        self._held, self._held_bytes = [], 0


def _schema(table: str) -> Any:
    pyarrow = _pyarrow()
    text = pyarrow.string()
    types = {
        Kind.TEXT: text,
        Kind.ID: text,
        Kind.JSON: text,
        Kind.TIME: pyarrow.timestamp("us", tz="UTC"),
        Kind.INT16: pyarrow.int16(),
        Kind.INT32: pyarrow.int32(),
        Kind.INT64: pyarrow.int64(),
    }
    fields = [pyarrow.field(c.name, types[c.kind], c.nullable) for c in COLUMNS[table]]
    return pyarrow.schema(fields, metadata={"questline.format": str(FORMAT), "questline.table": table})


def _keys(path: Path, table: str) -> Iterator[tuple[int, UUID]]:
    id_ = "id" if table == "events" else "event_id"
    with _parquet().ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ARCHIVE_GROUP_ROWS, columns=["project_id", id_]):
            for project, event in zip(batch["project_id"].to_pylist(), batch[id_].to_pylist(), strict=True):
                yield project, UUID(event)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_BUFFER_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _put(part: Path, path: Path) -> None:
    """Give a whole file its name, so that it is there after a crash as well."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ArchiveFailed("Parquet files need pyarrow: pip install 'questline[archive]'") from error
    return pyarrow


def _parquet() -> Any:
    _pyarrow()
    import pyarrow.parquet

    return pyarrow.parquet
