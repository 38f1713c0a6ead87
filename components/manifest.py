"""Manifest of a model folder: the size and the SHA-256 digest of each of its files.

In: a folder that is complete. Out: its ``manifest.json``, written last; durable, as the files are.
``verify_manifest`` compares the folder with it before any file is parsed, because some parsers end
the process on a damaged file: LightGBM does on a truncated ``ranker.txt``.

The manifest finds what was damaged, not what was forged: a person who can write the folder can
write the manifest too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1


class ManifestError(ValueError):
    """A model folder is not what its manifest says; the message names the file."""


def write_manifest(folder: str | Path) -> None:
    """Write the manifest of a complete folder; files, folders and manifest are durable on return.

    Call it again after a file was added or changed.

    Raises:
        ManifestError: the folder holds a symbolic link or something else that is not a file.
    """
    folder = Path(folder)
    files = {}
    for name in sorted(_files(folder)):
        size, digest = _digest(folder / name, sync=True)
        files[name] = {"size": size, "sha256": digest}
    for place, _, _ in os.walk(folder):
        sync(place)
    partial = folder / f".{MANIFEST}"
    with partial.open("w", encoding="utf-8") as stream:
        json.dump({"format": FORMAT, "files": files}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(folder / MANIFEST)
    sync(folder)


def verify_manifest(folder: str | Path, optional: Collection[str] = ()) -> dict[str, str]:
    """Compare a folder with its manifest; return what is wrong in its ``optional`` parts.

    optional: names of files and folders directly in ``folder`` that can be left out. Returned: the
    name of each that is damaged, with what is wrong.

    Raises:
        ManifestError: the manifest or a file is missing, a file is extra, truncated or changed, or
            something in the folder is not a file.
    """
    folder = Path(folder)
    expected = _read(folder)
    there = set(_files(folder))
    wrong: dict[str, str] = {}

    def report(name: str, what: str) -> None:
        part = PurePosixPath(name).parts[0]
        if part not in optional:
            raise ManifestError(
                f"{folder / name} {what}: the model folder is damaged; bring it back from a backup "
                "or from the registry (bowerbird promote)"
            )
        wrong.setdefault(part, f"{name} {what}")

    for name in sorted(expected.keys() | there):
        if name not in there:
            report(name, "is missing")
        elif name not in expected:
            report(name, "is not in the manifest")
        elif (size := (folder / name).stat().st_size) != expected[name]["size"]:
            report(name, f"has {size} bytes instead of {expected[name]['size']}")
    for name in sorted(expected.keys() & there):  # the sizes of all are known before one is read
        part = PurePosixPath(name).parts[0]
        if part not in wrong and _digest(folder / name)[1] != expected[name]["sha256"]:
            report(name, "was changed after its manifest was written")
    return wrong


def sync(folder: str | Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name → {"size", "sha256"} of a folder's manifest."""
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version, files = content["format"], content["files"]
        sizes = [int(one["size"]) for one in files.values()]
        digests = [one["sha256"].encode() for one in files.values()]
    except FileNotFoundError as error:
        raise ManifestError(
            f"{file} is missing: it is written last, so the model folder is not whole; make it "
            "again (make run), or bring it back from the registry (bowerbird promote)"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{file} cannot be read ({type(error).__name__})") from error
    if version != FORMAT:
        raise ManifestError(f"{file} has the format {version!r}, this version reads {FORMAT}")
    assert len(sizes) == len(digests)
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or path.as_posix() != name or {"..", "."} & set(path.parts):
            raise ManifestError(f"{file} names {name!r}, which is not a file of the folder")
    return dict(files)


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files below ``folder`` except its manifest, with "/" between parts.

    Raises:
        ManifestError: something there is neither a file nor a folder.
    """
    places = [folder]
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    places.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise ManifestError(
                        f"{entry.path} is a symbolic link or a special file: a model folder holds "
                        "files and folders only"
                    )
                elif (name := Path(entry.path).relative_to(folder).as_posix()) not in (
                    MANIFEST,
                    f".{MANIFEST}",
                ):
                    yield name


def _digest(file: Path, sync: bool = False) -> tuple[int, str]:
    """Return the size and the SHA-256 digest of a file, which ``sync`` makes durable."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if sync:
            os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_size, digest
