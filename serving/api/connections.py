"""Limits below the application: on headers, on slow and idle connections, on their number.

In: the connections that uvicorn accepts. Out: requests whose headers are complete and within the
limits; anything else is answered 400, 408, 413, 429, 431 or 503, counted in ``bowerbird_refused``,
and its connection ends. uvicorn itself limits none of this: its parser joins the pieces of a header
again with each read, so that 60 MB of one header occupy a worker for seconds, and a connection
that sends nothing stays open.

``install`` puts ``Connection`` where uvicorn looks its protocol up. BentoML starts uvicorn in the
worker's process after it has imported the service, and passes no setting for the protocol on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from components.settings import Serve
from serving import metrics
from serving.api.middleware import SECURITY_HEADERS, Refused
from serving.api.peers import is_loopback, is_within, network_of

__all__ = ["Connection", "Connections", "Limits", "install"]

logger = logging.getLogger("bentoml.bowerbird")

SWEEP_SECONDS = 0.5
"""How often the worker looks for overdue connections: a timer each would cost more."""
LINGER_SECONDS, LINGER_BYTES = 2.0, 2**20
"""For which a refused connection is still read, so that its client gets the answer, not a reset."""
MAX_PIPELINED = 64
"""Requests of one connection that wait for the answers before theirs."""
SPARE_DESCRIPTORS = 64
"""File descriptors that connections leave for files, the store and new models."""
_FIXED_HEADERS = b"".join(
    b"%s: %s\r\n" % header
    for header in [
        *SECURITY_HEADERS,
        (b"content-type", b"application/json"),
        (b"connection", b"close"),
    ]
)


@dataclass(frozen=True)
class Limits:
    """What one worker takes; times in seconds. See ``serve`` in params.yaml."""

    header_bytes: int
    headers: int
    body_bytes: int
    header_timeout: float
    body_timeout: float
    write_timeout: float
    keep_alive: float
    connections: int
    client_connections: int
    trusted_proxies: tuple[str, ...]

    @classmethod
    def of(cls, serve: Serve) -> Limits:
        """Return the limits that the settings name."""
        return cls(
            header_bytes=serve.max_header_bytes,
            headers=serve.max_headers,
            # The middleware refuses a body larger than max_body. Some more is read and thrown away,
            # so that a client that reads only after sending gets the answer.
            body_bytes=10 * serve.max_body,
            header_timeout=serve.header_timeout,
            body_timeout=serve.body_timeout,
            write_timeout=serve.write_timeout,
            keep_alive=serve.keep_alive,
            connections=serve.max_connections,
            client_connections=serve.max_client_connections,
            trusted_proxies=tuple(serve.trusted_proxies),
        )


class Connections:
    """The open connections of one worker: their number, whose they are, which are overdue.

    At a limit a new connection takes the place of those that wait longest for their clients, so
    idle connections never keep others out; it is refused while all are being answered.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: set[Connection] = set()
        self.of_client: defaultdict[str, set[Connection]] = defaultdict(set)
        self.bound = 0  # of all connections; known at the first, see _start
        self.warned = -math.inf
        self.loop: asyncio.AbstractEventLoop | None = None

    def add(self, connection: Connection) -> str | None:
        """Count a new connection; return which limit it breaks, if any."""
        if self.loop is None:
            self._start(connection.loop)
        own = self.of_client[connection.network]
        self.open.add(connection)
        own.add(connection)
        # Most clients have few, and then their address need not be looked at.
        many = len(own) > min(self.limits.client_connections, self.bound // 2)
        if (
            many
            and len(own) > self._client_bound(connection.client)
            and not self._close_longest_waiting(own)
        ):
            metrics.REFUSED.labels("client_connections").inc()
            return "this address has too many connections open"
        if len(self.open) > self.bound and not self._close_longest_waiting(self.open):
            self._warn("further ones are refused")
            metrics.REFUSED.labels("connections").inc()
            return "too many connections are open"
        return None

    def remove(self, connection: Connection) -> None:
        """Count a connection no more; does nothing if it is not counted."""
        if connection not in self.open:
            return
        self.open.discard(connection)
        own = self.of_client[connection.network]
        own.discard(connection)
        if not own:
            del self.of_client[connection.network]

    def _client_bound(self, client: tuple[str, int] | None) -> float:
        limits = self.limits
        if client is None:  # a Unix socket: no address to count by
            return math.inf
        half = max(1, self.bound // 2)
        least = min(half, limits.client_connections)
        if is_within(client[0], limits.trusted_proxies):
            return math.inf
        # The programs of this machine, a proxy among them, share one address.
        return half if is_loopback(client[0]) else least

    def _close_longest_waiting(self, among: set[Connection]) -> bool:
        """Close those of the connections that wait longest for their clients; return whether any.

        It closes a fiftieth of them, since the search goes over all connections.
        """
        waiting = [(since, c) for c in among if (since := c.waiting_since()) is not None]
        waiting.sort(key=lambda pair: pair[0])
        for _, connection in waiting[: 1 + len(among) // 50]:
            metrics.REFUSED.labels("displaced").inc()
            self.remove(connection)
            connection.abort()
        if waiting and among is self.open:
            self._warn("those that wait longest for their clients are closed")
        return bool(waiting)

    def _warn(self, done: str) -> None:
        """Log once a minute that no more connections are taken."""
        assert self.loop is not None
        if self.loop.time() > self.warned + 60:
            self.warned = self.loop.time()
            logger.warning(
                "%d connections are open, the most that serve.max_connections and the limit of "
                "open files allow: %s",
                self.bound,
                done,
            )

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bound = _allowed_connections(self.limits.connections)
        if self.bound < self.limits.connections:
            logger.warning(
                "the limit of open files allows %d connections, not the %d of "
                "serve.max_connections: raise LimitNOFILE or ulimit -n",
                self.bound,
                self.limits.connections,
            )
        self._sweep()

    def _sweep(self) -> None:
        """End the connections whose time is over."""
        assert self.loop is not None
        now = self.loop.time()
        for connection in list(self.open):
            connection.check(now)
        metrics.CONNECTIONS.set(len(self.open))
        self.loop.call_later(SWEEP_SECONDS, self._sweep)


def _allowed_connections(wanted: int) -> int:
    """Raise the limit of open files; return how many of ``wanted`` connections it allows.

    The soft limit is raised as far as needed, not to the hard one: some programs that are started
    from here go over every descriptor there may be.
    """
    used = len(os.listdir("/dev/fd")) + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = used + wanted if hard == resource.RLIM_INFINITY else min(used + wanted, hard)
    if needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        soft = needed
    return max(1, min(wanted, soft - used))


class _Stop(Exception):
    """Raised in a callback of the parser to end parsing; the refusal is made already."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits. A connection that keeps to them costs no clock and no timer.

    ``unparsed``: bytes received since the last whole part of a message (headers, a piece of the
    body, the message): what the parser may hold. In a read (of 256 KiB at most) that also has the
    end of the message before, what follows it is not counted.
    """

    table: ClassVar[Connections]

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = self.table.limits
        self.ws_protocol_class = None  # no route has websockets
        self.timeout_keep_alive = self.limits.keep_alive  # type: ignore[assignment]
        self.network = ""  # what connections are counted by
        self.active: RequestResponseCycle | None = None  # self.cycle is the newest of a pipeline
        self.unparsed = 0
        self.reading = False  # between a message's first byte and its last
        self.in_body = False
        self.body_bytes = 0
        self.ended = False  # what comes now is not parsed
        self.thrown_away = 0
        self.deadline = math.inf  # of what the client has to send, or of the end
        self.write_deadline = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.network = network_of(self.client[0]) if self.client else ""
        if (error := self.table.add(self)) is not None:
            self.ended = True
            self._answer(Refused(503, error, retry_after=1))
            transport.close()
        self.deadline = self.loop.time() + self.limits.header_timeout

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.remove(self)
        if self.active is not None:
            self.active.disconnected = True
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self.active is not None:
            self.active.disconnected = True
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.active = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self.ended:
            self.thrown_away += len(data)
            if self.thrown_away > LINGER_BYTES:
                self.abort()
            return
        self._unset_keepalive_if_required()
        self.reading = True
        self.unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.ended = True  # what follows is of another protocol; see on_headers_complete
            return
        except httptools.HttpParserError:
            if not self.ended:
                self.refuse(400, "bad_request", "this is not an HTTP/1.1 request")
            return
        if self.unparsed > self.limits.header_bytes:
            self._refuse_header_bytes()
        elif self.reading and self.deadline == math.inf:
            limits = self.limits
            timeout = limits.body_timeout if self.in_body else limits.header_timeout
            self.deadline = self.loop.time() + timeout

    def on_message_begin(self) -> None:
        self.reading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        limits = self.limits
        if len(self.headers) > limits.headers:
            self.refuse(431, "headers", f"more than {limits.headers} headers")
            raise _Stop
        if self.unparsed > limits.header_bytes and self._header_bytes() > limits.header_bytes:
            self._refuse_header_bytes()
            raise _Stop
        if len(self.pipeline) >= MAX_PIPELINED:
            self.refuse(429, "pipelined", f"more than {MAX_PIPELINED} requests at once")
            raise _Stop
        upgrade = self.parser.should_upgrade()
        if upgrade and self._no_plain_request():
            self.refuse(400, "upgrade", "connections are not upgraded: send no Upgrade header")
            raise _Stop
        self.unparsed = self.body_bytes = 0
        self.in_body = True
        self.deadline = math.inf
        super().on_headers_complete()
        # Headers after a chunked body must not become the request's: a proxy in front has checked
        # those before the body only.
        self.headers = []
        if upgrade:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self.unparsed = 0
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.body_bytes:
            self.refuse(413, "body_bytes", "the body is too large")
            raise _Stop
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.unparsed = 0
        self.reading = self.in_body = False
        self.deadline = math.inf
        super().on_message_complete()

    def pause_writing(self) -> None:
        self.write_deadline = self.loop.time() + self.limits.write_timeout
        super().pause_writing()

    def resume_writing(self) -> None:
        self.write_deadline = math.inf
        super().resume_writing()

    def check(self, now: float) -> None:
        """End the connection if its client is overdue. now: of the event loop's clock."""
        if self.transport.is_closing():
            # Closed, and its last output not taken yet.
            if self.write_deadline == math.inf:
                self.write_deadline = now + self.limits.write_timeout
        elif now > self.deadline and not self.ended:
            if self.in_body and self.flow.read_paused:  # the service waits, not the client
                self.deadline = now + self.limits.body_timeout
            elif self.in_body:
                self.refuse(408, "body_timeout", "the body did not come in time")
            elif self.unparsed:
                self.refuse(408, "header_timeout", "the headers did not come in time")
            else:  # nothing was sent: a browser keeps such connections in store
                self.transport.close()
            return
        if now > self.write_deadline:
            metrics.REFUSED.labels("write_timeout").inc()
            self.abort()
        elif self.ended and now > self.deadline:
            self.abort()

    def waiting_since(self) -> float | None:
        """Return since when (loop's clock) the service waits for the client; None: it does not."""
        limits = self.limits
        if self.write_deadline < math.inf:
            return self.write_deadline - limits.write_timeout
        if self.ended or self.transport.is_closing():
            return self.deadline - LINGER_SECONDS if self.deadline < math.inf else None
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - limits.keep_alive
        if self.deadline == math.inf:
            return None
        return self.deadline - (limits.body_timeout if self.in_body else limits.header_timeout)

    def refuse(self, status: int, why: str, error: str) -> None:
        """Read nothing more, answer the earlier requests or ``status``, and close.

        why: the label of the metric. error: for the client.
        """
        metrics.REFUSED.labels(why).inc()
        self.ended = True
        cycle = self.cycle
        if self.in_body:
            # The cycle is the refused request's own, and its route waits for the body.
            answerable = not (self.pipeline or cycle.response_started)
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False  # the requests before are answered, then uvicorn closes
            self.deadline = math.inf
            return
        else:
            answerable = True
        if answerable:
            self._answer(Refused(status, error))
        if not answerable or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self.deadline = self.loop.time() + LINGER_SECONDS

    def _answer(self, refused: Refused) -> None:
        body = refused.body()
        headers = [*self.server_state.default_headers]
        headers += [(n.encode(), v.encode()) for n, v in (refused.headers or {}).items()]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(
            b"%s%s%scontent-length: %d\r\n\r\n%s"
            % (STATUS_LINE[refused.status_code], head, _FIXED_HEADERS, len(body), body)
        )

    def _refuse_header_bytes(self) -> None:
        limit = self.limits.header_bytes
        self.refuse(431, "header_bytes", f"more than {limit} bytes of request line and headers")

    def _header_bytes(self) -> int:
        """Return the length of request line and headers."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _no_plain_request(self) -> bool:
        """Return whether a request to upgrade cannot be answered as a plain request.

        The parser takes what follows its headers for another protocol, so a body would be lost, or
        be read as the next request.
        """
        headers = dict(self.headers)
        return (
            self.parser.get_method() == b"CONNECT"
            or headers.get(b"upgrade", b"").lower() == b"websocket"
            or b"transfer-encoding" in headers
            or headers.get(b"content-length", b"0") != b"0"
        )


def install(serve: Serve) -> None:
    """Make uvicorn use ``Connection`` with the limits of the settings. Call before it starts.

    Raises:
        RuntimeError: this uvicorn looks its protocol up elsewhere.
    """
    if "auto" not in getattr(uvicorn.config, "HTTP_PROTOCOLS", {}):
        raise RuntimeError(
            "this version of uvicorn has no table HTTP_PROTOCOLS for its protocols, so the limits "
            "of serving/api/connections.py cannot be set: install the version of "
            "requirements/lock.txt"
        )
    Connection.table = Connections(Limits.of(serve))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Connection.__name__}"
