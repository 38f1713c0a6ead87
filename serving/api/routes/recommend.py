"""Routes of recommendations: for a user or a session, a given list in order, similar items."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from serving.api.exposure import counted, logged
from serving.api.middleware import Refused
from serving.api.pools import READING
from serving.api.routing import ERRORS, Json, JsonRoute, auth_of, shop_of, within
from serving.api.schemas import (
    MAX_K,
    ErrorResponse,
    Id,
    RecommendRequest,
    RecommendResponse,
    RerankRequest,
    RerankResponse,
    SimilarRequest,
    SimilarResponse,
)
from serving.events.tables import profile_of
from serving.models.store import Shop, filters_of
from serving.recommend.responses import Answers, Question

hot = APIRouter(tags=["shopper"], route_class=JsonRoute)
router = APIRouter(tags=["shopper"])


@hot.post("/recommend", response_model=RecommendResponse, responses=ERRORS)
async def recommend(body: RecommendRequest, request: Request) -> Response:
    """Recommend for a user, a session, or a few recent items."""
    shop = shop_of(request)
    shop.current()
    within(body.k, shop.settings.serve.max_k, "k")
    within(len(body.recent), shop.settings.serve.max_history, "recent")
    within(len(body.page_items), shop.settings.serve.max_history, "page_items")
    auth = auth_of(request)
    caller = auth.caller(request)
    auth.identify(caller, body)
    profile = profile_of(body.user_id, body.session_id)
    is_logged = logged(request, caller, profile)
    question = Question(body, profile, caller.client, counted(request, caller, profile), is_logged)
    return Json(await request.app.state.answers.answer(question))


@hot.post("/rerank", response_model=RerankResponse, responses=ERRORS)
async def rerank(body: RerankRequest, request: Request) -> Response:
    """Put a list of the shop's own into the order that suits the asker."""
    shop = shop_of(request)
    shop.current()
    within(len(body.item_ids), shop.settings.serve.max_history, "item_ids")
    within(len(body.recent), shop.settings.serve.max_history, "recent")
    answers: Answers = request.app.state.answers
    auth = auth_of(request)
    caller = auth.caller(request)
    auth.identify(caller, body)
    profile = profile_of(body.user_id, body.session_id)
    is_logged = logged(request, caller, profile)
    return Json(await READING.run(answers.rerank, body, profile, caller.client, is_logged))


def similar_response(shop: Shop, body: SimilarRequest) -> SimilarResponse:
    loaded = shop.current()
    codes = {item: loaded.profiles.code(item) for item in body.item_ids}
    known = [code for code in codes.values() if code >= 0]
    if not known:
        raise Refused(404, "the model knows none of these items", "item_ids")
    engine = loaded.engine
    answer = engine.similar(known, body.k, filters_of(body))
    return SimilarResponse.model_validate(
        {
            "items": [
                {**engine.describe(code), "score": score, "source": source}
                for code, score, source in zip(
                    answer.items, answer.scores, answer.sources, strict=True
                )
            ],
            "model_version": loaded.version,
            "unknown_items": [item for item, code in codes.items() if code < 0],
        }
    )


_NOT_FOUND = {404: {"model": ErrorResponse, "description": "no such item"}}


@router.post(
    "/similar",
    response_model=SimilarResponse,
    responses={**_NOT_FOUND, **ERRORS},
)
async def similar(body: SimilarRequest, request: Request) -> SimilarResponse:
    """What goes with an item or with a whole basket."""
    shop = shop_of(request)
    within(body.k, shop.settings.serve.max_k, "k")
    within(len(body.item_ids), shop.settings.serve.max_history, "item_ids")
    return await READING.run(similar_response, shop, body)


@router.get(
    "/similar/{item_id:path}",
    response_model=SimilarResponse,
    responses={**_NOT_FOUND, **ERRORS},
)
async def similar_to(
    item_id: Annotated[Id, PathParameter()],
    request: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
) -> SimilarResponse:
    """What goes with one item."""
    return await similar(SimilarRequest(item_ids=[item_id], k=k), request)
