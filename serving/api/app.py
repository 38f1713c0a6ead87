"""The FastAPI application: routes, error handlers and middleware.

``app.state.backend``, ``.auth`` and ``.feedback`` are set by the worker that serves it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from components.settings import Serve
from serving.api.errors import add_handlers
from serving.api.middleware import Guard
from serving.api.routes import (
    admin,
    chat,
    feedback,
    merchandising,
    operations,
    pages,
    recommend,
    reports,
    search,
    users,
)
from serving.api.routing import Json


class Revalidated(StaticFiles):
    """Files that a browser keeps, and asks each time whether they changed."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        return response


def create_app(serve: Serve) -> FastAPI:
    """Return the application with the limits of ``serve``."""
    app = FastAPI(
        title="Bowerbird",
        version="1",
        description=(
            "Recommendations for an online shop. Liveness: GET /livez. Readiness: GET /readyz."
        ),
        generate_unique_id_function=lambda route: route.name,  # names of a generated client
        openapi_url=None,  # FastAPI would make the document for each request
        docs_url=None,
        redoc_url=None,
    )
    # The most frequent routes first: a request is matched against the routes in order.
    for router in (recommend.hot, feedback.hot):
        app.include_router(router)
    shopper, operation = (recommend, feedback, search, chat, users), (admin, operations, reports)
    for module in (*shopper, *operation, merchandising, pages):
        app.include_router(module.router)
    app.mount("/web", Revalidated(directory=pages.WEB), name="web")
    app.add_middleware(Guard, max_body=serve.max_body, rate=serve.max_rate)
    add_handlers(app)

    @cache
    def document() -> bytes:
        return orjson.dumps(app.openapi())

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Json(document())

    document()  # takes half a second, which no request should wait for later
    return app
