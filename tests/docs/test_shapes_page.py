"""docs/shapes.md lists the shapes that the tests read."""

from __future__ import annotations

from docs.shapes import PAGE, cell, row
from tests.components.data.test_shapes import SHAPES


def test_the_page_lists_every_shape() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    listed = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert listed[1:] == [cell(name) for name in SHAPES]


def test_outcomes_are_those_of_now() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for name in ("MovieLens", "no header, not said", "ids above 2^64"):
        assert row(name, SHAPES[name]) in lines
