"""Locks between processes: exclusive, shared, of folders, and inherited by a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.file_lock import file_lock, folder_lock, lock_descriptor


def test_one_holder_at_a_time_or_several_that_share(tmp_path: Path) -> None:
    file = tmp_path / "new/folder/.lock"
    with file_lock(file) as mine:
        assert mine
        with file_lock(file, wait=False) as second, file_lock(file, False, shared=True) as shared:
            assert (second, shared) == (False, False)
    with file_lock(file, shared=True) as first, file_lock(file, False, shared=True) as second:
        assert (first, second) == (True, True)
        with file_lock(file, wait=False) as exclusive:
            assert not exclusive
    with file_lock(file, wait=False) as free:
        assert free
    assert file.stat().st_mode & 0o077 == 0


def test_a_block_that_fails_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), file_lock(tmp_path / ".lock"):
        raise BlockingIOError  # of the block, not of the lock
    with file_lock(tmp_path / ".lock", wait=False) as free:
        assert free


def test_a_folder_is_locked_without_a_file_in_it(tmp_path: Path) -> None:
    with folder_lock(tmp_path), folder_lock(tmp_path, wait=False) as second:
        assert not second
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), folder_lock(tmp_path / "none"):
        pass


def test_a_lock_ends_with_the_last_process_that_has_the_descriptor(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    descriptor = lock_descriptor(file)
    assert descriptor is not None
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor]) as child:
        os.close(descriptor)
        assert lock_descriptor(file, wait=False) is None
        child.kill()
    descriptor = lock_descriptor(file, wait=False)
    assert descriptor is not None
    os.close(descriptor)
