"""The endpoint as a BentoML service.

In: HTTP. Out: recommendations, and events in the store. The routes are a FastAPI application
mounted in the BentoML service (``serving.api.app``): measured here, a mounted route answers about
twice as fast as a ``@bentoml.api`` method, and FastAPI's typed route 0.05 ms slower than a bare
Starlette one.

BentoML's supervisor imports this module only to start the workers. Therefore the modules that only
a worker needs (the model's libraries, the application) are imported in ``Bowerbird.__init__``.

Start with ``bowerbird serve``. $BOWERBIRD_ROOT: the folder that holds ``var`` and ``models``
(default: the current one).
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import orjson
from _bentoml_impl.server.app import ServiceAppFactory
from bentoml._internal.server.http import traffic
from fastapi import Request
from fastapi.responses import Response
from threadpoolctl import threadpool_limits

from components.permissions import keep_private
from components.settings import load_settings
from serving import PACKAGED, startup
from serving.api import connections
from serving.api.auth import Keys
from serving.api.middleware import StartTimeout
from serving.api.peers import Peers

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from serving.backend import Backend

# BentoML records a trace of each request and, unless an exporter is set, drops it: a quarter of the
# time of an empty response. OTEL_SDK_DISABLED=false turns traces on.
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
# BentoML's own middleware starts a timer for each request and lets it run out: a request's objects
# stay in memory for half a minute after its response, and one garbage collection goes through all
# of them, which takes a fifth of a second at 3,000 requests a second.
traffic.TimeoutMiddleware = StartTimeout

ROOT = Path(os.environ.get("BOWERBIRD_ROOT", "."))
_params = next(
    (file for file in (ROOT / "params.yaml", PACKAGED / "params.yaml") if file.exists()), None
)
settings = load_settings(None if os.environ.get("BOWERBIRD_PARAMS") else _params)
# uvicorn reads X-Forwarded-For, from these peers only; its own default believes all of loopback.
os.environ["FORWARDED_ALLOW_IPS"] = ",".join(settings.serve.trusted_proxies)
connections.install(settings.serve)
WORKERS = int(os.environ.get("BOWERBIRD_WORKERS", "1"))
keys = Keys.from_environment()
startup.exit_with_status()


async def readyz(_: object, request: Request) -> Response:
    """Readiness and the degraded parts; 503 without a model."""
    backend: Backend | None = None if application is None else application.state.backend
    if backend is None or backend.models.champion is None:
        return Response(orjson.dumps({"status": "no model"}), 503, media_type="application/json")
    problems = backend.problems()
    status = {"status": "degraded" if problems else "ready", "problems": problems}
    return Response(orjson.dumps(status), media_type="application/json")


# BentoML's own answers a line feed; its routes come before those of this application.
ServiceAppFactory.readyz = readyz


application: FastAPI | None = None
"""The worker's application, None until ``Bowerbird`` is made."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request to the worker's application."""
    assert application is not None  # BentoML makes the service before it takes a connection
    await application(scope, receive, send)


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
    """One worker: holds the backend of the routes."""

    def __init__(self) -> None:
        keep_private(ROOT)
        # Workers run in parallel: products of a few rows gain nothing from more threads.
        os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch's, which is imported if a model needs it
        from serving import metrics
        from serving.api.worker import create_worker

        global application
        self.threads = threadpool_limits(1)
        metrics.forget_dead_workers()
        try:
            application = create_worker(settings, ROOT, keys, single_process=WORKERS == 1)
            self.backend: Backend = application.state.backend
            # A garbage collection over all the modules takes a third of a second: one now, and
            # none of later ones includes the objects that exist by then.
            gc.collect()
            gc.freeze()
            gc.set_threshold(700, 2, 1_000)
            self.backend.load()  # before uvicorn accepts: see serving/startup.py
        except Exception as error:
            startup.fail(error)
        startup.ready()
        self.backend.start()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Answer the queued requests and write the queued events."""
        self.backend.close()


# Before BentoML's own routes too.
Bowerbird.add_asgi_middleware(  # type: ignore[attr-defined]
    Peers, serve=settings.serve, has_keys=keys.both
)
