"""The endpoint as a BentoML service.

In: HTTP. Out: recommendations, and events in the store. The routes are a FastAPI application
mounted in the BentoML service (``serving.api.app``): measured here, a mounted route answers about
twice as fast as a ``@bentoml.api`` method, and FastAPI's typed route 0.05 ms slower than a bare
Starlette one. Recommendations are JSON already when they leave the engine's thread.

BentoML's supervisor imports this module only to start the workers. Therefore what a worker needs
(the model's libraries, the application) is imported in ``Bowerbird.__init__``.

Start with ``bowerbird serve``. $BOWERBIRD_ROOT: the folder that holds ``var`` and ``models``
(default: the current one).
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
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
from serving.api.auth import Auth, Keys, load_secret
from serving.api.middleware import StartTimeout
from serving.api.peers import Peers

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

# BentoML records a trace of each request and, unless it is told where to, sends it nowhere: a
# quarter of what an empty answer costs. Who wants traces says OTEL_SDK_DISABLED=false.
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
# BentoML's own starts a timer for each request and lets it run out: what belongs to a request
# stays in memory for half a minute after its answer, and the garbage collector, which counts what
# is made less what is freed, looks through all of it at once, a fifth of a second at 3,000 requests
# a second.
traffic.TimeoutMiddleware = StartTimeout  # type: ignore[misc, assignment]

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


async def readyz(_: object, request: Request) -> Response:
    """Readiness, with what is served without or with an older one of; 503 without a model."""
    shop = None if application is None else application.state.shop
    if shop is None or shop.loaded is None:
        return Response(orjson.dumps({"status": "no model"}), 503, media_type="application/json")
    status = {"status": "degraded" if shop.problems else "ready", "problems": shop.problems}
    return Response(orjson.dumps(status), media_type="application/json")


# BentoML's own answers a line feed; its routes come before those of this application.
ServiceAppFactory.readyz = readyz  # type: ignore[method-assign, assignment]


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
    """The worker: holds the shop's state for the routes above."""

    def __init__(self) -> None:
        keep_private(ROOT)
        # Workers run in parallel: products of a few rows gain nothing from more threads.
        os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch's, which is imported if a model needs it
        from serving import metrics
        from serving.api.app import create_app
        from serving.api.feedback_validation import Intake
        from serving.models.store import Shop
        from serving.recommend.responses import Answers

        global application
        self.threads = threadpool_limits(1)
        made = create_app(settings.serve)
        # Python's search for reference cycles takes a third of a second over all the modules:
        # once now, and never again over what is there.
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 2, 1_000)
        metrics.forget_dead_workers()
        try:
            auth = Auth(
                keys, load_secret(ROOT), settings.serve.session_hours, settings.serve.max_sessions
            )
            self.shop = Shop(settings, ROOT, auth, alone=WORKERS == 1)
            self.answers = Answers(self.shop)
            made.state.auth, made.state.intake = auth, Intake(settings, auth)
            made.state.shop, made.state.answers = self.shop, self.answers
            application = made
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
