"""Registered versions as the registry leaves them on disk, and damage to them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path


def register(root: Path, champion: str | None, previous: str | None = None) -> None:
    """Write versions 1 and 2 and the pointer as the registry does."""
    for version in ("1", "2"):
        folder = root / "var/serving/models" / version
        if not folder.exists():
            shutil.copytree(root / "models/hybrid", folder)
    aliases = {champion: ["champion"], previous: ["previous"]}
    listed = [{"version": v, "aliases": aliases.get(v, [])} for v in ("2", "1")]
    (root / "var/serving/versions.json").write_text(json.dumps(listed))
    if champion is not None:
        pointer = {"version": champion, "folder": f"var/serving/models/{champion}"}
        (root / "var/serving/champion.json").write_text(json.dumps(pointer))


def halve(file: Path) -> bytes:
    """Truncate a file at its half; return what it held."""
    content = file.read_bytes()
    os.truncate(file, len(content) // 2)
    return content
