"""Route of conversational recommendation, as one response or streamed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from serving import metrics
from serving.api.pools import CONVERSATION
from serving.api.routes.attributes import check_expression
from serving.api.routing import ACCEPT_LANGUAGE, ERRORS, IN_LANGUAGE, Json, backend_of
from serving.api.schemas import (
    ConversationRequest,
    ConversationResponse,
    ConversationText,
    ScoredItem,
)
from serving.api.shopper import headers_of, shopper_of
from serving.backend import Backend
from serving.conversation.generation import worded
from serving.filters.conditions import both
from serving.languages import AUTO, language
from serving.recommend.merchandising import logged_rules
from serving.recommend.types import Filters, RankedList, Shopper

router = APIRouter(tags=["shopper"])


def converse(
    backend: Backend, body: ConversationRequest, shopper: Shopper
) -> Iterator[tuple[str, ConversationResponse | ConversationText]]:
    """Yield ("proposals", answer without its text), ("text", a piece of it)…, ("done", answer)."""
    loaded = backend.models.assign(shopper.profile if shopper.in_experiment else None).loaded
    state, expires = body.state, backend.settings.serve.conversation_minutes * 60
    if state is not None and time.time() - state.said_at > expires:
        state = None
    backend.live.follow(shopper.profile)
    history = loaded.profiles.history(shopper.user_id, shopper.profile)
    follow = backend.settings.serve.language == AUTO
    recommendations, of_shopper = backend.recommendations, (shopper.user_id, shopper.profile)
    steps = recommendations.steps("conversation", *of_shopper, loaded)
    where = both(recommendations.condition(body.filter, *of_shopper, loaded), steps.excluded)
    applied, by_rule = steps.exclusions, set[int]()  # an order that was asked for has no others

    def arrange(ranked: list[int], k: int) -> list[int]:
        nonlocal applied
        applied = steps
        listed = RankedList(ranked, [0.0] * len(ranked), ["conversation"] * len(ranked))
        met = Filters(where=where)
        found, placed, _ = loaded.pipeline.rearranged(listed, steps, k, met, history)
        by_rule.update(found.items[place - 1] for place in placed)
        return found.items

    reply = loaded.conversation.reply(
        *(body.message, state, history, body.k, language(shopper.language), follow, where),
        arrange if steps.arranges else None,
    )
    items = [
        {**loaded.engine.describe(code), "score": 0.0, "source": "conversation", "reason": reason}
        for code, reason in zip(reply.items, reply.reasons, strict=True)
    ]
    metrics.CONVERSATION.labels("question" if reply.question else "answer").inc()
    shown = [item["item_id"] for item in items]
    impression_id = None
    if shown:
        placed = [place for place, code in enumerate(reply.items, 1) if code in by_rule]
        impression_id = backend.impressions.log_items(
            *(shopper, shown, [0.0] * len(shown), loaded.version, "conversation", "conversation"),
            logged_rules(applied, placed),
        )
    answer = ConversationResponse(
        text="",
        question=reply.question,
        options=reply.options,
        labels=reply.labels,
        items=[ScoredItem.model_validate(item) for item in items],
        understood=reply.understood,
        relaxed=reply.relaxed,
        state=reply.state,
        model_version=loaded.version,
        identified=shopper.profile is not None,
        impression_id=impression_id,
    )
    yield "proposals", answer
    code = _language_of(answer, shopper)
    for sentence in worded(backend.writer, reply.text, items, code, backend.report_writer):
        answer.text += sentence
        yield "text", ConversationText(text=sentence)
    answer.text = answer.text.rstrip()
    yield "done", answer


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        **IN_LANGUAGE[200],
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
    openapi_extra=ACCEPT_LANGUAGE,
)
async def conversation(body: ConversationRequest, request: Request) -> Response:
    """Find by need: describe what you look for, then refine the proposals."""
    backend = backend_of(request)
    backend.models.current()
    check_expression(body.filter, request)
    shopper = shopper_of(request, body)
    if body.stream:
        parts = converse(backend, body, shopper)
        first = await CONVERSATION.run(next, parts, None)  # refused before the answer begins
        headers = headers_of(_language_of(first[1], shopper) if first else shopper.language)

        async def events() -> AsyncIterator[str]:
            found = first
            while found is not None:
                event, part = found
                yield f"event: {event}\ndata: {part.model_dump_json()}\n\n"
                found = await CONVERSATION.go_on(next, parts, None)

        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    def whole() -> ConversationResponse | ConversationText:
        *_, (_, answer) = converse(backend, body, shopper)
        return answer

    answer = await CONVERSATION.run(whole)
    headers = headers_of(_language_of(answer, shopper))
    return Json(answer.model_dump_json(), headers=headers)


def _language_of(answer: ConversationResponse | ConversationText, shopper: Shopper) -> str:
    """Return the language of an answer's texts: of the message, else of the request."""
    found = answer.state.language if isinstance(answer, ConversationResponse) else None
    return found or shopper.language
