"""What a training leaves in the remote, and says, when a stage fails."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from flows.remote import RemoteError
from flows.stages import StageFailed
from flows.training import pushed_at_the_end
from tests.repositories import pipeline, reproduce


def test_a_training_that_fails_pushes_what_was_made_before(tmp_path: Path) -> None:
    store = tmp_path / "store"
    folder = pipeline(tmp_path / "shop", str(store))
    reproduce(folder, "one")
    with pytest.raises(StageFailed, match=r"^two ended"), pushed_at_the_end(folder):
        raise StageFailed("two ended with code 1")
    assert [one.read_text() for one in store.rglob("files/md5/*/*") if one.is_file()] == ["data"]


def test_a_push_that_fails_does_not_hide_the_error_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(StageFailed) as caught, pushed_at_the_end(tmp_path):
        raise StageFailed("rank ended with code 1: out of memory")
    said = "".join(traceback.format_exception(caught.value))
    assert said.index("out of memory") < said.index("is not in the remote: there is no DVC repos")
    with pytest.raises(RemoteError), pushed_at_the_end(tmp_path):
        pass
