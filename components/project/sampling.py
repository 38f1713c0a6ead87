"""The beginnings of a shop's files as files of their own, for a check that takes seconds.

In: the sources of the settings. Out: a folder with a copy of the beginning of each file under the
same path, and settings that name the copies. A small file is copied whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from components.data.sources import databases
from components.data.sources.compression import chunks, compression_of, opened
from components.data.sources.places import Place
from components.data.sources.stored import STAGED, StoredFile, ending
from components.project.inspection import starts_with
from components.settings import FileFormat, Settings, Source, Table, url_of

F = TypeVar("F", Source, Table)
FILES = 5
"""Most files of one folder or pattern that are read: the first, the last and some between."""


def sample(settings: Settings, root: Path, out: Path, limit: int) -> tuple[Settings, list[str]]:
    """Copy at most ``limit`` bytes of each source to ``out``; return settings that name the copies,
    and the names of files of which only a part is in them.

    Raises:
        FileNotFoundError: a source has no file.
        ValueError: a file is damaged or of no known format.
    """
    cut: list[str] = []
    ingest = settings.ingest
    tables = {
        name: [_sampled(source, root, out, limit, cut) for source in getattr(ingest, name)]
        for name in ("interactions", "items", "users", "reviews")
    }
    return settings.model_copy(update={"ingest": ingest.model_copy(update=tables)}), cut


def _sampled(source: Source, root: Path, out: Path, limit: int, cut: list[str]) -> Source:
    """Copy the beginnings of a source's files; a database server is read as it is."""
    if source.path:
        return _with_copies(source.path, source, root, out, limit, cut)
    tables = {
        name: _with_copies(table.path, table, root, out, limit, cut)
        for name, table in source.tables.items()
    }
    return source.model_copy(update={"tables": tables})


def _with_copies(path: Path, form: F, root: Path, out: Path, limit: int, cut: list[str]) -> F:
    """Copy the beginnings of the files of ``path``, and return ``form`` with the copies' path.

    Files elsewhere are read as they are.
    """
    if url_of(path):
        return form
    files = Place(path, form, root, out).files()
    if len(files) > FILES:
        cut.append(f"{path} ({FILES} of {len(files)} files)")
        step = (len(files) - 1) / (FILES - 1)
        files = [files[round(n * step)] for n in range(FILES)]
    for file in files:
        for own in file.paths():
            if _copy(own, file, out / _relative(own, root), limit // len(files)):
                cut.append(file.shown)
    return form.model_copy(update={"path": _relative(root / path, root)})


def _relative(path: Path, root: Path) -> Path:
    """Return ``path`` below ``root``, or below the root of the file system, as a relative path."""
    absolute = path if path.is_absolute() else path.absolute()
    base = root.absolute()
    return absolute.relative_to(base if absolute.is_relative_to(base) else absolute.anchor)


def _copy(path: Path, file: StoredFile, copy: Path, limit: int) -> bool:
    """Write the beginning of a file, a database or workbook whole; return whether it has more."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    small = path.stat().st_size <= limit and compression_of(path) is None
    if small or ending(path) in (*STAGED, *databases.ENDINGS, ".db") or path != file.path:
        shutil.copyfile(path, copy)
        return False
    if starts_with(path, b"PAR1"):
        return _first_groups(path, copy, limit)
    return _first_lines(file, copy, limit)


def _first_groups(path: Path, copy: Path, limit: int) -> bool:
    """Copy as many rows of a Parquet file as fit ``limit``, at least the first batch."""
    whole = pq.ParquetFile(path)
    rows = max(1000, int(whole.metadata.num_rows * limit / path.stat().st_size))
    batch = next(whole.iter_batches(batch_size=rows))
    with pq.ParquetWriter(copy, whole.schema_arrow) as writer:
        writer.write_batch(batch)
    return bool(batch.num_rows < whole.metadata.num_rows)


def _first_lines(file: StoredFile, copy: Path, limit: int) -> bool:
    """Copy the first lines of a text file, decompressed; of a JSON array all, since it has one end.

    The reader looks at the first bytes of a file, not at its name, for its compression.
    """
    written, more = 0, False
    with opened(file.path, file.shown) as stream, copy.open("wb") as out:
        is_array = False
        for piece in chunks(stream, file.shown):
            is_array = is_array or (
                written == 0 and piece.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"["
            )
            room = limit - written
            if not is_array and len(piece) > room:
                piece, more = _whole_lines(piece[:room], file.form), True
            out.write(piece)
            written += len(piece)
            if more:
                break
    return more


def _whole_lines(piece: bytes, form: FileFormat) -> bytes:
    """Return ``piece`` up to the last line end that lies in no quotation marks."""
    end = piece.rfind(b"\n") + 1
    quote = form.quote.encode()
    while quote and end and piece.count(quote, 0, end) % 2:
        end = piece.rfind(b"\n", 0, end - 1) + 1
    if piece[end : end + 1] == b"\0":  # UTF-16, little-endian
        end += 1
    return piece[:end]
