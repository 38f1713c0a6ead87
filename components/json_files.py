"""Small JSON files that other processes read while they are written."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from components.manifest import sync


def write_json(file: Path, content: Any) -> None:
    """Write JSON to ``file``, durably and atomically; an equal file is not written."""
    text = json.dumps(content)
    if file.exists() and file.read_bytes() == text.encode():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: another process may write the same file.
    descriptor, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial).replace(file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync(file.parent)
