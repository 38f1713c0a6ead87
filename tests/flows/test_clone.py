"""The clone that a worker keeps: what is in it stays, and a run's files do not change below it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.clone import CloneError, in_use, update_clone
from tests.object_store import SECRET
from tests.processes import end, wait_until
from tests.repositories import git

CHECKPOINT = "models/language/checkpoints/step-8"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A shop's repository with a committed ``dvc.lock``."""
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    for name, text in (("dvc.lock", "first"), ("params.yaml", "one"), (".gitignore", "/models/\n")):
        (folder / name).write_text(text)
    commit(folder)
    return folder


def commit(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / {"lock": "dvc.lock", "params": "params.yaml"}[name]).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "change")


def updated(origin: Path) -> Path:
    folder = origin.parent / "kept"
    return Path(update_clone(f"file://{origin}", str(folder), "main")["directory"])


def trained(clone: Path) -> Path:
    """Leave what a training leaves in a clone: a checkpoint, and another ``dvc.lock``."""
    (clone / CHECKPOINT).parent.mkdir(parents=True)
    (clone / CHECKPOINT).write_text("weights")
    (clone / "dvc.lock").write_text("trained here")
    return clone / CHECKPOINT


def test_what_was_trained_survives_the_newest_commit(origin: Path) -> None:
    clone = updated(origin)
    assert clone.name == "shop-main"
    checkpoint = trained(clone)
    commit(origin, params="two")
    assert updated(origin) == clone
    assert (clone / "params.yaml").read_text() == "two"
    assert (clone / "dvc.lock").read_text() == "trained here"
    assert checkpoint.exists()

    # Prefect's own step removes the clone here: git refuses to replace a changed file.
    commit(origin, lock="second")
    updated(origin)
    assert (clone / "dvc.lock").read_text() == "second"
    assert checkpoint.exists()


def test_a_lock_that_git_has_only_later_replaces_the_one_of_the_clone(origin: Path) -> None:
    (origin / "dvc.lock").unlink()
    commit(origin)
    clone = updated(origin)
    checkpoint = trained(clone)
    commit(origin, lock="second")
    updated(origin)
    assert (clone / "dvc.lock").read_text() == "second"
    assert checkpoint.exists()


def test_an_update_that_was_killed_is_made_up_for(origin: Path) -> None:
    clone = updated(origin)
    for name in ("index.lock", "shallow.lock"):
        (clone / ".git" / name).touch()
    commit(origin, params="two")
    updated(origin)
    assert (clone / "params.yaml").read_text() == "two"


def test_a_repository_that_cannot_be_reached_costs_nothing(origin: Path) -> None:
    clone = updated(origin)
    checkpoint = trained(clone)
    origin.rename(origin.with_name("moved"))
    with pytest.raises(CloneError, match=r"git fetch failed in .*shop-main"):
        updated(origin)
    assert checkpoint.exists()
    with pytest.raises(CloneError) as caught:
        update_clone(f"http://bot:{SECRET}@127.0.0.1:9/shop.git", str(origin.parent / "other"))
    assert SECRET not in str(caught.value)
    assert not any((origin.parent / "other").iterdir())


def test_the_clone_of_another_shop_is_not_taken(origin: Path) -> None:
    clone = updated(origin)
    git(clone, "remote", "set-url", "origin", "https://git.example/shop.git")
    with pytest.raises(CloneError, match=r"of https://git.example/shop.git and not of file://"):
        updated(origin)


RUN = "from flows.clone import in_use\nwith in_use(): print('in use', flush=True); input()"


def test_files_stay_as_they_are_below_a_run(origin: Path) -> None:
    clone = updated(origin)
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=clone,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == b"in use\n"
        commit(origin, params="two", lock="second")
        assert updated(origin) == clone
        assert (clone / "params.yaml").read_text() == "one"
        with in_use(clone):  # a monitoring during a training
            pass
        run.kill()
        run.wait()
        updated(origin)
        assert (clone / "params.yaml").read_text() == "two"
    finally:
        end(run)


def test_two_runs_that_begin_at_once_share_one_whole_clone(origin: Path) -> None:
    kept = origin.parent / "kept"
    step = f"from flows.clone import update_clone; print(update_clone('file://{origin}', '{kept}'))"
    runs = [subprocess.Popen([sys.executable, "-c", step]) for _ in range(3)]
    wait_until(lambda: all(run.poll() is not None for run in runs), 60, "the clones")
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert [one.name for one in kept.iterdir()] == ["shop"]
    assert (kept / "shop/params.yaml").read_text() == "one"
