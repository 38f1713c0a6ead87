"""The endpoint: BentoML around typed routes.

In: HTTP. Out: recommendations, and events in the store. The routes are a FastAPI application
mounted in the BentoML service: measured here, a mounted route answers about twice as fast as a
``@bentoml.api`` method, and FastAPI's typed route 0.05 ms slower than a bare Starlette one.
Recommendations are JSON already when they leave the engine's thread.

Start with ``bowerbird serve``. $BOWERBIRD_ROOT: the folder that holds ``var`` and ``models``
(default: the current one).
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated

import bentoml
import orjson
from _bentoml_impl.server.app import ServiceAppFactory
from bentoml._internal.server.http import traffic
from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from threadpoolctl import threadpool_limits

from components.permissions import keep_private
from components.settings import load_settings
from serving import metrics, startup
from serving.api import connections
from serving.api.auth import Auth, Keys, load_secret
from serving.api.feedback_validation import Intake
from serving.api.middleware import Guard, Refused, StartTimeout
from serving.api.peers import Peers
from serving.api.pools import OPERATION, READING
from serving.api.reports import latest_alerts, latest_drift, validation
from serving.api.routes import admin, shopping, users
from serving.api.routing import ERRORS, WRITE_ERRORS, Json, auth_of, shop_of
from serving.api.schemas import (
    CategoriesResponse,
    ErrorResponse,
    HistoryEvent,
    HistoryResponse,
    Id,
    ModelResponse,
    StatusResponse,
    StoreStatus,
)
from serving.events.store import StoreBusy, StoreError
from serving.models.store import PACKAGED, NotReady, Shop
from serving.recommend.batching import TooManyWaiting
from serving.recommend.responses import Answers

# BentoML records a trace of each request and, unless it is told where to, sends it nowhere: a
# quarter of what an empty answer costs. Who wants traces says OTEL_SDK_DISABLED=false.
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
# BentoML's own starts a timer for each request and lets it run out: what belongs to a request
# stays in memory for half a minute after its answer, and the garbage collector, which counts what
# is made less what is freed, looks through all of it at once, a fifth of a second at 3,000 requests
# a second.
traffic.TimeoutMiddleware = StartTimeout  # type: ignore[misc, assignment]

ROOT = Path(os.environ.get("BOWERBIRD_ROOT", "."))
_params = ROOT / "params.yaml"
settings = load_settings(
    None if os.environ.get("BOWERBIRD_PARAMS") or _params.exists() else PACKAGED / "params.yaml"
)
# uvicorn reads X-Forwarded-For, from these peers only; its own default believes all of loopback.
os.environ["FORWARDED_ALLOW_IPS"] = ",".join(settings.serve.trusted_proxies)
connections.install(settings.serve)
WORKERS = int(os.environ.get("BOWERBIRD_WORKERS", "1"))
keys = Keys.from_environment()
WEB = Path(__file__).parent / "web"
_REPORT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'self' 'unsafe-inline' 'unsafe-eval' "
    "data: blob:; frame-ancestors 'none'"
)

app = FastAPI(
    title="Bowerbird",
    version="1",
    description="Recommendations for an online shop. Liveness: GET /livez. Readiness: GET /readyz.",
    openapi_url=None,  # FastAPI's own writes the document for each request: see openapi
    docs_url=None,
    redoc_url=None,
)
app.include_router(shopping.hot)  # first: the fewer routes are looked at before, the better
app.include_router(shopping.router)
app.include_router(admin.router)
app.include_router(users.router)
app.add_middleware(Guard, max_body=settings.serve.max_body, rate=settings.serve.max_rate)


def refusal(refused: Refused) -> Response:
    return Json(refused.body(), refused.status_code, dict(refused.headers or {}))


@app.exception_handler(RequestValidationError)
async def invalid(_: Request, error: RequestValidationError) -> Response:
    """Name each wrong field; what was sent is not echoed."""
    problems = [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or "body",
            "problem": problem["msg"].removeprefix("Value error, "),
        }
        for problem in error.errors()
    ]
    first = problems[0]
    body = ErrorResponse.model_validate(
        {"error": f"{first['field']}: {first['problem']}", "fields": problems}
    )
    return Json(body.model_dump_json(), 422)


@app.exception_handler(HTTPException)
async def refused_by_route(_: Request, error: HTTPException) -> Response:
    return Json(ErrorResponse(error=str(error.detail)).model_dump_json(), error.status_code)


@app.exception_handler(Refused)
async def refused(_: Request, error: Refused) -> Response:
    return refusal(error)


@app.exception_handler(NotReady)
async def not_ready(_: Request, error: NotReady) -> Response:
    return refusal(Refused(503, "no model is in service yet", retry_after=2))


@app.exception_handler(StoreBusy)
@app.exception_handler(TooManyWaiting)
async def busy(_: Request, error: Exception) -> Response:
    return refusal(Refused(503, "overloaded: try again", retry_after=1))


@app.exception_handler(StoreError)
async def without_store(_: Request, error: StoreError) -> Response:
    return refusal(Refused(503, str(error), retry_after=error.retry_after))


def history_response(shop: Shop, user_id: str, limit: int) -> HistoryResponse:
    loaded = shop.current()
    profile = f"user:{user_id}"
    history = loaded.profiles.base.get(user_id)
    erased = shop.live.erased_at(profile)
    events = [
        HistoryEvent(
            item_id=loaded.engine.items[code],
            title=loaded.engine.titles[code],
            event=None,
            timestamp=seconds,
        )
        for code, seconds in zip(*(part.tolist() for part in history), strict=True)
        if erased is None or seconds * 1_000_000 > erased
    ]
    for _, _, item_id, event, moment in shop.store.of_profile(profile, limit):
        code = loaded.profiles.code(item_id)
        title = loaded.engine.titles[code] if code >= 0 else None
        events.append(
            HistoryEvent(item_id=item_id, title=title, event=event, timestamp=moment / 1_000_000)
        )
    events.sort(key=lambda event: event.timestamp)
    return HistoryResponse(user_id=user_id, events=events[-limit:])


@app.get(
    "/users/{user_id:path}/history",
    response_model=HistoryResponse,
    responses=WRITE_ERRORS,
    tags=["users"],
)
async def user_history(
    user_id: Annotated[Id, PathParameter()],
    request: Request,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> HistoryResponse:
    """What is known of a user."""
    auth_of(request).check_api(request)
    return await READING.run(history_response, shop_of(request), user_id, limit)


@app.get("/model", response_model=ModelResponse, responses=ERRORS, tags=["operation"])
async def model(request: Request) -> ModelResponse:
    """Which model is in service."""
    shop = shop_of(request)
    loaded = shop.current()
    return ModelResponse(
        version=loaded.version,
        items=loaded.engine.n_items,
        users=len(loaded.profiles.base),
        candidates=list(loaded.engine.model.candidates),
        loaded_at=loaded.loaded_at,
        trained_until=loaded.profiles.base.end,
        last_load_error=shop.load_error and "see the log",
        limits={"k": settings.serve.max_k, "history": settings.serve.max_history},
    )


@app.get("/categories", response_model=CategoriesResponse, responses=ERRORS, tags=["shopper"])
async def categories(request: Request) -> CategoriesResponse:
    """The catalogue's categories, the largest first."""
    names = shop_of(request).current().engine.category_names()
    return CategoriesResponse(categories=[{"name": n, "items": count} for n, count in names])


