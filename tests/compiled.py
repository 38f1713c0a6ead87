"""Machine code of this repository's loops for a copy of its modules, as in a Bento or in MLflow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.conftest import REPOSITORY


def copy_compiled(code: Path) -> None:
    """Give ``code/components``, a copy of ours, what numba has compiled for ours so far.

    Compiling it again takes half a minute of processor time, which a fresh clone's first test that
    ranks shows to work. numba takes machine code as that of a file by its time of change and size.
    """
    for source in (REPOSITORY / "components").rglob("*.py"):
        copy = code / source.relative_to(REPOSITORY)
        compiled = sorted((source.parent / "__pycache__").glob(f"{source.stem}.*.nb[ic]"))
        if compiled and copy.exists() and copy.read_bytes() == source.read_bytes():
            times = source.stat()
            os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
            (copy.parent / "__pycache__").mkdir(exist_ok=True)
            for file in compiled:
                shutil.copy(file, copy.parent / "__pycache__")
