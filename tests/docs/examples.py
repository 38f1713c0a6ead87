"""The fenced examples of the documentation's pages."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        REPOSITORY / "README.zh.md",
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


TABLES = {
    "olist/olist_orders_dataset.csv": (
        "order_id,customer_id,order_status,order_purchase_timestamp\n"
        "e481f51c,9ef432eb,delivered,2017-10-02 10:56:33\n"
    ),
    "olist/items/*.csv.gz": "order_id;product_id;price\ne481f51c;87285b34;29.99\n",
    "shopify/orders_export.csv": (
        "Name,Email,Created at,Lineitem sku\n#1001,a@example.org,2024-03-01 12:00:00 +0100,MUG-7\n"
    ),
}
"""Rows of the files that queries in examples read, by their path there."""


def write_tables(source: dict[str, Any], root: Path) -> None:
    """Write the files of an example's query, of which each gives one row of the result."""
    tables = (source.get("tables") or {"source": source["path"]}).values()
    for table in tables:
        given = table["path"] if isinstance(table, dict) else table
        path = root / given.replace("*", "part")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = TABLES[given].encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
