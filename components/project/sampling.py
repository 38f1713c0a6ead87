"""The beginnings of a shop's files as files of their own, for a check that takes seconds.

In: the sources of the settings. Out: a folder with a copy of the beginning of each file under the
same path, and settings that name the copies. A small file is copied whole.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.sources import databases
from components.data.sources.compression import chunks, compression_of, opened
from components.data.sources.places import Place
from components.data.sources.stored import STAGED, StoredFile, ending
from components.project.inspection import starts_with
from components.settings import Settings, Source, Table, url_of

F = TypeVar("F", Source, Table)
FILES = 5
"""Most files of one folder or pattern that are read: the first, the last and some between."""


@dataclass(frozen=True)
class Sample:
    """The copies of a shop's files.

    settings: those of the shop, with the copies' paths. cut: files of which only a part is copied.
    names: files outside the shop's folder by the names of their copies.
    """

    settings: Settings
    cut: list[str]
    names: dict[str, str]

    def original(self, text: str) -> str:
        """Return a message about the copies as one about the files."""
        for copy in sorted(self.names, key=len, reverse=True):
            original = self.names[copy].replace("\\", r"\\")
            text = re.sub(rf"(?<![\w/]){re.escape(copy)}", original, text)
        return text


def sample(settings: Settings, root: Path, out: Path, limit: int) -> Sample:
    """Copy at most ``limit`` bytes of each source to ``out``.

    Raises:
        FileNotFoundError: a source has no file.
        ValueError: a file is damaged or of no known format.
    """
    copies = _Copies(root, out, limit)
    ingest = settings.ingest
    tables = {
        name: [copies.of_source(source) for source in getattr(ingest, name)]
        for name in ("interactions", "items", "users", "reviews")
    }
    copied = settings.model_copy(update={"ingest": ingest.model_copy(update=tables)})
    return Sample(copied, copies.cut, copies.names)


@dataclass
class _Copies:
    """Copies the beginnings of files to ``out``, at most ``limit`` bytes of a path."""

    root: Path
    out: Path
    limit: int
    cut: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def of_source(self, source: Source) -> Source:
        """Return the source with the paths of copies; a database server is read as it is."""
        if source.path:
            return self._of_path(source.path, source)
        tables = {name: self._of_path(one.path, one) for name, one in source.tables.items()}
        return source.model_copy(update={"tables": tables})

    def _of_path(self, path: Path, form: F) -> F:
        """Return ``form`` with the path of the copies of its files; files elsewhere are read as
        they are."""
        if url_of(path):
            return form
        files = Place(path, form, self.root, self.out).files()
        if len(files) > FILES:
            self.cut.append(f"{path} ({FILES} of {len(files)} files)")
            step = (len(files) - 1) / (FILES - 1)
            files = [files[round(n * step)] for n in range(FILES)]
        for file in files:
            for own in file.paths():
                copy = self.out / self._relative(own)
                if _copy(own, file, copy, self.limit // len(files)):
                    self.cut.append(file.shown)
        return form.model_copy(update={"path": self._relative(self.root / path)})

    def _relative(self, path: Path) -> Path:
        """Return ``path`` as one below the root, or below that of the file system.

        Without ``..``, so that a copy lies below ``out`` and never on the file itself.
        """
        absolute, base = (Path(os.path.normpath(one.absolute())) for one in (path, self.root))
        if absolute.is_relative_to(base):
            return absolute.relative_to(base)
        relative = absolute.relative_to(absolute.anchor)
        self.names[str(relative)] = str(absolute)
        return relative


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
    try:
        whole = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file: export it again") from error
    rows = max(1000, int(whole.metadata.num_rows * limit / path.stat().st_size))
    batch = next(whole.iter_batches(batch_size=rows))
    with pq.ParquetWriter(copy, whole.schema_arrow) as writer:
        writer.write_batch(batch)
    return bool(batch.num_rows < whole.metadata.num_rows)


def _first_lines(file: StoredFile, copy: Path, limit: int) -> bool:
    """Copy the first lines of a text file, decompressed; of a JSON array all, since it has one end.

    The reader looks at the first bytes of a file, not at its name, for its compression.
    """
    written, marks, start, more = 0, 0, b"", False
    with opened(file.path, file.shown) as stream, copy.open("wb") as out:
        for piece in chunks(stream, file.shown):
            start = start or piece.lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
            left = limit - written
            if start != b"[" and len(piece) > left:
                quote = "" if start == b"{" else file.form.quote
                piece, more = piece[: _end_of_rows(piece[:left], quote, marks)], True
            out.write(piece)
            written += len(piece)
            marks += piece.count(file.form.quote.encode()) if file.form.quote else 0
            if more:
                break
    return more


def _end_of_rows(piece: bytes, quote: str, marks: int) -> int:
    """Return where the last whole row of ``piece`` ends: at a line end in no quotation marks.

    quote: the quotation mark, "" for none. marks: how many of them are before the piece. Where they
    do not come in pairs (``12" plate``), they say nothing, and it is the last line end.
    """
    content = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(content == ord("\n")) + 1
    if not len(ends):
        return len(piece)
    end = int(ends[-1])
    if quote:
        before = marks + np.cumsum(content == ord(quote))
        outside = ends[before[ends - 1] % 2 == 0]
        if len(outside) and outside[-1] > len(piece) / 2:
            end = int(outside[-1])
    return end + (piece[end : end + 1] == b"\0")  # UTF-16, little-endian
