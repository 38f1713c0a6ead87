"""Routes of operation: status, metrics, products, experiments, promotion and rollback.

In: HTTP with keys. Out: changes in the event store's database, or in the registry by its own
command in another process: a worker that answers shoppers never loads MLflow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse

from components.alerts import open_alerts
from components.data.attributes import types
from components.rollout import read_rollout
from serving import experiments, metrics
from serving.api import jobs
from serving.api.middleware import Refused
from serving.api.pools import OPERATION, WRITING
from serving.api.reports import latest_drift, validation
from serving.api.routes.attributes import checked_attributes
from serving.api.routes.commands import REGISTRY_ERRORS, look, run_command
from serving.api.routes.operations import holds
from serving.api.routing import ERRORS, OPERATOR_ERRORS, WRITE_ERRORS, auth_of, backend_of
from serving.api.schemas import (
    CanaryStatus,
    ErrorResponse,
    ExperimentsResponse,
    ItemsRequest,
    ItemsResponse,
    Job,
    ModelResponse,
    PageToken,
    PromoteRequest,
    StatusResponse,
    StoreStatus,
)
from serving.backend import Backend
from serving.events import catalogue_table
from serving.events.traffic import (
    activity,
    count_events,
    count_impressions,
    surfaces,
    unknown_items,
)
from serving.fields import Id
from serving.models.versions import registered_versions
from serving.shadow import shadow_status

logger = logging.getLogger("bentoml.bowerbird")

LIVE_SECONDS = 15
"""The longest that PUT /items waits until its products are in effect."""

_refreshing = asyncio.Lock()

_NO_COUNTS: dict[str, Any] = {
    **{"events_today": {}, "impressions_today": 0, "activity": [], "surfaces": []},
    **{"unknown_item_events": 0, "unknown_items": []},
}
"""Of a store that could not be read yet."""
_NO_ITEM: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "no such product"}
}
_JOB_ERRORS = {
    404: {"model": ErrorResponse, "description": "no such job"},
    **WRITE_ERRORS,
}

router = APIRouter(tags=["operation"])


@router.put("/items", response_model=ItemsResponse, responses=OPERATOR_ERRORS)
async def put_items(body: ItemsRequest, request: Request) -> ItemsResponse:
    """Add products or change them: recommendable, searchable and filtered at once.

    An id is spelled as ingest spells those of the shop's files (``item_ids`` of the sources).
    """
    auth_of(request).check_catalogue(request)
    backend = backend_of(request)
    declared = types(backend.settings.ingest.items)

    def put() -> int:
        loaded = backend.models.champion
        rows = [{**item.change(), "item_id": backend.item_id(item.item_id)} for item in body.items]
        stored: set[str] | None = None
        for at, (row, item) in enumerate(zip(rows, body.items, strict=True)):
            if item.attributes:
                row["attributes"] = checked_attributes(item.attributes, declared, f"items.{at}")
            if item.title is not None or loaded is None or loaded.profiles.code(item.item_id) >= 0:
                continue
            if stored is None:
                known = catalogue_table.read_items(backend.store.database)
                stored = {row["item_id"] for row in known if row["title"] and not row["deleted"]}
            if row["item_id"] not in stored:
                raise Refused(422, "a new product needs a title", f"items.{at}.title")
        return catalogue_table.put_items(backend.store.database, rows)

    revision = await WRITING.run(put)
    return await _taken_in(backend, revision, len(body.items))


@router.delete(
    "/items/{item_id:path}", response_model=ItemsResponse, responses={**_NO_ITEM, **OPERATOR_ERRORS}
)
async def delete_item(item_id: Annotated[Id, PathParameter()], request: Request) -> ItemsResponse:
    """Take a product out of the shop: it is gone from lists, search and conversation at once.

    It stays gone, also under models trained later, until PUT /items names it again. What customers
    did with it stays in their histories.
    """
    auth_of(request).check_catalogue(request)
    backend = backend_of(request)

    def delete() -> int:
        loaded, spelled = backend.models.champion, backend.item_id(item_id)
        is_known = loaded is None or loaded.profiles.code(spelled) >= 0
        if not is_known and not catalogue_table.is_stored(backend.store.database, spelled):
            raise Refused(404, "there is no product of this id")
        return catalogue_table.delete_items(backend.store.database, [spelled])

    return await _taken_in(backend, await WRITING.run(delete), 1)


async def _taken_in(backend: Backend, revision: int, items: int) -> ItemsResponse:
    """Return the response once this worker's champion has the catalogue's revision, or after
    LIVE_SECONDS."""

    def live() -> bool:
        champion = backend.models.champion
        return champion is not None and champion.revision >= revision

    # The products are durable. Concurrent requests share the refresh of the model.
    with suppress(TimeoutError):
        async with asyncio.timeout(LIVE_SECONDS), _refreshing:
            if not live():
                await WRITING.go_on(look, backend)
    return ItemsResponse(items=items, revision=revision, live=live())


@router.get("/experiments", response_model=ExperimentsResponse, responses=OPERATOR_ERRORS)
async def get_experiments(request: Request) -> ExperimentsResponse:
    """Each experiment's arms, their rates, and whether one is better yet; the uplift."""
    auth_of(request).check_api(request)
    backend = backend_of(request)

    def collect() -> ExperimentsResponse:
        running = backend.settings.serve.experiment
        found, note = backend.last_known.read(
            "experiments", lambda: experiments.results(backend.store.database, running)
        )
        uplift = backend.uplift.latest()
        return ExperimentsResponse(experiments=found or [], uplift=uplift, note=note)

    return await OPERATION.run(collect)


