"""A new shop's folder: settings, stages, rules, and git and DVC begun.

The folder holds no code: ``dvc.yaml`` runs the installed ``bowerbird`` and depends on its code by
digests (see ``code``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).with_name("template")
FILES = {"dvc.yaml": "dvc.yaml", "rules.yaml": "rules.yaml", "gitignore": ".gitignore"}
"""Files of a shop's folder by their name in the template."""
DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"
KEPT = ("data/feedback", "data/impressions", "data/erasures", "data/held")
"""Folders that stages read before anything is in them."""


def refuse_taken(folder: Path) -> None:
    """Return if ``folder`` can become a shop's folder.

    Raises:
        ValueError: it has a params.yaml or a dvc.yaml of its own already, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name another folder")
    for name in ("params.yaml", "dvc.yaml"):
        if (folder / name).exists() and not _is_of_template(folder / name):
            raise ValueError(
                f"{folder / name} is there already: name another folder, or edit that file and run "
                "`bowerbird check` there"
            )


def _is_of_template(file: Path) -> bool:
    """Return whether an earlier ``bowerbird init``, which was interrupted, wrote the file."""
    template = TEMPLATE / file.name
    return template.exists() and template.read_bytes() == file.read_bytes()


def write_folder(folder: Path, params: str) -> None:
    """Write a shop's folder with this params.yaml; files that are there stay, and git adds only
    those of the folder's own.

    Raises:
        ValueError: it is a shop's folder already, or git or DVC fails.
    """
    refuse_taken(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in FILES.items():
        if not (folder / place).exists():
            shutil.copyfile(TEMPLATE / name, folder / place)
    for name in KEPT:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / ".gitkeep").touch()
    # A repository that ignores the folder would not keep its files.
    tracked = _run(folder, "git", "check-ignore", "--quiet", ".").returncode == 1
    if not tracked:
        _must(folder, "git", "init", "--quiet")
    toplevel = _run(folder, "git", "rev-parse", "--show-toplevel").stdout.strip()
    below = [] if Path(toplevel) == folder.resolve() else ["--subdir"]
    if not (folder / ".dvc").exists():
        _must(folder, sys.executable, "-m", "dvc", "init", *below)
        (folder / ".dvc/config").write_text(DVC_CONFIG)  # `dvc config` starts DVC again for each
    # Last: where git or DVC fails, the command can be run again.
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    _must(folder, "git", "add", "--", "params.yaml", *FILES.values(), ".dvc", ".dvcignore")
    # The folders' own .gitignore may leave these out.
    _run(folder, "git", "add", "--", *(f"{name}/.gitkeep" for name in KEPT))


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ValueError(f"{command[0]} is not installed: install it and run again") from error


def _must(folder: Path, *command: str) -> None:
    done = _run(folder, *command)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise ValueError(f"{' '.join(command[:3])} failed in {folder}: {said}")
