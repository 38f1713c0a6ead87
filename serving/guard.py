"""What every request passes first: size, rate, keys; and what every response bears.

A plain ASGI middleware: it stands on the hot path. Logs hold neither paths nor ids, because both
can be personal data; a route's template says enough.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from starlette.exceptions import HTTPException

from serving import metrics

logger = logging.getLogger("bentoml.bowerbird")

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
]
MAX_CLIENTS = 10_000


class Refused(HTTPException):
    """A request that is not answered as asked; carries the HTTP status and the reason.

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


@dataclass(frozen=True)
class Keys:
    """api: needed to write and to read personal data, if set. operator: for operations."""

    api: str | None = None
    operator: str | None = None

    @classmethod
    def from_environment(cls) -> Keys:
        """Return the keys of $BOWERBIRD_API_KEY and $BOWERBIRD_OPERATOR_KEY."""
        return cls(
            os.environ.get("BOWERBIRD_API_KEY") or None,
            os.environ.get("BOWERBIRD_OPERATOR_KEY") or None,
        )

    def check_api(self, request: Request) -> None:
        """Refuse a request without the API (or operator) key, if an API key is set."""
        if self.api is not None and not _matches(request, self.api, self.operator):
            raise Refused(401, "this needs the API key: send it as X-API-Key")

    def check_operator(self, request: Request) -> None:
        """Refuse a request without the operator key.

        Without an operator key only this machine may operate, and with the API key if one is set.
        """
        if self.operator is not None:
            if not _matches(request, self.operator):
                raise Refused(403, "this needs the operator key: send it as X-API-Key")
            return
        self.check_api(request)
        client = request.client.host if request.client else ""
        if client not in ("127.0.0.1", "::1") or "x-forwarded-for" in request.headers:
            raise Refused(403, "set BOWERBIRD_OPERATOR_KEY to operate from another machine")


def _matches(request: Request, *keys: str | None) -> bool:
    given = request.headers.get("x-api-key")
    if given is None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
    return any(
        key is not None and hmac.compare_digest(given.encode(), key.encode()) for key in keys
    )


class RateLimit:
    """A token bucket for each client: ``rate`` requests a second, bursts of twice as many."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Return whether the client may ask now, and count the request."""
        if self.rate <= 0:
            return True
        now = time.monotonic()
        tokens, then = self._buckets.get(client, (2 * self.rate, now))
        tokens = min(2 * self.rate, tokens + (now - then) * self.rate)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return tokens >= 1


class Guard:
    """The middleware: limits the body and the rate, adds headers, times each route."""

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
            client = scope["client"][0] if scope.get("client") else ""
            if not self.limit.allows(client):
                raise Refused(429, "too many requests: slow down", retry_after=1)
            await self.app(scope, limited, guarded)
        except Refused as refused:
            if not begun:
                await _send(guarded, refused)
        except Exception as error:
            # Neither the client nor the log is shown what the request held.
            logger.error("request failed: %s", type(error).__name__, exc_info=error)
            if not begun:
                await _send(guarded, Refused(500, "something went wrong here; it was logged"))
        finally:
            route = scope.get("route")
            metrics.REQUESTS.labels(getattr(route, "path", "other"), str(status)).observe(
                time.perf_counter() - started
            )
            if status in (401, 403, 413, 429, 503):
                metrics.REFUSED.labels(str(status)).inc()


async def _send(send: Any, refused: Refused) -> None:
    body = refused.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode(), value.encode()) for name, value in (refused.headers or {}).items()]
    await send({"type": "http.response.start", "status": refused.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class StartTimeout:
    """The middleware that ends a request whose answer has not begun in time, with a 504.

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
                await _send(send, Refused(504, f"no answer within {self.timeout:g} seconds"))
            else:
                raise
