"""A list of running stages that a killed run left half written is removed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from dvc.rwlock import RWLockFileCorruptedError

from flows import rwlock


def test_dvc_runs_again_after_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("dvc.yaml").write_text("stages: {one: {cmd: echo 1 > a, outs: [a]}}")
    rwlock.RWLOCK.parent.mkdir(parents=True, exist_ok=True)
    rwlock.RWLOCK.write_text("")
    with Repo() as repo:
        with pytest.raises(ReproductionError) as found:
            repo.reproduce()
        assert isinstance(found.value.__cause__, RWLockFileCorruptedError)
        assert rwlock.remove_damaged()
        assert [stage.name for stage in repo.reproduce()] == ["one"]
    assert not rwlock.remove_damaged()


def test_one_that_is_whole_or_being_written_stays(tmp_path: Path) -> None:
    file = tmp_path / rwlock.RWLOCK
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert not rwlock.remove_damaged(tmp_path)
    file.write_text("")

    def write() -> None:
        time.sleep(rwlock.WRITING / 2)
        file.write_text("{}")

    thread = threading.Thread(target=write)
    thread.start()
    assert not rwlock.remove_damaged(tmp_path)
    thread.join()
    assert file.read_text() == "{}"
