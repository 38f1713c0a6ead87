"""The clone of a shop's git repository that a worker keeps between runs.

In: the URL of the repository, and a folder of the worker. Out: the clone below it, at the newest
commit. Outputs, checkpoints and state in it stay: Prefect's own step removes the whole clone when
git refuses, as it does after each training that changed ``dvc.lock``, and when the repository
cannot be reached.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from components.credentials import mask_credentials
from components.file_lock import file_lock

IN_USE = Path("var/flows/in-use.lock")
"""Shared by the runs in a folder, and exclusive while its clone is updated."""
LOCK = "dvc.lock"
UNFINISHED = ("index.lock", "shallow.lock", "HEAD.lock")
"""Files below ``.git`` that a killed git leaves and that make every later one refuse."""


class CloneError(ValueError):
    """The clone cannot be made or updated; the message says what to do. Nothing was removed."""


@contextmanager
def in_use(root: Path = Path()) -> Iterator[None]:
    """Keep the files of git in ``root`` as they are for a run; several runs may do so at once."""
    with file_lock(root / IN_USE, shared=True):
        yield


def update_clone(repository: str, folder: str, branch: str | None = None) -> dict[str, str]:
    """Clone a repository below ``folder``, or update its clone there. The pull step of a run.

    A clone that another run uses stays at its commit. Otherwise files of git become those of the
    newest commit, except that ``dvc.lock`` keeps what was trained here unless git has a new one.
    Files that git does not know stay.

    branch: None: the default one of the repository.

    Returns:
        ``directory``: the clone's folder, which Prefect makes the run's working directory.

    Raises:
        CloneError: the repository cannot be reached, or another one's clone is in its place.
    """
    clone = Path(folder).absolute() / _name(repository, branch)
    if not clone.exists():
        _make(repository, branch, clone)
    else:
        with file_lock(clone / IN_USE, wait=False) as free:
            if free:
                _update(repository, branch, clone)
            else:
                commit = _git(clone, "rev-parse", "--short", "HEAD")
                print(f"{clone} is used by another run: it stays at commit {commit}")
    return {"directory": str(clone)}


def _name(repository: str, branch: str | None) -> str:
    """Return the name of a clone's folder: as Prefect's own step, repository and branch."""
    name = urlsplit(repository).path.rpartition("/")[2].removesuffix(".git")
    return f"{name}-{branch.replace('/', '-')}" if branch else name


def _make(repository: str, branch: str | None, clone: Path) -> None:
    """Clone into another folder, which is then put into place as a whole."""
    clone.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{clone.name}-", dir=clone.parent) as name:
        made = Path(name) / "clone"
        options = ["--branch", branch] if branch else []
        _git(clone.parent, "clone", "--depth", "1", *options, "--", repository, str(made))
        try:
            made.rename(clone)
        except OSError:
            if not (clone / ".git").exists():  # another run was not faster
                raise


def _update(repository: str, branch: str | None, clone: Path) -> None:
    if not (clone / ".git").is_dir():
        raise CloneError(f"{clone} is no clone of {repository}: move it away, or name another")
    origin = _git(clone, "config", "--get", "remote.origin.url")
    if origin != repository:
        raise CloneError(
            f"{clone} is a clone of {mask_credentials(origin)} and not of {repository}: deploy "
            "with another --folder, or move it away"
        )
    for name in UNFINISHED:
        (clone / ".git" / name).unlink(missing_ok=True)
    _git(clone, "fetch", "--depth", "1", "origin", branch or "HEAD")
    file = clone / LOCK
    changed = _git(clone, "diff", "--name-only", "HEAD", "FETCH_HEAD", "--", LOCK)
    trained = file.read_bytes() if file.exists() and not changed else None
    _git(clone, "reset", "--quiet", "--hard", "FETCH_HEAD")
    if trained is not None:
        file.write_bytes(trained)


def _git(folder: Path, *arguments: str) -> str:
    """Run git; return its output.

    Raises:
        CloneError: it failed.
    """
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = mask_credentials(done.stderr.strip()).replace("\n", " ")
        raise CloneError(f"git {arguments[0]} failed in {folder}: {reason}")
    return done.stdout.strip()
