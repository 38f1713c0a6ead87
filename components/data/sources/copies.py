"""Files of a source that are copies of others: ``jan.csv`` and ``jan (1).csv``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from components.data.sources.files import File, stored_files_of
from components.data.sources.inventory import fingerprint
from components.settings import Source

_LEAST = 200
"""Bytes of a file below which it may have a header only, or equal another one by chance."""
_NO_LIMIT = 1 << 62


def note_copies(files: Sequence[File], source: Source, root: Path) -> None:
    """Add a sentence to the notes of each file that has the content of one before it.

    files: those of the source. Files whose folders have different keys and files elsewhere are not
    compared, nor those of a query, which may need both.
    """
    if source.query:
        return
    stored = {file.shown: file for file in stored_files_of(source, root) if not file.remote}
    same_size = defaultdict(list)
    for file in files:
        if (one := stored.get(file.shown)) and (size := one.path.stat().st_size) >= _LEAST:
            same_size[size, one.partitions].append((file, one.path))
    for group in same_size.values():
        first: dict[str, str] = {}
        for file, path in group if len(group) > 1 else ():
            digest = str(fingerprint(path, _NO_LIMIT)["sha256"])
            original = first.setdefault(digest, file.shown)
            if original != file.shown:
                file.notes["copies"] = (
                    f"the file has the same content as {original}: delete one of them, since each "
                    "of its rows is there twice"
                )
