"""Empty routes of BentoML with its defaults, for comparison in ``benchmarks.serving``."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def empty(_: Request) -> Response:
    return Response(b"{}", media_type="application/json")


@bentoml.service(name="stock")
@bentoml.asgi_app(Starlette(routes=[Route("/mounted", empty)]), path="/")
class Stock:
    """Tracing, request metrics and access log with their defaults."""

    @bentoml.api
    def api(self) -> dict[str, str]:
        """Return nothing."""
        return {}
