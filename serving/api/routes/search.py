"""Routes of text search and of the catalogue's categories."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request

from serving.api.pools import READING
from serving.api.routing import ERRORS, shop_of, within
from serving.api.schemas import CategoriesResponse, SearchRequest, SearchResponse
from serving.models.store import Shop, filters_of

router = APIRouter(tags=["shopper"])


def search_response(shop: Shop, body: SearchRequest) -> SearchResponse:
    loaded = shop.current()
    engine = loaded.engine
    mask = engine.mask(filters_of(body))
    if body.query.strip():
        codes, scores = loaded.search.find(body.query, mask)
    else:
        codes = engine.by_popularity[mask[engine.by_popularity]]
        scores = np.zeros(len(codes))
    page = slice(body.offset, body.offset + body.k)
    return SearchResponse.model_validate(
        {
            "items": [
                {**engine.describe(code), "score": score, "source": "search"}
                for code, score in zip(codes[page].tolist(), scores[page].tolist(), strict=True)
            ],
            "model_version": loaded.version,
            "total": len(codes),
        }
    )


@router.post("/search", response_model=SearchResponse, responses=ERRORS)
async def search(body: SearchRequest, request: Request) -> SearchResponse:
    """Find products by words; without words, browse them, the popular ones first."""
    shop = shop_of(request)
    within(body.k, shop.settings.serve.max_k, "k")
    return await READING.run(search_response, shop, body)


@router.get("/categories", response_model=CategoriesResponse, responses=ERRORS)
async def categories(request: Request) -> CategoriesResponse:
    """The catalogue's categories, the largest first."""
    names = shop_of(request).current().engine.category_names()
    return CategoriesResponse(categories=[{"name": n, "items": count} for n, count in names])
