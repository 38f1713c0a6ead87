"""Which files the sources have and whether they changed: the stage ``sources``.

In: the files and folders that ``ingest`` of params.yaml names, wherever they lie, those of queries'
tables included. Out:
``data/sources.json``, for each file its size and its SHA-256 digest. Reading a large file whole
takes minutes, so one above ``ingest.hash_limit_mb`` has its modification time instead. A file at a
URL has its ETag, a table of a database server its number of rows and its watermark.

DVC runs this stage each time and the stage ``ingest`` when its output changed. So a file that grew
and a file that is new in a folder are read at the next run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from components.data.sources.currencies import rates_file
from components.data.sources.files import server_table, stored_files_of
from components.data.sources.places import COPIES
from components.data.sources.remote import State
from components.data.sources.stored import StoredFile
from components.settings import Settings, Source

INVENTORY = "data/sources.json"


def run(settings: Settings, root: Path) -> None:
    """The stage ``sources``: the shop's files → data/sources.json.

    Raises:
        FileNotFoundError: a source has no file.
        ValueError: a file is of no known format.
    """
    ingest = settings.ingest
    sources = [*ingest.interactions, *ingest.items, *ingest.users, *ingest.reviews]
    sources += rates_file(ingest)
    files = [file for source in sources for file in stored_files_of(source, root)]
    limit = int(ingest.hash_limit_mb * 1_000_000)
    found = {shown: state for file in files for shown, state in file_states(file, limit).items()}
    _remove_old_copies(root / COPIES, files)
    size = sum(int(state["size"] or 0) for state in found.values())
    print(f"{len(found):,} files, {size:,} bytes")
    found |= {
        " ".join([source.shown, *source.query.split()]): server_state(source, root)
        for source in sources
        if source.database
    }
    out = root / INVENTORY
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _remove_old_copies(folder: Path, files: Iterable[StoredFile]) -> None:
    """Remove the copies of objects that changed or are not read any more."""
    kept = {file.path.parent for file in files}
    for copy in folder.glob("*"):
        if copy not in kept:
            shutil.rmtree(copy)


def file_states(file: StoredFile, limit: int) -> dict[str, State]:
    """Return what tells whether a file changed, by path or URL; of a database also its log's.

    Raises:
        ValueError: the file is elsewhere and cannot be reached.
    """
    if file.remote:
        return {file.shown: file.remote.state}
    folder = file.shown.removesuffix(file.path.name)
    return {folder + path.name: fingerprint(path, limit) for path in file.paths()}


def server_state(source: Source, root: Path) -> State:
    """Return what tells whether a server's table changed: ``rows`` and ``watermark``, the highest
    value of the source's column of that name.

    Without a watermark it is the time of the call, so that the table is read at every run.

    Raises:
        ValueError: the server cannot be reached or refuses, or the table is not there.
    """
    if source.watermark:
        return server_table(source, root).state(source.watermark)
    print(
        f"{source.shown} is read at every run: set `watermark` to a column that grows, if there is "
        "one"
    )
    return {"read": datetime.now(UTC).isoformat()}


def fingerprint(file: Path, limit: int) -> State:
    """Return the size of ``file`` in bytes, and what tells its content from another of that size.

    That is ``sha256``, the digest in hexadecimal, or above ``limit`` bytes ``modified``, the
    modification time in nanoseconds since 1970.
    """
    state = file.stat()
    if state.st_size > limit:
        return {"size": state.st_size, "modified": state.st_mtime_ns}
    with file.open("rb") as stream:
        return {"size": state.st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
