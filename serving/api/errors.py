"""Errors as responses: one JSON form, the status code and, where it helps, Retry-After."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from serving import N_
from serving.api.middleware import Refused
from serving.api.routing import Json
from serving.api.schemas import ErrorResponse
from serving.events.errors import StoreBusy, StoreError
from serving.models.loaded import NotReady
from serving.recommend.batching import TooManyWaiting


def refusal(refused: Refused) -> Response:
    return Json(refused.body(), refused.status_code, dict(refused.headers or {}))


async def invalid(_: Request, error: RequestValidationError) -> Response:
    """Name each wrong field; what was sent is not echoed."""
    problems = [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or "body",
            "problem": problem["msg"].removeprefix("Value error, "),
        }
        for problem in error.errors()
    ]
    first = problems[0]
    body = ErrorResponse.model_validate(
        {"error": f"{first['field']}: {first['problem']}", "fields": problems}
    )
    return Json(body.model_dump_json(), 422)


async def refused_by_route(_: Request, error: HTTPException) -> Response:
    return Json(ErrorResponse(error=str(error.detail)).model_dump_json(), error.status_code)


async def refused(_: Request, error: Refused) -> Response:
    return refusal(error)


async def not_ready(_: Request, error: NotReady) -> Response:
    return refusal(Refused(503, N_("no model is in service yet"), retry_after=2))


async def busy(_: Request, error: Exception) -> Response:
    return refusal(Refused(503, N_("overloaded: try again"), retry_after=1))


async def without_store(_: Request, error: StoreError) -> Response:
    return refusal(Refused(503, str(error), retry_after=error.retry_after))


HANDLERS: dict[type[Exception], Any] = {
    RequestValidationError: invalid,
    HTTPException: refused_by_route,
    Refused: refused,
    NotReady: not_ready,
    StoreBusy: busy,
    TooManyWaiting: busy,
    StoreError: without_store,
}


def add_handlers(app: FastAPI) -> None:
    """Register the handlers of all errors that a route raises."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
