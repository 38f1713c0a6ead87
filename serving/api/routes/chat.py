"""Route of conversational recommendation, whole or streamed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from serving import metrics
from serving.api.auth import Caller
from serving.api.exposure import counted, logged
from serving.api.pools import CONVERSATION
from serving.api.routing import ERRORS, Json, auth_of, shop_of
from serving.api.schemas import (
    ConversationRequest,
    ConversationResponse,
    ConversationText,
    ScoredItem,
)
from serving.conversation.generation import worded
from serving.events.tables import profile_of
from serving.models.store import Shop

router = APIRouter(tags=["shopper"])


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
    profile = profile_of(body.user_id, body.session_id)
    is_counted = counted(request, caller, profile)
    is_logged = logged(request, caller, profile)
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
