"""Routes of text search, and of the catalogue's facets and categories."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.api.pools import READING
from serving.api.routes.attributes import check_filters, filters_and_rules
from serving.api.routing import ERRORS, Json, backend_of, within
from serving.api.schemas import (
    CategoriesResponse,
    FacetsRequest,
    FacetsResponse,
    SearchRequest,
    SearchResponse,
)
from serving.models.loaded import LoadedModel
from serving.recommend.steps import NO_STEPS, Steps
from serving.recommend.types import Filters, RankedList

router = APIRouter(tags=["shopper"])


def search_response(
    loaded: LoadedModel, body: SearchRequest, filters: Filters, steps: Steps = NO_STEPS
) -> bytes:
    """Return the JSON of a ``SearchResponse``. steps: the merchandising rules."""
    engine = loaded.engine
    mask = engine.mask(filters)
    if body.query.strip():
        codes, scores = loaded.search.find(body.query, mask, loaded.conversation.translated)
    else:
        codes = engine.by_popularity[mask[engine.by_popularity]]
        scores = np.zeros(len(codes))
    page = slice(body.offset, body.offset + body.k)
    pool = max(loaded.pipeline.serve.rules.pool, body.k)
    # Rules change the order of the pool alone: what follows it is on later pages as it was.
    is_arranged = steps.arranges and page.start < pool
    cut = slice(0, max(page.stop, pool)) if is_arranged else page
    found = codes[cut].tolist()
    ranked = RankedList(found, scores[cut].tolist(), ["search"] * len(found))
    if is_arranged:
        ranked = loaded.pipeline.rearranged(ranked, steps, body.k, filters).ranked
        ranked = ranked.take(range(*page.indices(len(ranked.items))))
    return engine.json_of(ranked, model_version=loaded.version, unknown_items=[], total=len(codes))


@router.post("/search", response_model=SearchResponse, responses=ERRORS)
async def search(body: SearchRequest, request: Request) -> Response:
    """Find products by words; without words, browse them, the popular ones first."""
    backend = backend_of(request)
    within(body.k, backend.settings.serve.max_k, "k")
    check_filters(body, request)
    loaded = backend.models.current()

    def find() -> bytes:
        filters, steps = filters_and_rules(body, request, loaded, "search")
        return search_response(loaded, body, filters, steps)

    return Json(await READING.run(find))


@router.post("/facets", response_model=FacetsResponse, responses=ERRORS)
async def facets(body: FacetsRequest, request: Request) -> Response:
    """The values of declared attributes of products, with the number of products that have each."""
    backend = backend_of(request)
    check_filters(body, request)
    loaded = backend.models.current()

    def count() -> bytes:
        filters, _ = filters_and_rules(body, request, loaded, "search")
        return loaded.facets.json(filters)

    return Json(await READING.run(count))


@router.get("/categories", response_model=CategoriesResponse, responses=ERRORS)
async def categories(request: Request) -> CategoriesResponse:
    """The catalogue's categories, the largest first."""
    names = backend_of(request).models.current().engine.category_names()
    return CategoriesResponse(categories=[{"name": n, "items": count} for n, count in names])
