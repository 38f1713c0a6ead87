"""Routes of the shop's pages: recommendations, search, conversation, and what shoppers did.

In: HTTP. Out: answers, and events in the store. Recommendations and feedback, by far the most of
what is asked, are ``hot``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response, StreamingResponse

from serving import metrics
from serving.api.auth import Caller
from serving.api.middleware import Refused
from serving.api.pools import CONVERSATION, READING
from serving.api.robots import is_robot
from serving.api.routing import (
    ERRORS,
    FEEDBACK_ERRORS,
    WRITE_ERRORS,
    Json,
    JsonRoute,
    auth_of,
    shop_of,
    within,
)
from serving.api.schemas import (
    MAX_K,
    ConversationRequest,
    ConversationResponse,
    ConversationText,
    ErrorResponse,
    FeedbackBatch,
    FeedbackEvent,
    FeedbackResponse,
    Id,
    RecommendRequest,
    RecommendResponse,
    RerankRequest,
    RerankResponse,
    ScoredItem,
    SearchRequest,
    SearchResponse,
    SessionRequest,
    SessionResponse,
    SimilarRequest,
    SimilarResponse,
)
from serving.conversation.generation import worded
from serving.events.store import profile_of
from serving.models.store import Loaded, Shop, filters_of
from serving.recommend.responses import Answers, Question

hot = APIRouter(tags=["shopper"], route_class=JsonRoute)
router = APIRouter(tags=["shopper"])


def counted(request: Request, caller: Caller) -> bool:
    """Return whether a request may expose its shopper to the running experiment.

    Anybody can invent as many shoppers as an experiment takes to be decided, and robots are none.
    """
    if not shop_of(request).settings.serve.experiment.name:
        return False
    return caller.authentication != "none" and not is_robot(request.headers.get("user-agent"))


def logged(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether what is shown is logged: not to robots, and not above the quotas."""
    shop = shop_of(request)
    agent = request.scope["peer"].headers.get(b"user-agent")
    if agent is not None and is_robot(agent.decode("latin-1")):
        shop.store.drop("robot")
        return False
    if not shop.quotas.allows(caller.authentication, caller.client, profile):
        shop.store.drop("quota")
        return False
    return True


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
    question = Question(body, profile, caller.client, counted(request, caller), is_logged)
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


@router.post("/session", response_model=SessionResponse, responses=WRITE_ERRORS)
async def session(request: Request, body: SessionRequest | None = None) -> SessionResponse:
    """A signed session of one shopper, sent with recommendations and feedback of a page."""
    made = auth_of(request).issue(request, body.user_id if body is not None else None)
    return SessionResponse(**vars(made))


async def keep(request: Request, events: list[FeedbackEvent], place: str = "") -> Response:
    """Return when the events are durable."""
    shop, intake = shop_of(request), request.app.state.intake
    taken = intake.take(auth_of(request).check_sender(request), events, place)
    written = shop.store.submit(taken.rows)
    flags = await asyncio.wrap_future(written)
    loaded: Loaded | None = shop.loaded
    unknown: dict[str, None] = {}
    for event, new in zip(events, flags, strict=True):
        metrics.EVENTS.labels(event.event, "accepted" if new else "duplicate").inc()
        if loaded is not None and loaded.profiles.code(event.item_id) < 0:
            unknown[event.item_id] = None
    kept = FeedbackResponse(
        accepted=sum(flags),
        duplicates=len(flags) - sum(flags),
        event_ids=[event.event_id for event in events],
        unknown_items=list(unknown),
        unknown_impressions=taken.unknown_impressions,
    )
    return Json(kept.model_dump_json())


@hot.post("/feedback", response_model=FeedbackResponse, responses=FEEDBACK_ERRORS)
async def feedback(body: FeedbackEvent, request: Request) -> Response:
    """Keep one event. It is durable when the answer arrives and counts in the next one."""
    return await keep(request, [body])


@hot.post("/feedback/batch", response_model=FeedbackResponse, responses=FEEDBACK_ERRORS)
async def feedback_batch(body: FeedbackBatch, request: Request) -> Response:
    """Keep several events: all of them, or none."""
    return await keep(request, body.events, "events.{}.")


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


def converse(
    shop: Shop, body: ConversationRequest, caller: Caller, is_counted: bool, is_logged: bool
) -> Iterator[tuple[str, ConversationResponse | ConversationText]]:
    """Yield ("proposals", answer without its text), ("text", a piece of it)…, ("done", answer)."""
    profile = profile_of(body.user_id, body.session_id)
    loaded, _ = shop.served_to(profile if is_counted else None)
    state, rested = body.state, shop.settings.serve.conversation_minutes * 60
    if state is not None and time.time() - state.said_at > rested:
        state = None
    shop.live.follow(profile)
    history = loaded.profiles.history(body.user_id, profile)
    reply = loaded.conversation.reply(body.message, state, history, body.k)
    items = [
        {**loaded.engine.describe(code), "score": 0.0, "source": "conversation", "reason": reason}
        for code, reason in zip(reply.items, reply.reasons, strict=True)
    ]
    metrics.CONVERSATION.labels("question" if reply.question else "answer").inc()
    shown = [item["item_id"] for item in items]
    impression_id = None
    if shown:
        scores, certain = [0.0] * len(shown), [1.0] * len(shown)
        lists = (shown, scores, certain)
        impression_id = shop.log_shown(
            body, *lists, loaded.version, "conversation", caller.client, is_logged
        )
    answer = ConversationResponse(
        text="",
        question=reply.question,
        options=reply.options,
        items=[ScoredItem.model_validate(item) for item in items],
        understood=reply.understood,
        relaxed=reply.relaxed,
        state=reply.state,
        model_version=loaded.version,
        identified=profile is not None,
        impression_id=impression_id,
    )
    yield "proposals", answer
    titles = loaded.conversation.titles
    for sentence in worded(shop.writer, body.message, reply.text, items, titles):
        answer.text += sentence
        yield "text", ConversationText(text=sentence)
    answer.text = answer.text.rstrip()
    yield "done", answer


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the answer; with stream: true server-sent events",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
                }
            }
        },
    }
}


@router.post(
    "/conversation",
    response_model=ConversationResponse,
    responses={**_STREAM, **ERRORS},
)
async def conversation(body: ConversationRequest, request: Request) -> Response:
    """Find by need: say what is looked for, then refine what was found."""
    shop = shop_of(request)
    shop.current()
    auth = auth_of(request)
    caller = auth.caller(request)
    auth.identify(caller, body)
    is_counted = counted(request, caller)
    is_logged = logged(request, caller, profile_of(body.user_id, body.session_id))
    if body.stream:
        parts = converse(shop, body, caller, is_counted, is_logged)
        first = await CONVERSATION.run(next, parts, None)  # refused before the answer begins

        async def events() -> AsyncIterator[str]:
            found = first
            while found is not None:
                event, part = found
                yield f"event: {event}\ndata: {part.model_dump_json()}\n\n"
                found = await CONVERSATION.go_on(next, parts, None)

        return StreamingResponse(events(), media_type="text/event-stream")

    def whole() -> str:
        *_, (_, answer) = converse(shop, body, caller, is_counted, is_logged)
        return answer.model_dump_json()

    return Json(await CONVERSATION.run(whole))
