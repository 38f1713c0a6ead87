"""Pages in Chinese say the same as the English ones: commands, links, figures, sections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.examples import FENCE

PAGES = sorted([*REPOSITORY.glob("*.zh.md"), *(REPOSITORY / "docs").rglob("*.zh.md")])
COMMENT = re.compile(r"(?m)\s+#.*$")


def english(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh.md", ".md"))


def commands(page: Path) -> list[str]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [COMMENT.sub("", one[3]) for one in found if one[2]]


def test_the_pages_are_there() -> None:
    assert {one.name for one in PAGES} >= {"README.zh.md", "first-steps.zh.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_the_commands_are_the_same(page: Path) -> None:
    assert commands(page)
    assert commands(page) == commands(english(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_the_pages_link_to_each_other_and_to_the_same_places(page: Path) -> None:
    theirs = english(page)
    ours, other = page.read_text(encoding="utf-8"), theirs.read_text(encoding="utf-8")
    assert f"]({theirs.name})" in ours.partition("\n\n")[2].partition("\n\n")[0]
    assert f"]({page.name})" in other.partition("\n\n")[2].partition("\n\n")[0]

    def targets(text: str) -> set[str]:
        found = set(re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", text))
        return {one.replace(".zh.md", ".md") for one in found} - {page.name, theirs.name}

    assert targets(ours) == targets(other)


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_sections_and_figures_are_the_same(page: Path) -> None:
    ours, other = (one.read_text(encoding="utf-8") for one in (page, english(page)))
    assert len(re.findall("(?m)^#", ours)) == len(re.findall("(?m)^#", other))

    def figures(text: str) -> list[str]:
        prose = re.sub(r"\]\([^)]*\)|<img[^>]*>|!\[[^\]]*\]", "", FENCE.sub("", text))
        return sorted(re.findall(r"\d[\d.,]*\d", prose))

    assert figures(ours) == figures(other)
