"""Which version serves all shoppers and which one a share: follows the pointer, survives a kill."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from components.rollout import (
    ENDED,
    KEPT,
    ROLLED_BACK,
    ROLLOUT,
    Release,
    Rollout,
    following,
    read_rollout,
    rollout_lock,
    write_rollout,
)


def release(version: str, lineage: str | None = None) -> Release:
    return Release(version, f"var/serving/models/{version}", lineage or version)


FIRST = Rollout(release("1"))
CANARY = following(FIRST, release("2"), 100.0)


def test_the_first_model_serves_all_at_once() -> None:
    assert following(None, release("1"), 100.0) == FIRST
    assert following(FIRST, release("1"), 101.0) == FIRST


def test_another_version_starts_a_canary_and_stays_in_it() -> None:
    assert CANARY.stable == release("1")
    assert CANARY.canary is not None
    assert (CANARY.canary.release, CANARY.canary.started) == (release("2"), 100.0)
    assert following(CANARY, release("2"), 200.0) == CANARY
    assert CANARY.versions == {"1", "2"}


def test_a_refresh_starts_no_canary_and_ends_none() -> None:
    refreshed = following(FIRST, release("5", "1"), 100.0)
    assert (refreshed.stable, refreshed.canary) == (release("5", "1"), None)
    assert following(refreshed, release("6", "1"), 200.0).stable.version == "6"
    going_on = following(CANARY, release("5", "2"), 200.0)
    assert going_on.canary is not None
    assert going_on.canary.release == release("5", "2")
    assert (going_on.canary.name, going_on.canary.started) == (CANARY.canary.name, 100.0)
    assert going_on.stable == release("1")


def test_a_version_that_was_rolled_back_is_not_tried_again_by_itself() -> None:
    gone = replace(CANARY.decided(ROLLED_BACK, "bad", 150.0), canary=None, rejected=release("2"))
    assert following(gone, release("2"), 200.0) == gone
    assert following(gone, release("5", "2"), 200.0) == gone  # nor refreshed
    assert following(gone, release("1"), 200.0).rejected is None  # as the registry goes back to it
    after = following(gone, release("3"), 200.0)
    assert after.canary is not None
    assert (after.canary.release.version, after.stable.version) == ("3", "1")


def test_another_promotion_or_a_rollback_ends_a_canary() -> None:
    for wanted, canary in (("3", "3"), ("1", None)):
        after = following(CANARY, release(wanted), 200.0)
        assert after.stable.version == "1"
        assert (after.canary and after.canary.release.version) == canary
        assert (after.decisions[-1]["version"], after.decisions[-1]["result"]) == ("2", ENDED)


def test_decisions_do_not_pile_up() -> None:
    rollout = CANARY
    for n in range(KEPT + 5):
        rollout = rollout.decided(ENDED, str(n), float(n))
    assert len(rollout.decisions) == KEPT
    assert rollout.decisions[-1]["reason"] == str(KEPT + 4)


def test_it_is_read_as_it_was_written_and_damage_is_said(tmp_path: Path) -> None:
    assert read_rollout(tmp_path) is None
    seen = replace(CANARY, evidence={"hours": 1.5, "rates": [0.1, None]})
    written = replace(seen.decided(ROLLED_BACK, "bad", 150.0), rejected=release("2"))
    for rollout in (FIRST, seen, written):
        write_rollout(tmp_path, rollout)
        assert read_rollout(tmp_path) == rollout
    content = (tmp_path / ROLLOUT).read_text()
    for damaged in ("", content[:-20], "[]", "{}", '{"stable": 1, "canary": null}'):
        (tmp_path / ROLLOUT).write_text(damaged)
        with pytest.raises(ValueError, match=r"rollout\.json is damaged"):
            read_rollout(tmp_path)


def _hold(root: str, held: object, let_go: object) -> None:
    with rollout_lock(Path(root)):
        held.set()
        let_go.wait(10)


def test_one_process_decides_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, let_go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, let_go))
    other.start()
    try:
        assert held.wait(10)
        with rollout_lock(tmp_path, wait=False) as locked:
            assert not locked
    finally:
        let_go.set()
        other.join(10)
    with rollout_lock(tmp_path, wait=False) as locked:
        assert locked
