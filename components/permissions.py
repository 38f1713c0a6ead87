"""File modes: what the project writes is readable by its own user only.

Tables, models, events and logs hold personal data. New folders get mode 700 and new files 600 by
the umask; a folder that an earlier version, git or DVC made is closed to others at its top.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PRIVATE = ("data", "models", "reports", "var", ".dvc/cache", ".dvc/tmp")
"""Folders below the project's root that hold personal data."""


def keep_private(root: Path) -> None:
    """Have this process and its children write for this user only, and close what is there.

    DVC sets the modes of what it puts in the workspace and in its cache by the umask that it was
    started with: mode 700 of the folder above them is what keeps other users out.
    """
    os.umask(0o077)
    for name in PRIVATE:
        folder = root / name
        with suppress(OSError):  # not there, another user's, or on a disk that is read only
            _close(folder)


def close_tree(folder: Path) -> None:
    """Close a folder and all in it to other users: a copy has the mode of its source."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            _close(path)


def _close(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & 0o077:
        path.chmod(mode & 0o700)
