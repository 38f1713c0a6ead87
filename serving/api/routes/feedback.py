"""Routes of feedback: signed sessions, and events that are durable when they are acknowledged."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving import metrics
from serving.api.pools import WRITING
from serving.api.routing import (
    FEEDBACK_ERRORS,
    WRITE_ERRORS,
    Json,
    JsonRoute,
    auth_of,
    backend_of,
)
from serving.api.schemas import (
    FeedbackBatch,
    FeedbackEvent,
    FeedbackResponse,
    SessionRequest,
    SessionResponse,
)
from serving.events.sign_in import move_session

hot = APIRouter(tags=["shopper"], route_class=JsonRoute)
router = APIRouter(tags=["shopper"])


@router.post("/session", response_model=SessionResponse, responses=WRITE_ERRORS)
async def session(request: Request, body: SessionRequest | None = None) -> SessionResponse:
    """A signed session of one shopper, sent with recommendations and feedback of a page.

    At sign-in it names the user and the session before: what the session did becomes the user's.
    """
    given = body or SessionRequest()
    backend = backend_of(request)
    made = auth_of(request).issue(request, given.user_id, given.session_id)
    moved = 0
    if given.session_id is not None and given.user_id is not None:
        before, user = given.session_id, given.user_id
        moved = await WRITING.run(move_session, backend.store, before, user)
        backend.live.forget(f"session:{before}")
    return SessionResponse(**vars(made), moved_events=moved)


async def keep(request: Request, events: list[FeedbackEvent], place: str = "") -> Response:
    """Return when the events are durable."""
    backend, validator = backend_of(request), request.app.state.feedback
    for event in events:
        event.item_id = backend.item_id(event.item_id)
        event.event = "dislike" if event.event == "hide" else event.event
    valid = validator.validate(auth_of(request).check_sender(request), events, place)
    written = backend.store.submit(valid.rows)
    flags = await asyncio.wrap_future(written)
    loaded = backend.models.champion
    unknown: dict[str, None] = {}
    for event, new in zip(events, flags, strict=True):
        metrics.EVENTS.labels(event.event, "accepted" if new else "duplicate").inc()
        if loaded is not None and loaded.profiles.code(event.item_id) < 0:
            unknown[event.item_id] = None
            if new:
                metrics.UNKNOWN_ITEMS.inc()
    is_dislike = backend.live.is_dislike
    pushed = [event.item_id for event in events if is_dislike(event.event, event.rating)]
    kept = FeedbackResponse(
        accepted=sum(flags),
        duplicates=len(flags) - sum(flags),
        event_ids=[event.event_id for event in events],
        unknown_items=list(unknown),
        pushed_away=list(dict.fromkeys(pushed)),
        unknown_impressions=valid.unknown_impressions,
    )
    return Json(kept.model_dump_json())


@hot.post("/feedback", response_model=FeedbackResponse, responses=FEEDBACK_ERRORS)
async def feedback(body: FeedbackEvent, request: Request) -> Response:
    """Store one event. It is durable when the response arrives, and counts in the next one."""
    return await keep(request, [body])


@hot.post("/feedback/batch", response_model=FeedbackResponse, responses=FEEDBACK_ERRORS)
async def feedback_batch(body: FeedbackBatch, request: Request) -> Response:
    """Store several events: all of them, or none."""
    return await keep(request, body.events, "events.{}.")
