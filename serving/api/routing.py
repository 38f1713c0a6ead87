"""What the routes share: their documented errors, the worker's backend, a fast kind of route."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from serving.api.auth import Auth
from serving.api.middleware import Refused
from serving.api.schemas import ErrorResponse
from serving.backend import Backend

ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorResponse, "description": "a field is wrong; the answer names it"},
    429: {"model": ErrorResponse, "description": "too many requests"},
    503: {"model": ErrorResponse, "description": "not ready or overloaded: see Retry-After"},
}
WRITE_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorResponse, "description": "the API key is missing"},
    **ERRORS,
}
FEEDBACK_ERRORS: dict[int | str, dict[str, Any]] = {
    403: {"model": ErrorResponse, "description": "the session token is another's"},
    **WRITE_ERRORS,
}
ACCEPT_LANGUAGE: dict[str, Any] = {
    "parameters": [
        {
            "name": "Accept-Language",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "example": "de-CH, de;q=0.9, en;q=0.5",
            "description": "the language of the answer's texts, unless serve.language fixes it; "
            "English where there is no catalogue of it",
        }
    ]
}
"""What OpenAPI says of a request whose answer has texts."""
IN_LANGUAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Content-Language": {
                "description": "the language of the texts",
                "schema": {"type": "string"},
            },
            "Vary": {"description": "Accept-Language", "schema": {"type": "string"}},
        }
    }
}
"""... and of that answer."""
OPERATOR_ERRORS = {
    403: {"model": ErrorResponse, "description": "the operator key is missing"},
    415: {"model": ErrorResponse, "description": "the body is not JSON"},
    **WRITE_ERRORS,
}


def backend_of(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def auth_of(request: Request) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


def within(value: int, limit: int, field: str) -> None:
    """Refuse a value above the limit of params.yaml with status 422."""
    if value > limit:
        raise Refused(422, f"{field} must be at most {limit}", field)


class Json(Response):
    media_type = "application/json"


class JsonRoute(APIRoute):
    """A route ``async def endpoint(body: Model, request: Request) -> Response``.

    Documented as any other, but pydantic reads the bytes itself: FastAPI's general way, by
    dependencies and Python's own JSON, takes a tenth of the time of a cached response.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Any = self.dependant.call
        model = get_type_hints(endpoint)["body"]

        async def handle(request: Request) -> Response:
            content = await request.body()
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise Refused(422, "send JSON, as content-type application/json", "body")
            try:
                body = model.model_validate_json(content)
            except ValidationError as error:
                problems = error.errors(include_url=False, include_input=False)
                raise RequestValidationError(
                    [{**one, "loc": ("body", *one["loc"])} for one in problems]
                ) from error
            return await endpoint(body, request)

        return handle
