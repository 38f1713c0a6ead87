"""Routes of recommendations: for a shopper, reranking of a given list, similar items."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from serving.api.cursors import next_cursor, shown_before
from serving.api.middleware import Refused
from serving.api.pools import READING
from serving.api.routes.attributes import check_filters, filters_and_rules
from serving.api.routing import (
    ACCEPT_LANGUAGE,
    ERRORS,
    IN_LANGUAGE,
    Json,
    JsonRoute,
    auth_of,
    backend_of,
    within,
)
from serving.api.schemas import (
    ErrorResponse,
    PageResponse,
    RecommendResponse,
    RerankResponse,
    SimilarRequest,
    SimilarResponse,
)
from serving.api.shopper import headers_of, shopper_of
from serving.fields import MAX_K, Id
from serving.recommend.query import PageRequest, RecommendRequest, RerankRequest
from serving.recommend.types import Shopper

CURSOR_ERRORS: dict[int | str, dict[str, Any]] = {
    410: {"model": ErrorResponse, "description": "the cursor has expired: begin again"},
    **ERRORS,
}
hot = APIRouter(tags=["shopper"], route_class=JsonRoute)
router = APIRouter(tags=["shopper"])


@hot.post(
    "/recommend",
    response_model=RecommendResponse,
    responses={**IN_LANGUAGE, **CURSOR_ERRORS},
    openapi_extra=ACCEPT_LANGUAGE,
)
async def recommend(body: RecommendRequest, request: Request) -> Response:
    """Recommend for a user, a session, or a few recent items."""
    backend = backend_of(request)
    backend.models.current()
    limits = backend.settings.serve
    within(body.k, limits.max_k, "k")
    check_filters(body, request)
    within(len(body.recent), limits.max_history, "recent")
    within(len(body.page_items), limits.max_history, "page_items")
    check_surface(body, request)
    shopper = shopper_of(request, body)
    if body.cursor is None:
        content = await backend.recommendations.recommend(body, shopper)
    else:
        content = await _paged(body, shopper, request)
    return Json(content, headers=headers_of(shopper.language))


async def _paged(body: RecommendRequest, shopper: Shopper, request: Request) -> bytes:
    """Return one page of a list, with the cursor of the next."""
    backend, sign = backend_of(request), auth_of(request).sign_cursor
    minutes = backend.settings.serve.cursor_minutes
    shown = shown_before(body, shopper.profile, sign, minutes)
    rest = body.model_copy(update={"cursor": None, "exclude": [*body.exclude, *shown]})
    shelf = await backend.recommendations.shelf(rest, shopper)
    more, following = shelf.item_ids, None
    if len(more) == body.k:
        following = next_cursor(body, shopper.profile, [*shown, *more], sign)
    return shelf.content[:-1] + b',"next":%b}' % orjson.dumps(following)


def check_surface(body: RecommendRequest, request: Request, place: str = "") -> None:
    """Refuse a surface that ``serve.surfaces`` does not have. place: as of ``check_filters``."""
    try:
        body.check_surface(backend_of(request).settings.serve.surfaces)
    except ValueError as error:
        problem, field = error.args
        raise Refused(422, problem, place + field) from error


@hot.post(
    "/page",
    response_model=PageResponse,
    responses={**IN_LANGUAGE, **ERRORS},
    openapi_extra=ACCEPT_LANGUAGE,
)
async def page(body: PageRequest, request: Request) -> Response:
    """Several shelves of one page, in one answer and without a product twice."""
    backend = backend_of(request)
    backend.models.current()
    limits = backend.settings.serve
    within(len(body.recent), limits.max_history, "recent")
    shopper = shopper_of(request, body)
    bodies = body.requests()
    for at, one in enumerate(bodies):
        place = f"shelves.{at}."
        within(one.k, limits.max_k, f"{place}k")
        within(len(one.page_items), limits.max_history, f"{place}page_items")
        check_filters(one, request, place)
        check_surface(one, request, place)
    shelves = await backend.recommendations.page(bodies, shopper)
    content = b'{"shelves":[%b]}' % b",".join(one.content for one in shelves)
    return Json(content, headers=headers_of(shopper.language))


@hot.post("/rerank", response_model=RerankResponse, responses=ERRORS)
async def rerank(body: RerankRequest, request: Request) -> Response:
    """Put a given list of items into the shopper's order."""
    backend = backend_of(request)
    backend.models.current()
    limits = backend.settings.serve
    within(len(body.item_ids), limits.max_history, "item_ids")
    within(len(body.recent), limits.max_history, "recent")
    shopper = shopper_of(request, body)
    return Json(await READING.run(backend.recommendations.rerank, body, shopper))


_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "no such item"}
}


@router.post(
    "/similar",
    response_model=SimilarResponse,
    responses={**_NOT_FOUND, **ERRORS},
)
async def similar(body: SimilarRequest, request: Request) -> Response:
    """Similar items to one item or to a basket."""
    backend = backend_of(request)
    within(body.k, backend.settings.serve.max_k, "k")
    check_filters(body, request)
    within(len(body.item_ids), backend.settings.serve.max_history, "item_ids")

    def find() -> bytes | None:
        loaded = backend.models.current()
        filters, steps = filters_and_rules(body, request, loaded, "similar")
        return backend.recommendations.similar(loaded, body.item_ids, body.k, filters, steps)

    found = await READING.run(find)
    if found is None:
        raise Refused(404, "the model knows none of these items", "item_ids")
    return Json(found)


@router.get(
    "/similar/{item_id:path}",
    response_model=SimilarResponse,
    responses={**_NOT_FOUND, **ERRORS},
)
async def similar_to(
    item_id: Annotated[Id, PathParameter()],
    request: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
) -> Response:
    """Similar items to one item."""
    return await similar(SimilarRequest(item_ids=[item_id], k=k), request)
