"""The files that candidates read besides the tables, sorted by candidate: the stage ``inputs``.

In: what a section of ``train`` names, for example ``rules.yaml``. Out: ``data/inputs/<name>`` with
a copy of each file at the same relative path, and ``files.json``, their names. So the fits of a
candidate depend on its own files and on no other's.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from components.recommenders.base import ReadsFiles
from components.recommenders.factory import build, registered
from components.settings import Settings

INPUTS = "data/inputs"


def run(settings: Settings, root: Path) -> None:
    """The stage ``inputs``: the candidates' files → data/inputs.

    Raises:
        ValueError: a candidate reads a file that is not below the project's folder.
    """
    shutil.rmtree(root / INPUTS, ignore_errors=True)
    for name in settings.train.names:
        folder = root / INPUTS / name
        folder.mkdir(parents=True)
        files = _files(name, settings, root)
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / file, folder / file)
        (folder / "files.json").write_text(json.dumps([str(file) for file in files]))


def _files(name: str, settings: Settings, root: Path) -> list[Path]:
    """Return the files that the candidate ``name`` reads, relative to ``root``."""
    if not issubclass(registered(name), ReadsFiles):
        return []
    model = build(name, settings, root)
    assert isinstance(model, ReadsFiles)
    files = model.input_files(root)
    for file in files:
        if not file.is_relative_to(root) or ".." in file.parts:
            raise ValueError(
                f"train.{name} names {file}: copy the file into the project's folder and give its "
                "path relative to it"
            )
    return [file.relative_to(root) for file in files]
