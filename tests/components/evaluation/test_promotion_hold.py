"""A hold on promotions survives, is worded, and ends by the operator."""

from __future__ import annotations

from pathlib import Path

from components.evaluation.promotion_hold import (
    FILE,
    hold_promotions,
    read_promotion_hold,
    release_promotions,
)


def test_a_hold_lasts_until_it_is_released(tmp_path: Path) -> None:
    assert read_promotion_hold(tmp_path) is None
    assert not release_promotions(tmp_path)
    first = hold_promotions(tmp_path, "signs of an attack on P1 by 9 profiles", ("P1",))
    assert read_promotion_hold(tmp_path) == first
    second = hold_promotions(tmp_path, "on P2", ("P2",))
    assert second.since == first.since
    assert release_promotions(tmp_path)
    assert read_promotion_hold(tmp_path) is None


def test_the_refusal_says_why_how_to_end_it_and_what_was_decided(tmp_path: Path) -> None:
    hold = hold_promotions(tmp_path, "signs of an attack on P1 by 9 profiles", ("P1",))
    text = hold.refusal("promoted: the gain is enough")
    assert text.startswith("not promoted: promotions are held since 20")
    for part in ("attack on P1 by 9 profiles", "bowerbird release --promotion", "the gain is"):
        assert part in text


def test_a_damaged_file_is_a_hold(tmp_path: Path) -> None:
    hold_promotions(tmp_path, "x")
    (tmp_path / FILE).write_text("{")
    found = read_promotion_hold(tmp_path)
    assert found is not None
    assert "cannot be read" in found.reason
