"""Repair of DVC's list of running stages, ``.dvc/tmp/rwlock``, after a run that was killed.

DVC writes the file in place. A process that is killed while it does leaves a part of the file, and
every later ``dvc repro`` refuses to start.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

RWLOCK = Path(".dvc/tmp/rwlock")

WRITING = 1.0
"""Seconds after which a file that is not complete is not being written any more."""


def remove_damaged(root: Path = Path()) -> bool:
    """Remove the list of running stages if it is damaged; return whether it was."""
    file = root / RWLOCK
    if not _is_damaged(file):
        return False
    time.sleep(WRITING)
    if not _is_damaged(file):
        return False
    file.unlink(missing_ok=True)
    print(f"{RWLOCK} was damaged by a run that was killed and is removed")
    return True


def _is_damaged(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


if __name__ == "__main__":
    remove_damaged()
