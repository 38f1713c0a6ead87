"""The documentation as a site: built without warnings, and without another host."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.conftest import REPOSITORY

LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon)[^>]*\bhref=["']?(?:https?:)?//"""
)
"""What a browser fetches from another host when it opens the page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built strictly: a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")

    def refuse(*_: object) -> None:
        raise OSError("the documentation is built without a network")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        config = load_config(str(REPOSITORY / "mkdocs.yml"), strict=True, site_dir=str(folder))
        build(config)
    return folder


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert not [str(page) for page in pages if LOADED.search(page.read_text())]
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert not re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", styles)


def test_the_readme_is_the_first_page_and_its_links_lead_to_pages(site: Path) -> None:
    first = (site / "index.html").read_text()
    assert 'href="serving.html"' in first
    links = set(re.findall(r'href="([^"#:]+\.html)(?:#[^"]*)?"', first))
    assert not [one for one in links if not (site / one).exists()]


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("recommenders", "components.recommenders.base.Recommender.fit"),
        ("models", "components.recommenders.models.ease"),
        ("two-stage", "components.recommenders.two_stage.hybrid.Hybrid.fit"),
        ("kernels", "components.recommenders.kernels.sparse"),
        ("data", "components.data.schema"),
        ("evaluation", "components.evaluation.metrics.ndcg"),
        ("serving", "serving.api.schemas"),
        ("monitoring", "monitoring.alerts"),
        ("flows", "flows.training"),
    ],
)
def test_the_api_pages_have_the_packages_public_names(site: Path, page: str, name: str) -> None:
    assert f'id="{name}"' in (site / f"api/{page}.html").read_text()


def test_examples_of_docstrings_are_code(site: Path) -> None:
    page = (site / "api/models.html").read_text()
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page  # a prompt, highlighted
    assert "<blockquote>" not in page