@app.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
async def prometheus() -> Response:
    """The Prometheus series, over all workers."""
    body = await OPERATION.run(metrics.exposition)
    return Response(body, headers={"content-type": metrics.CONTENT_TYPE_LATEST})


def store_status(shop: Shop, note: str | None) -> StoreStatus:
    store, retention = shop.store, shop.store.retention
    return StoreStatus(
        reachable=not store.is_down,
        note=note,
        problem=shop.store_problem(),
        dropped=dict(store.dropped),
        bytes=retention.used if retention is not None else 0,
        impressions_removed=retention.removed if retention is not None else 0,
    )


@app.get("/status", response_model=StatusResponse, responses=ERRORS, tags=["operation"])
async def status(request: Request) -> StatusResponse:
    """What the operator's page shows beside /model and /metrics."""
    auth_of(request).check_api(request)
    shop = shop_of(request)

    def collect() -> StatusResponse:
        hour = 3600 * 1_000_000
        since = (time.time_ns() // 1000 // hour - 23) * hour
        traffic, note = shop.known(
            "status",
            lambda: {
                "events_today": shop.store.counts(since),
                "impressions_today": shop.store.impressions(since),
                "activity": shop.store.activity(since, hour),
            },
        )
        return StatusResponse(
            **(traffic or {"events_today": {}, "impressions_today": 0, "activity": []}),
            events_pending=shop.store.pending,
            impressions_dropped=shop.store.impressions_dropped,
            store=store_status(shop, note),
            drift=latest_drift(ROOT),
            validation=validation(ROOT),
            alerts=latest_alerts(ROOT),
            reports=f"/reports/by/{auth_of(request).report_token()}/",
            versions=admin.versions(shop),
            problems=shop.problems,
        )

    return await OPERATION.run(collect)


@app.get("/reports/by/{token}/{path:path}", include_in_schema=False)
async def signed_report(token: str, path: str, request: Request) -> Response:
    """A report by a link, which can send no header; its own links lead on the same way."""
    if not auth_of(request).is_report_token(token):
        raise Refused(401, "this link has expired: open the report from the operator's page")
    return report_file(path)


@app.get("/reports/{path:path}", include_in_schema=False)
async def report(path: str, request: Request) -> Response:
    """A report that the pipeline wrote."""
    auth_of(request).check_api(request)
    return report_file(path)


def report_file(path: str) -> Response:
    """Return a file below ``reports``; its scripts run in a sandbox, away from this origin."""
    base = (ROOT / "reports").resolve()
    try:
        file = (base / path).resolve()
        is_there = file.is_relative_to(base) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a circle of links
        is_there = False
    if not is_there or file.suffix not in _REPORT_TYPES:
        raise Refused(404, "no such report")
    return FileResponse(
        file,
        media_type=_REPORT_TYPES[file.suffix],
        headers={"content-security-policy": _REPORT_POLICY},
    )


async def readyz(_: object, request: Request) -> Response:
    """Readiness, with what is served without or with an older one of; 503 without a model."""
    shop: Shop | None = getattr(app.state, "shop", None)
    if shop is None or shop.loaded is None:
        return Response(orjson.dumps({"status": "no model"}), 503, media_type="application/json")
    status = {"status": "degraded" if shop.problems else "ready", "problems": shop.problems}
    return Response(orjson.dumps(status), media_type="application/json")


# BentoML's own answers a line feed; its routes come before those of this application.
ServiceAppFactory.readyz = readyz  # type: ignore[method-assign, assignment]


@app.get("/", include_in_schema=False)
async def shopper_page() -> Response:
    return FileResponse(WEB / "index.html")


@app.get("/operator", include_in_schema=False)
async def operator_page() -> Response:
    return FileResponse(WEB / "operator.html")


app.mount("/web", StaticFiles(directory=WEB), name="web")


@cache
def openapi_document() -> bytes:
    """Return the OpenAPI document as JSON."""
    return orjson.dumps(app.openapi())


@app.get("/openapi.json", include_in_schema=False)
async def openapi() -> Response:
    return Json(openapi_document())


@app.get("/empty", include_in_schema=False)
async def empty() -> Response:
    """Nothing, through all that stands before an answer: what the benchmark compares with."""
    return Json(b"{}")


@bentoml.service(
    # Not "bowerbird": in the project's folder BentoML would take such a tag for bowerbird.py.
    name="bowerbird-shop",
    workers=WORKERS,
    traffic={"timeout": 30},
    # Both would write raw paths, which hold user ids; see serving/metrics.py.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class Bowerbird:
    """The worker: holds the shop's state for the routes above."""

    def __init__(self) -> None:
        keep_private(ROOT)
        # Workers are what runs side by side: a few rows' products gain nothing from more threads.
        import torch  # not for who only asks what this service is

        torch.set_num_threads(1)
        self.threads = threadpool_limits(1)
        # Python's search for circles of references takes a third of a second over all the modules:
        # once now, and never again over what is there.
        openapi_document()  # half a second, for which no request could be answered later
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 2, 1_000)
        metrics.forget_dead_workers()
        try:
            auth = Auth(
                keys, load_secret(ROOT), settings.serve.session_hours, settings.serve.max_sessions
            )
            app.state.auth, app.state.intake = auth, Intake(settings, auth)
            self.shop = Shop(settings, ROOT, auth, alone=WORKERS == 1)
            self.answers = Answers(self.shop)
            app.state.shop, app.state.answers = self.shop, self.answers
            self.shop.load()  # before uvicorn accepts: see serving/startup.py
        except Exception as error:
            startup.fail(error)
        startup.ready()
        self.shop.start()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Answer and write what waits."""
        with suppress(RuntimeError):
            self.answers.close()
        self.shop.close()


# Before BentoML's own routes too.
Bowerbird.add_asgi_middleware(  # type: ignore[attr-defined]
    Peers, serve=settings.serve, has_keys=keys.both
)
