"""The HTML pages of the shopper and of the operator, their texts, and the benchmark's empty route.

A page is a Jinja template of ``serving/templates``, rendered once a language; its scripts read the
translations of their texts from ``/web/messages``. Every answer here depends on nothing else and
has an ETag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serving.api.middleware import Refused, content_policy
from serving.api.routing import Json, backend_of
from serving.api.shopper import headers_of, language_of
from serving.languages import Language, languages

SERVING = Path(__file__).resolve().parents[2]
WEB = SERVING / "web"

router = APIRouter(include_in_schema=False)

_templates = Environment(
    loader=FileSystemLoader(SERVING / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


@cache
def rendered(template: str, language: Language) -> bytes:
    """Return a page in a language."""

    def text(message: str) -> Markup:
        # Apostrophes stay as they are: attributes are written in double quotes.
        plain = escape(language.gettext(message), quote=False)
        return Markup(plain.replace('"', "&quot;"))  # nosec B704

    page = _templates.get_template(template).render(_=text, language=language)
    return page.encode()


@cache
def messages(language: Language) -> bytes:
    """Return the JSON of a language's translations for the scripts."""
    return orjson.dumps(language.messages)


@lru_cache(64)
def _etag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


def unless_known(
    request: Request, content: bytes, media_type: str, headers: dict[str, str]
) -> Response:
    """Return ``content``, or 304 where the browser has it already."""
    etag = _etag(content)
    headers = {**headers, "etag": etag, "cache-control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def page(template: str, request: Request, images: Sequence[str] = ()) -> Response:
    """Return a page in the language of the request. images: sources of images that it may load."""
    language = language_of(request)
    content = rendered(template, language)
    policy = {"content-security-policy": content_policy(images).decode()}
    return unless_known(request, content, "text/html", headers_of(language.code) | policy)


@router.get("/")
async def shopper_page(request: Request) -> Response:
    return page("index.html", request, backend_of(request).settings.serve.image_sources)


@router.get("/operator")
async def operator_page(request: Request) -> Response:
    return page("operator.html", request)


@router.get("/web/messages/{code}.json")
async def translations(code: str, request: Request) -> Response:
    """The translations of the texts of the scripts, by the English text."""
    language = languages().get(code)
    if language is None:
        raise Refused(404, "there is no catalogue of this language")
    content = messages(language)
    return unless_known(request, content, "application/json", {"content-language": code})


@router.get("/empty")
async def empty() -> Response:
    """An empty response through the whole HTTP stack, the benchmark's baseline."""
    return Json(b"{}")
