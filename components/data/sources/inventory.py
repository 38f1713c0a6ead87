"""Which files the sources have and whether they changed: the stage ``sources``.

In: the files and folders that ``ingest`` of params.yaml names, wherever they lie, those of queries'
tables included. Out:
``data/sources.json``, for each file its size and its SHA-256 digest. Reading a large file whole
takes minutes, so one above ``ingest.hash_limit_mb`` has its modification time instead. A table of a
database server has its number of rows and its watermark.

DVC runs this stage each time and the stage ``ingest`` when its output changed. So a file that grew
and a file that is new in a folder are read at the next run.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from components.data.sources.currencies import rates_file
from components.data.sources.files import server_table, stored_files_of
from components.settings import Settings, Source

INVENTORY = "data/sources.json"

State = dict[str, int | str | None]
"""What tells whether a file or a table changed."""


def run(settings: Settings, root: Path) -> None:
    """The stage ``sources``: the shop's files → data/sources.json.

    Raises:
        FileNotFoundError: a source has no file.
        ValueError: a file is of no known format.
    """
    ingest = settings.ingest
    sources = [*ingest.interactions, *ingest.items, *ingest.users, *ingest.reviews]
    sources += rates_file(ingest)
    stored = [file for source in sources for file in stored_files_of(source, root)]
    files = {
        file.shown.removesuffix(file.path.name) + path.name: path
        for file in stored
        for path in file.paths()
    }
    limit = int(ingest.hash_limit_mb * 1_000_000)
    found: dict[str, State] = {
        **{shown: fingerprint(path, limit) for shown, path in files.items()},
        **{
            " ".join([source.shown, *source.query.split()]): server_state(source, root)
            for source in sources
            if source.database
        },
    }
    out = root / INVENTORY
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(files):,} files, {sum(path.stat().st_size for path in files.values()):,} bytes")


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
