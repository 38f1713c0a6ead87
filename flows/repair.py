"""Repair of the files of DVC that a killed run leaves damaged.

DVC writes ``dvc.lock`` and its list of running stages, ``.dvc/tmp/rwlock``, in place. A process
that is killed while it does leaves a part of the file, and every later ``dvc repro`` refuses to
start.
Without the two files DVC starts: it takes the outputs of finished stages from its cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")

WRITING = 1.0
"""Seconds after which a file that is not complete is not being written any more."""


def remove_damaged(root: Path = Path()) -> list[Path]:
    """Remove those of the two files that are damaged, and return them."""
    found = _damaged(root)
    if found:
        time.sleep(WRITING)
        found = [file for file in _damaged(root) if file in found]
    for file in found:
        (root / file).unlink(missing_ok=True)
        print(f"{file} was damaged by a run that was killed and is removed")
    return found


def _damaged(root: Path) -> list[Path]:
    checks: dict[Path, Callable[[bytes], object]] = {RWLOCK: json.loads, LOCK: _check_lock}
    return [file for file, check in checks.items() if _is_damaged(root / file, check)]


def _check_lock(content: bytes) -> None:
    COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(content))


def _is_damaged(file: Path, check: Callable[[bytes], object]) -> bool:
    try:
        check(file.read_bytes())
    except FileNotFoundError:
        return False
    except (ValueError, yaml.YAMLError, Invalid):
        return True
    return False


if __name__ == "__main__":
    remove_damaged()