@router.get("/operator/token", response_model=PageToken, responses=OPERATOR_ERRORS)
async def page_token(request: Request) -> PageToken:
    """What the operator's page sends as X-CSRF-Token with each change, where no key is set."""
    return PageToken(token=auth_of(request).page_token())


@router.post("/operator/promote", response_model=Job, status_code=202, responses=REGISTRY_ERRORS)
async def promote(body: PromoteRequest, request: Request, response: Response) -> Job:
    """Make a registered version the champion, as a job; needs the operator key."""
    now = ["--now"] if body.now else []
    return await run_command(request, response, "promote", body.version, *now)


@router.post("/operator/rollback", response_model=Job, status_code=202, responses=REGISTRY_ERRORS)
async def rollback(request: Request, response: Response) -> Job:
    """Go back to the champion before, as a job; needs the operator key."""
    return await run_command(request, response, "rollback")


@router.get("/operator/jobs/{job_id}", response_model=Job, responses=_JOB_ERRORS)
async def job(
    job_id: Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")], request: Request
) -> Job:
    """How far a job is."""
    auth_of(request).check_api(request)
    found = await OPERATION.run(jobs.find, backend_of(request).root, job_id)
    if found is None:
        raise Refused(404, f"there is no job of this id, or it is older than {jobs.KEPT} others")
    return Job.model_validate(found)


@router.get("/model", response_model=ModelResponse, responses=ERRORS)
async def model(request: Request) -> ModelResponse:
    """Which model is in service."""
    backend = backend_of(request)
    loaded = backend.models.current()
    return ModelResponse(
        version=loaded.version,
        items=loaded.engine.n_items,
        users=len(loaded.profiles.base),
        candidates=list(loaded.engine.model.candidates),
        loaded_at=loaded.loaded_at,
        trained_until=loaded.profiles.base.end,
        last_load_error=backend.models.load_error and "see the log",
        limits={"k": backend.settings.serve.max_k, "history": backend.settings.serve.max_history},
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def prometheus() -> Response:
    """The Prometheus series, over all workers."""
    body = await OPERATION.run(metrics.exposition)
    return Response(body, headers={"content-type": metrics.CONTENT_TYPE_LATEST})


def store_status(backend: Backend, note: str | None) -> StoreStatus:
    store, retention = backend.store, backend.store.retention
    return StoreStatus(
        reachable=not store.database.is_down,
        note=note,
        problem=backend.store.problem(),
        dropped=dict(store.dropped),
        bytes=retention.used if retention is not None else 0,
        impressions_removed=retention.removed if retention is not None else 0,
    )


def canary_status(backend: Backend) -> CanaryStatus | None:
    """Return the state of the rollout, None where a promoted version serves all at once."""
    try:
        rollout = read_rollout(backend.root) if backend.canary.enabled else None
    except ValueError:  # damaged: the next step of the canary's control replaces it
        rollout = None
    if rollout is None:
        return None
    running = rollout.canary
    return CanaryStatus(
        stable=rollout.stable.version,
        version=running and running.release.version,
        started=running and datetime.fromtimestamp(running.started, UTC),
        share=backend.settings.serve.canary.share,
        evidence=rollout.evidence,
        decisions=list(rollout.decisions[::-1]),
    )


@router.get("/status", response_model=StatusResponse, responses=WRITE_ERRORS)
async def status(request: Request) -> StatusResponse:
    """Traffic, storage, drift, alerts and versions, for the operator's page."""
    auth_of(request).check_api(request)
    backend = backend_of(request)

    def collect() -> StatusResponse:
        hour = 3600 * 1_000_000
        since = (time.time_ns() // 1000 // hour - 23) * hour
        database, loaded = backend.store.database, backend.models.champion

        def unknown() -> dict[str, Any]:
            if loaded is None:
                return {"unknown_item_events": 0, "unknown_items": []}
            events, ids = unknown_items(
                database, since, lambda item_id: loaded.profiles.code(item_id) >= 0
            )
            return {"unknown_item_events": events, "unknown_items": ids}

        counts, note = backend.last_known.read(
            "status",
            lambda: {
                "events_today": count_events(database, since),
                "impressions_today": count_impressions(database, since),
                "activity": activity(database, since, hour),
                "surfaces": surfaces(database, since),
                **unknown(),
            },
        )
        challenger = backend.shadow.challenger
        return StatusResponse(
            **(counts or _NO_COUNTS),
            events_pending=backend.store.pending,
            impressions_dropped=backend.store.impressions_dropped,
            store=store_status(backend, note),
            drift=latest_drift(backend.root),
            validation=validation(backend.root),
            alerts=[asdict(one) for one in open_alerts(backend.root)[::-1]],
            holds=holds(backend.root),
            reports=f"/reports/by/{auth_of(request).report_token()}/",
            versions=registered_versions(backend.root),
            problems=backend.problems(),
            canary=canary_status(backend),
            shadow=challenger and shadow_status(challenger.version),
        )

    return await OPERATION.run(collect)
