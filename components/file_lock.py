"""Locks between processes (``flock``), which the system releases when their holder ends.

They hold between threads, too: each call opens the file again. They are not reentrant.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(file: Path, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Lock ``file``, which is made if needed; yield whether it is locked, certain if ``wait``.

    shared: others may hold a shared lock at the same time.
    """
    with _closed(lock_descriptor(file, wait, shared)) as locked:
        yield locked


@contextmanager
def folder_lock(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Lock a folder, without a file in it; yield whether it is locked, certain if ``wait``.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with _closed(_locked(descriptor, wait, shared=False)) as locked:
        yield locked


def lock_descriptor(file: Path, wait: bool = True, shared: bool = False) -> int | None:
    """Return a descriptor that holds the lock of ``file_lock``, None if another process has it.

    The lock ends when the caller, and each child process that has the descriptor, closed it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    return _locked(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), wait, shared)


def _locked(descriptor: int, wait: bool, shared: bool) -> int | None:
    """Return the descriptor, locked; None, and it is closed, if another process has the lock."""
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, how | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _closed(descriptor: int | None) -> Iterator[bool]:
    """Yield whether there is a descriptor, and close it."""
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
