"""Small git and DVC repositories."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo

USER = ("-c", "user.name=shop", "-c", "user.email=shop@example.com")
"""Options of git for an author of commits."""
PIPELINE = """\
stages:
  one: {cmd: cp in one && echo one >> ran, deps: [in], outs: [one]}
  two: {cmd: cp one two && echo two >> ran, deps: [one], outs: [two]}
"""


def git(folder: Path, *arguments: str) -> None:
    """Run git, which can commit."""
    subprocess.run(["git", *USER, *arguments], cwd=folder, check=True, capture_output=True)


def pipeline(folder: Path, remote: str = "s3://shop/dvc", stages: str = PIPELINE) -> Path:
    """Make a repository of small stages with a remote."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    Repo.init(str(folder)).close()
    (folder / "dvc.yaml").write_text(stages)
    (folder / "in").write_text("data")
    (folder / ".gitignore").write_text("/one\n/two\n/ran\n/models\n/var\n")
    with Repo(str(folder)) as repo, repo.config.edit("repo") as config:
        config["core"] = {"remote": "storage", "analytics": False}
        config["remote"] = {"storage": {"url": remote}}
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "pipeline")
    return folder


def reproduce(folder: Path, *stages: str) -> list[str]:
    """Run stages; return the commands that ran, without those that DVC took from its caches."""
    (folder / "ran").unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "dvc", "repro", *stages], cwd=folder, check=True)
    return (folder / "ran").read_text().split() if (folder / "ran").exists() else []
