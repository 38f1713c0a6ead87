"""The origin of a request: its address, the proxies before it, the page that sent it.

In: a connection and its headers. Out: a ``Peer`` in the ASGI scope, or a refusal. This stands
before every route, BentoML's own included. It keeps out three kinds: a page of another origin that
a browser has open (Host and Origin are checked against ``serve.allowed_hosts`` and
``serve.allowed_origins``), a proxy's client that would pass for this machine's user, and any other
machine while no keys are set, however the server was started.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from starlette.middleware.cors import CORSMiddleware

from components.settings import Serve
from serving import metrics
from serving.api.middleware import SECURITY_HEADERS, Refused, send_refusal

PROBES = frozenset(("/livez", "/readyz", "/healthz"))
"""Liveness and readiness, which orchestrators request by address: open to all."""

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing."""

SHOPPER = frozenset(
    (
        *("/recommend", "/page", "/feedback", "/feedback/batch", "/session"),
        *("/search", "/facets", "/similar", "/conversation", "/web/bowerbird.js"),
    )
)
"""What pages of ``serve.allowed_origins`` may call."""

LONGEST_HOST = 300
"""Bytes; a name has at most 253."""

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))

FORWARDING = frozenset(
    (
        *(b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip"),
        *(b"x-original-forwarded-for", b"x-original-host", b"x-envoy-external-address"),
        *(b"cf-connecting-ip", b"cf-ray", b"cdn-loop", b"true-client-ip", b"fastly-client-ip"),
        *(b"fly-client-ip", b"x-appengine-user-ip", b"x-azure-clientip"),
    )
)
"""Headers that proxies add; with them all that begin with ``x-forwarded``."""


class Peer(NamedTuple):
    """The other end of a request.

    network: what limits count: the client's IPv4 address, or the /64 of its IPv6 address, of which
    one client has all.
    """

    network: str
    headers: dict[bytes, bytes]


@lru_cache(50_000)
def network_of(address: str) -> str:
    """Return an IPv4 address as it is, of an IPv6 address its /64.

    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8:0:1::7")
    ('192.0.2.7', '192.0.2.7', '2001:db8:0:1::/64')
    """
    parsed = _parsed(address)
    if parsed is None:
        return address[:64]
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


@lru_cache(10_000)
def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own, reached from nowhere else."""
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Return whether an address lies in one of the networks.

    >>> is_within("::ffff:10.1.2.3", ["2001:db8::/32", "10.0.0.0/8"])
    True
    """
    parsed = _parsed(address)
    return parsed is not None and any(
        parsed in ipaddress.ip_network(network) for network in networks
    )


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if parsed.version == 6 else parsed


def is_forwarded(headers: dict[bytes, bytes], http_version: str) -> bool:
    """Return whether a proxy seems to have sent the request.

    nginx sends HTTP/1.0 to its upstream servers unless configured otherwise.
    """
    if http_version == "1.0" or not FORWARDING.isdisjoint(headers):
        return True
    for name in headers:  # noqa: SIM110, any() would cost twice as much on the hot path
        if name[:11] == b"x-forwarded":
            return True
    return False


def name_of(host: bytes) -> str:
    """Return the name of a Host header.

    >>> name_of(b"Shop.Example:3000"), name_of(b"[::1]:3000")
    ('shop.example', '::1')
    """
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


class Peers:
    """The middleware. has_keys: both keys are set, so that the server may leave loopback.

    Without them what it lets through was sent on this machine, and not by a proxy.
    """

    def __init__(self, app: Any, serve: Serve, has_keys: bool) -> None:
        self.app = app
        self.has_keys = has_keys
        self.origins = frozenset(origin.encode() for origin in serve.allowed_origins)
        self.for_pages = CORSMiddleware(
            app,
            allow_origins=serve.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", "X-Session-Token"],  # the shop's key is for no page
        )
        names = {*LOOPBACK_NAMES, serve.host, *serve.allowed_hosts} - {"0.0.0.0", "::"}
        endings = tuple(name[1:] for name in names if name.startswith("*."))

        @lru_cache(1_000)
        def is_ours(host: bytes, server: str) -> bool:
            name = name_of(host)
            # Addressed by IP: no host name leads a browser there.
            own = _parsed(name)
            return (
                name in names
                or (bool(endings) and name.endswith(endings))
                or (own is not None and own == _parsed(server))
            )

        self._is_ours = is_ours

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        try:
            app = self._checked(scope)
        except Refused as refused:
            metrics.REFUSED.labels(str(refused.status_code)).inc()
            await send_refusal(send, refused, SECURITY_HEADERS)
            return
        await app(scope, receive, send)

    def _checked(self, scope: Any) -> Any:
        """Return the application for a request, whose ``Peer`` is put into the scope."""
        headers = dict(scope["headers"])
        server = scope["server"][0] if scope.get("server") else ""
        client = scope["client"][0] if scope.get("client") else ""
        if not self.has_keys:
            if not is_loopback(server) or not is_loopback(client):
                raise Refused(
                    403, "set BOWERBIRD_API_KEY and BOWERBIRD_OPERATOR_KEY to serve beyond loopback"
                )
            if is_forwarded(headers, scope["http_version"]):
                raise Refused(
                    403, "set BOWERBIRD_API_KEY and BOWERBIRD_OPERATOR_KEY to serve through a proxy"
                )
        scope["peer"] = Peer(network_of(client), headers)

        host = headers.get(b"host", b"")
        if len(headers) < len(scope["headers"]):
            names = [name for name, _ in scope["headers"]]
            host = b"" if names.count(b"host") > 1 else host
        if not host:
            raise Refused(400, "send one Host header")
        if len(host) > LONGEST_HOST or not self._is_ours(host, server):
            raise Refused(421, "this host is not served here: name it in serve.allowed_hosts")

        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if (origin is None or origin in (b"http://" + host, b"https://" + host)) and (
            site is None or site in (b"same-origin", b"none")
        ):
            return self.app
        if origin in self.origins and (
            scope["path"] in SHOPPER or scope["path"].startswith("/similar/")
        ):
            return self.for_pages
        if scope["method"] not in SAFE:
            raise Refused(
                403, "a page of another origin may not do this: see serve.allowed_origins"
            )
        return self.app
