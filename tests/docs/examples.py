"""The fenced examples of the documentation's pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"<[a-z]+>")
"""Such as ``<tag>``: what a reader replaces."""


@dataclass(frozen=True)
class Example:
    """A fenced block: its language, its text, and where it stands."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the Markdown pages that tell users what to type."""
    return [
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        REPOSITORY / "SECURITY.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    ]


def examples(*languages: str) -> list[Example]:
    """Return the examples in these languages, in the order of the pages."""
    return [
        Example(
            str(page.relative_to(REPOSITORY)),
            text.count("\n", 0, found.start()) + 1,
            found[2],
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for page in pages()
        for text in [page.read_text(encoding="utf-8")]
        for found in FENCE.finditer(text)
        if found[2] in languages
    ]
