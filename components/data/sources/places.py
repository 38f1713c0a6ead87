"""Where the files of a source are: a path, a folder, a pattern or a URL → its files."""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from components.credentials import mask_credentials
from components.data.sources.compression import opened
from components.data.sources.hints import did_you_mean
from components.data.sources.patterns import is_pattern
from components.data.sources.remote import Remote, remote_files
from components.data.sources.stored import (
    READ,
    UNREAD_TABLES,
    StoredFile,
    kind_of,
    unknown_format,
)
from components.settings import FileFormat, url_of

COPIES = Path("data/.sources")
"""Copies of objects at ``s3://`` and ``gs://`` until they change, each in a folder of its own."""


@dataclass(frozen=True)
class Place:
    """Where the files of a table are.

    path: as the settings have it; a relative path is relative to ``root``. staging: folder for
    copies of the files.
    """

    path: Path
    form: FileFormat
    root: Path
    staging: Path

    def files(self) -> list[StoredFile]:
        """Return the files, sorted by name.

        Files of a folder that are not read are named in the output.

        Raises:
            FileNotFoundError: there is no such file or folder, or the folder has no readable file.
            ValueError: the file is of no known format, or the folder has tables of an unread one.
        """
        if url := url_of(self.path):
            return self._remote(url)
        path = self.root / self.path
        if is_pattern(self.path) and not path.exists():
            return self._matching()
        if path.is_dir():
            found = [
                self._file(file)
                for file in sorted(path.rglob("*"))
                if file.is_file() and visible(file, path)
            ]
            return self._readable(found, f"the folder {self.path} has")
        if not path.exists():
            siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, siblings) or f" (looked in {path.parent.resolve()})"
            raise FileNotFoundError(f"ingest: there is no file {self.path}{hint}")
        if not kind_of(path, self.form):
            with opened(path, f"ingest: {self.path}"):  # raises for an archive of several files
                raise ValueError(unknown_format(self.path))
        return [self._file(path)]

    def _matching(self) -> list[StoredFile]:
        """Return the files that the path matches as a pattern."""
        anchor = Path(self.path.anchor) if self.path.is_absolute() else self.root
        pattern = str(self.path.relative_to(self.path.anchor))
        # As in a shell, a wildcard does not match the beginning of a hidden file's name.
        hidden_too = not is_pattern(PurePath(pattern).name[:1])
        found = [
            self._file(file)
            for file in sorted(anchor.glob(pattern))
            if file.is_file() and (hidden_too or visible(file, file.parent))
        ]
        if not found:
            raise FileNotFoundError(
                f"ingest: no file matches {self.path} (looked in {anchor.resolve()})"
            )
        return self._readable(found, f"{self.path} matches")

    def _remote(self, url: str) -> list[StoredFile]:
        """Return the files at a URL; each is copied when it is read."""
        found, single = remote_files(url)
        files = [self._copied(one) for one in found]
        if single:
            return files
        shown = [file for file in files if visible(PurePath(file.shown), PurePath(url))]
        return self._readable(shown, f"{url} has")

    def _copied(self, remote: Remote) -> StoredFile:
        path = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(remote.url).path))
        folder = self.root / COPIES if remote.version else self.staging / "remote"
        content = f"{remote.url} {remote.version or ''}"
        digest = hashlib.sha256(content.encode()).hexdigest()[:32]
        copy = folder / digest / (path.name or "file")
        shown = mask_credentials(remote.url)
        return StoredFile(copy, shown, self.form, self.staging, _partitions(path.parent), remote)

    def _readable(self, found: list[StoredFile], what: str) -> list[StoredFile]:
        """Return the files that are read; name the others, or refuse them if they hold tables."""
        read = [file for file in found if kind_of(file.path, self.form) or _told_by_content(file)]
        names = [file.path.name for file in found if file not in read]
        tables = [name for name in names if PurePath(name).suffix.lower() in UNREAD_TABLES]
        if tables:
            raise ValueError(
                f"ingest: {what} {tables[0]}, a kind of file that is not read: save its table as "
                "CSV (UTF-8) or Parquet, or move it elsewhere"
            )
        if not read:
            raise FileNotFoundError(f"ingest: {what} no file that ends in {', '.join(READ)}")
        if names:
            listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
            print(f"{self.path}: {len(names)} files of unread kinds are left out: {listed}")
        return read

    def _file(self, path: Path) -> StoredFile:
        inside = path.is_relative_to(self.root)
        shown = str(path.relative_to(self.root)) if inside else str(path)
        return StoredFile(path, shown, self.form, self.staging, _partitions(path.parent))


def _told_by_content(file: StoredFile) -> bool:
    """Return whether the kind of a file elsewhere is known once it is copied."""
    return file.remote is not None and file.path.suffix.lower() in (".zip", ".db")


def visible(file: PurePath, folder: PurePath) -> bool:
    """Return whether no part of the path below the folder is hidden, as programs mark their own
    files. A pattern is no folder: of a file that one matches the name counts."""
    if not file.is_relative_to(folder):
        folder = file.parent
    return not any(part.startswith((".", "_", "~$")) for part in file.relative_to(folder).parts)


def _partitions(folder: PurePath) -> tuple[tuple[str, str | None], ...]:
    """Return the keys and values of Hive partitions in a folder's path.

    >>> _partitions(PurePath("orders/year=2024/shop=A%20B"))
    (('year', '2024'), ('shop', 'A B'))
    """
    parts = [part.partition("=") for part in folder.parts if re.match(r"[^=]+=", part)]
    return tuple(
        (key, None if value == "__HIVE_DEFAULT_PARTITION__" else urllib.parse.unquote(value))
        for key, _, value in parts
    )
