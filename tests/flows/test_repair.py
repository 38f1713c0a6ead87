"""Files of DVC that a killed run left half written are removed, and DVC goes on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows import repair


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository in which the stages ``one`` and ``two`` have run."""
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("x").write_text("x")
    Path("dvc.yaml").write_text(
        "stages:\n"
        "  one: {cmd: echo 1 >> runs; cp x a, deps: [x], outs: [a]}\n"
        "  two: {cmd: cp a b, deps: [a], outs: [b]}\n"
    )
    with Repo() as repo:
        repo.reproduce()
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content"),
    [(repair.RWLOCK, ""), (repair.RWLOCK, '{"read": {'), (repair.LOCK, ""), (repair.LOCK, None)],
)
def test_dvc_runs_again_and_takes_finished_stages_from_its_cache(
    project: Path, file: Path, content: str | None
) -> None:
    if content is None:  # dvc.lock, cut off in the middle of a stage
        text = file.read_text()
        content = text[: text.index("cmd:")]
    file.write_text(content)
    with Repo() as repo, pytest.raises(DvcException):
        repo.reproduce()
    assert repair.remove_damaged() == [file]
    with Repo() as repo:
        repo.reproduce()
        assert repo.status() == {}
    assert (project / "runs").read_text() == "1\n", "a finished stage was run again"
    assert repair.remove_damaged() == []


def test_one_that_is_whole_or_being_written_stays(project: Path) -> None:
    assert repair.remove_damaged() == []
    whole = repair.LOCK.read_text()
    repair.LOCK.write_text("")

    def write() -> None:
        time.sleep(repair.WRITING / 2)
        repair.LOCK.write_text(whole)

    thread = threading.Thread(target=write)
    thread.start()
    assert repair.remove_damaged() == []
    thread.join()
    assert repair.LOCK.read_text() == whole
