"""Routes of users and sessions: attributes, history, export of all stored data, erasure.

In: HTTP with keys. Out: JSON; a receipt of each erasure below ``var/erasures``.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter

from components.data.attributes import types
from components.file_erasure import personal_rows
from serving.api.pools import OPERATION, READING, WRITING
from serving.api.routes.attributes import checked_attributes
from serving.api.routing import OPERATOR_ERRORS, WRITE_ERRORS, auth_of, backend_of
from serving.api.schemas import (
    EraseResponse,
    ExportResponse,
    HistoryEvent,
    HistoryResponse,
    UsersRequest,
    UsersResponse,
)
from serving.backend import Backend
from serving.erasure import erase_person
from serving.events import user_table
from serving.events.event_erasure import export_profile
from serving.events.tables import SECOND
from serving.fields import Id

router = APIRouter(tags=["privacy"])


@router.put("/users", response_model=UsersResponse, responses=OPERATOR_ERRORS)
async def put_users(body: UsersRequest, request: Request) -> UsersResponse:
    """Set attributes of users: the next recommendation of each uses them."""
    auth_of(request).check_catalogue(request)
    backend = backend_of(request)
    declared = types(backend.settings.ingest.users)
    rows = [
        (user.user_id, checked_attributes(user.attributes, declared, f"users.{at}"))
        for at, user in enumerate(body.users)
    ]

    def put() -> None:
        user_table.put_users(backend.store.database, rows)
        backend.live.refresh_attributes()

    await WRITING.run(put)
    return UsersResponse(users=len({user_id for user_id, _ in rows}))


def export(backend: Backend, profile: str) -> ExportResponse:
    """Return what the store, the models in service and the tables here keep of a profile."""
    found: dict[str, list[dict[str, Any]]] = export_profile(backend.store.database, profile)
    found["history"] = []
    found["tables"] = personal_rows(backend.settings, backend.root, profile.removeprefix("user:"))
    if profile.startswith("user:"):
        user_id = profile.removeprefix("user:")
        backend.live.hold(profile)
        for loaded in backend.models.in_service():
            past = loaded.profiles.past(user_id)
            kept = past.pick(past.times * SECOND > (backend.live.erased_at(profile) or -1))
            found["history"] += [
                {
                    "item_id": loaded.engine.items[code],
                    "timestamp": moment * SECOND,
                    "model_version": loaded.version,
                }
                for code, moment in zip(kept.items.tolist(), kept.times.tolist(), strict=True)
            ]
    return ExportResponse.model_validate(found)


def erase(backend: Backend, profile: str) -> EraseResponse:
    """Erase a profile here, and return what became of it in each place."""
    result = erase_person(
        backend.store, backend.settings, backend.root, profile, backend.forget_erased
    )
    return EraseResponse(
        erased_events=result.erased.rows["events"],
        erased_at=datetime.fromtimestamp(result.erased.erased_at / SECOND, UTC),
        places=[asdict(place) for place in result.places],
        receipt=None if result.receipt is None else result.receipt.name,
    )


@router.get("/users/{user_id:path}/export", response_model=ExportResponse, responses=WRITE_ERRORS)
async def export_user(user_id: Annotated[Id, PathParameter()], request: Request) -> ExportResponse:
    """All stored data of a user."""
    auth_of(request).check_api(request)
    return await OPERATION.run(export, backend_of(request), f"user:{user_id}")


@router.get(
    "/sessions/{session_id:path}/export", response_model=ExportResponse, responses=WRITE_ERRORS
)
async def export_session(
    session_id: Annotated[Id, PathParameter()], request: Request
) -> ExportResponse:
    """All stored data of a session."""
    auth_of(request).check_api(request)
    return await OPERATION.run(export, backend_of(request), f"session:{session_id}")


@router.delete("/users/{user_id:path}", response_model=EraseResponse, responses=OPERATOR_ERRORS)
async def erase_user(user_id: Annotated[Id, PathParameter()], request: Request) -> EraseResponse:
    """Erase a user and the sessions that its events name; the answer is the receipt."""
    auth_of(request).check_operator(request)
    return await WRITING.run(erase, backend_of(request), f"user:{user_id}")


@router.delete(
    "/sessions/{session_id:path}", response_model=EraseResponse, responses=OPERATOR_ERRORS
)
async def erase_session(
    session_id: Annotated[Id, PathParameter()], request: Request
) -> EraseResponse:
    """Erase a session; a user's events stay and no longer name it. The answer is the receipt."""
    auth_of(request).check_operator(request)
    return await WRITING.run(erase, backend_of(request), f"session:{session_id}")


def history_response(backend: Backend, user_id: str, limit: int) -> HistoryResponse:
    loaded = backend.models.current()
    profile = f"user:{user_id}"
    backend.live.hold(profile)
    history = loaded.profiles.past(user_id)
    erased = backend.live.erased_at(profile)
    events = [
        HistoryEvent(
            item_id=loaded.engine.items[code],
            title=loaded.engine.titles[code],
            event=None,
            timestamp=seconds,
        )
        for code, seconds in zip(history.items.tolist(), history.times.tolist(), strict=True)
        if erased is None or seconds * 1_000_000 > erased
    ]
    for _, _, item_id, event, moment, _ in backend.store.history.newest_events(profile, limit):
        code = loaded.profiles.code(item_id)
        title = loaded.engine.titles[code] if code >= 0 else None
        events.append(
            HistoryEvent(item_id=item_id, title=title, event=event, timestamp=moment / 1_000_000)
        )
    events.sort(key=lambda event: event.timestamp)
    return HistoryResponse(user_id=user_id, events=events[-limit:])


@router.get(
    "/users/{user_id:path}/history",
    response_model=HistoryResponse,
    responses=WRITE_ERRORS,
)
async def user_history(
    user_id: Annotated[Id, PathParameter()],
    request: Request,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> HistoryResponse:
    """The history of a user."""
    auth_of(request).check_api(request)
    return await READING.run(history_response, backend_of(request), user_id, limit)
