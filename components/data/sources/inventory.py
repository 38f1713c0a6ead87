"""Which files the sources have and whether they changed: the stage ``sources``.

In: the files and folders that ``ingest`` of params.yaml names, wherever they lie. Out:
``data/sources.json``, for each file its size and its SHA-256 digest. Reading a large file whole
takes minutes, so one above ``ingest.hash_limit_mb`` has its modification time instead.

DVC runs this stage each time and the stage ``ingest`` when its output changed. So a file that grew
and a file that is new in a folder are read at the next run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from components.data.sources.currencies import rates_file
from components.data.sources.files import files_of
from components.settings import Settings

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
    files = {file.shown: file.path for source in sources for file in files_of(source, root)}
    limit = int(ingest.hash_limit_mb * 1_000_000)
    found = {shown: fingerprint(path, limit) for shown, path in sorted(files.items())}
    out = root / INVENTORY
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found):,} files, {sum(path.stat().st_size for path in files.values()):,} bytes")


def fingerprint(file: Path, limit: int) -> dict[str, int | str]:
    """Return the size of ``file`` in bytes, and what tells its content from another of that size.

    That is ``sha256``, the digest in hexadecimal, or above ``limit`` bytes ``modified``, the
    modification time in nanoseconds since 1970.
    """
    state = file.stat()
    if state.st_size > limit:
        return {"size": state.st_size, "modified": state.st_mtime_ns}
    with file.open("rb") as stream:
        return {"size": state.st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
