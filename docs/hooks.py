"""Hooks of mkdocs: pages that lie outside docs/ in the repository are pages of the site, too.

README.md is the first page. Links between pages are written for the repository, where GitHub and an
editor follow them; here they are rewritten for the site.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
INDEX = "README.md"
OUTSIDE = [
    *("README.zh.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"),
    *("datasets/README.md", "clients/python/README.md"),
]
RESULTS = "benchmarks/results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    results = sorted((REPOSITORY / RESULTS).glob("*.md"))
    for picture in sorted((REPOSITORY / RESULTS).glob("*.png")):
        uri = str(picture.relative_to(REPOSITORY))
        files.append(File.generated(config, uri, abs_src_path=str(picture)))
    for place in [INDEX, *OUTSIDE, *(str(one.relative_to(REPOSITORY)) for one in results)]:
        text = (REPOSITORY / place).read_text(encoding="utf-8")
        uri = "index.md" if place == INDEX else place
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links that leave docs/ or enter it."""
    if page.file.generated_by is not None:
        markdown = markdown.replace(f"]({INDEX})", "](index.md)")
        return re.sub(r"\]\((?:\.\./)*docs/", lambda _: f"]({_up(page)}", markdown)
    return re.sub(
        r"\]\((?:\.\./)+(benchmarks/|clients/|datasets/|[A-Z]+\.md)",
        lambda found: f"]({_up(page)}{found[1]}",
        markdown,
    )


def _up(page: Page) -> str:
    return "../" * page.file.src_uri.count("/")
