"""HTTP middleware: limits of size and rate, security headers, timing.

A plain ASGI middleware: it stands on the hot path. Logs hold neither paths nor ids, because both
can be personal data; a route's template says enough.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serving import N_, metrics
from serving.api.rate_limit import RateLimit

logger = logging.getLogger("bentoml.bowerbird")


def content_policy(images: Sequence[str] = ()) -> bytes:
    """Return the Content-Security-Policy of pages that may load images of these sources."""
    sources = " ".join(("'self'", "data:", *images))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src {sources}; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ).encode()


SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", content_policy()),
    (b"cache-control", b"no-store"),
]


class Refused(HTTPException):
    """A refused request, with its HTTP status and the reason.

    An HTTPException, because FastAPI turns anything else that happens while it reads the body
    into a 400 of its own.
    """

    def __init__(
        self,
        status: int,
        error: str,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        headers = {"retry-after": str(retry_after)} if retry_after is not None else None
        super().__init__(status, error, headers)
        self.field = field

    def body(self) -> bytes:
        """Return the JSON of ``schemas.ErrorResponse``."""
        fields = [{"field": self.field, "problem": self.detail}] if self.field else []
        return orjson.dumps({"error": self.detail, "fields": fields})


class Guard:
    """Limits body size and rate, adds security headers, measures the time of each route."""

    def __init__(self, app: Any, max_body: int, rate: float) -> None:
        self.app = app
        self.max_body = max_body
        self.limit = RateLimit(rate)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        received = 0
        begun = False

        async def limited() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:
                raise Refused(413, f"the body is larger than {self.max_body} bytes")
            return message

        async def guarded(message: Any) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                own = message.get("headers", [])
                named = {name for name, _ in own}
                added = [header for header in SECURITY_HEADERS if header[0] not in named]
                message = {**message, "headers": [*own, *added]}
            await send(message)

        try:
            for name, value in scope["headers"]:
                if name == b"content-length" and int(value) > self.max_body:
                    raise Refused(413, f"the body is larger than {self.max_body} bytes")
            if not self.limit.allows(scope["peer"].network):
                raise Refused(429, N_("too many requests: slow down"), retry_after=1)
            await self.app(scope, limited, guarded)
        except Refused as refused:
            if not begun:
                await send_refusal(guarded, refused)
        except ClientDisconnect:
            status = 499  # as nginx counts a client that left before its answer
        except Exception as error:
            # Neither the client nor the log is shown what the request held.
            logger.error("request failed: %s", type(error).__name__, exc_info=error)
            if not begun:
                why = N_("something went wrong; it was logged")
                await send_refusal(guarded, Refused(500, why))
        finally:
            route = scope.get("route")
            metrics.REQUESTS.labels(getattr(route, "path", "other"), str(status)).observe(
                time.perf_counter() - started
            )
            if status in (401, 403, 413, 429, 503):
                metrics.REFUSED.labels(str(status)).inc()


async def send_refusal(
    send: Any, refused: Refused, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send the answer to a refused request. more: further headers."""
    body = refused.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += more
    headers += [(name.encode(), value.encode()) for name, value in (refused.headers or {}).items()]
    await send({"type": "http.response.start", "status": refused.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class StartTimeout:
    """Ends a request whose response has not started in time with status 504.

    In the place of BentoML's ``TimeoutMiddleware``, and called as it is. timeout: seconds.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self.app = app
        self.timeout = timeout

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def begun(message: Any) -> None:
            timer.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self.timeout) as timer:
                await self.app(scope, receive, begun)
        except TimeoutError:
            if timer.expired():
                await send_refusal(send, Refused(504, f"no answer within {self.timeout:g} seconds"))
            else:
                raise
