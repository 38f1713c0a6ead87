"""Compressed files → streams of what is in them.

The first bytes of a file tell how it is compressed, whatever its name says.
"""

from __future__ import annotations

import bz2
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zst", b"PK\x03\x04": "zip"}
"""First bytes of compressed files."""

_NO_TEXT = {
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
}
"""First bytes of files that hold no text, and what they are."""

CHUNK = 1 << 24  # bytes that are read at once


def compression_of(path: Path) -> str | None:
    """Return gz, bz2, zst, zip or None (not compressed)."""
    start = _first_bytes(path)
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)


@contextmanager
def opened(path: Path, shown: str) -> Iterator[IO[bytes]]:
    """Open the file for reading, decompressed.

    Raises:
        ValueError: a zip archive does not hold exactly one file, or is encrypted, or the file is of
            a kind that holds no text.
    """
    kind = compression_of(path)
    stream: Any
    if kind == "gz":
        stream = gzip.GzipFile(path)
    elif kind == "bz2":
        stream = bz2.BZ2File(path)
    elif kind == "zst":
        stream = pa.input_stream(str(path), compression="zstd")
    elif kind == "zip":
        stream = _only_member(path, shown)
    else:
        start = _first_bytes(path)
        what = next((what for magic, what in _NO_TEXT.items() if start.startswith(magic)), None)
        if what:
            raise ValueError(
                f"{shown} is {what} and no text: give it its own ending, or export it as CSV"
            )
        stream = path.open("rb")
    with stream:
        yield stream


def chunks(stream: IO[bytes], shown: str) -> Iterator[bytes]:
    """Yield the bytes of ``stream`` in pieces.

    Raises:
        ValueError: the compressed file is damaged or cut off.
    """
    while True:
        try:
            piece = stream.read(CHUNK)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowInvalid) as error:
            raise ValueError(
                f"{shown} is damaged or cut off ({error}): copy or export it again"
            ) from error
        if not piece:
            return
        yield piece


def name_within(path: Path) -> str:
    """Return the name of the one file in a zip archive, "" if the archive is not of that kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = _members(archive)
    except (OSError, zipfile.BadZipFile):
        return ""
    return names[0] if len(names) == 1 else ""


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [
        name
        for name in archive.namelist()
        if not name.endswith(("/", ".DS_Store")) and not name.startswith("__MACOSX/")
    ]


def _only_member(path: Path, shown: str) -> IO[bytes]:
    """Open the one file in a zip archive."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{shown} is a damaged zip archive: copy or export it again") from error
    names = _members(archive)
    if "[Content_Types].xml" in names:
        raise ValueError(
            f"{shown} is an Office file: give a workbook the ending .xlsx, or save its table as "
            "CSV (UTF-8)"
        )
    if len(names) != 1:
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise ValueError(
            f"{shown} holds {len(names)} files ({listed}): unpack it and name the folder or each "
            "file as a source"
        )
    try:
        return archive.open(names[0])
    except (RuntimeError, NotImplementedError) as error:  # a password; an unknown method
        raise ValueError(
            f"{shown} cannot be unpacked ({error}): unpack it and name the file"
        ) from error
