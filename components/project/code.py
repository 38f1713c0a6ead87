"""The code of each stage as a file that DVC can track, wherever the code is installed.

In: ``code.json``, the modules of each stage (written by ``make dag``), and the installed packages.
Out: ``data/code/<stage>.json``, the SHA-256 digest of each module. DVC runs this stage each time,
and another stage again when its own code changed: after an upgrade, only what it touches.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from components.settings import Settings

LISTED = Path(__file__).with_name("code.json")
"""The files and folders of code by stage, relative to the folder that holds the packages."""
_PACKAGES = Path(__file__).resolve().parents[2]


def digests(stage: str) -> Path:
    """Return the file of a stage's digests, relative to the project's folder."""
    return Path("data/code") / f"{stage}.json"


def run(settings: Settings, root: Path) -> None:
    """The stage ``code``: the installed code → data/code."""
    found: dict[str, str] = {}
    for stage, places in json.loads(LISTED.read_text(encoding="utf-8")).items():
        files = [file for place in places for file in _files(_PACKAGES / place)]
        for file in files:
            name = file.relative_to(_PACKAGES).as_posix()
            if name not in found:
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        names = sorted(file.relative_to(_PACKAGES).as_posix() for file in files)
        out = root / digests(stage)
        out.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({name: found[name] for name in names}, indent=1)
        out.write_text(content + "\n", encoding="utf-8")
    print(f"{len(found):,} modules")


def _files(place: Path) -> list[Path]:
    """Return the files of a folder that are no results of running it, or the file itself."""
    if not place.is_dir():
        return [place]
    return [file for file in place.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
