"""Access control of Prefect's and MLflow's servers: login, same origin, known host names.

Prefect's server runs code that its API receives as this user, so access to the API equals a shell.
In: ``$BOWERBIRD_UI_PASSWORD``, else ``var/flows/login``, generated with mode 600. Out: the login,
and the two servers as ASGI applications that ``flows/servers.py`` starts:

- the Host header names this server, so a foreign name that resolves to it (DNS rebinding) fails;
- requests from pages of another origin are refused, local origins included;
- Prefect requires the login itself; MLflow is protected by HTTP basic authentication.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
)
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOGIN = Path("var/flows/login")
PASSWORD = "BOWERBIRD_UI_PASSWORD"
USER = "bowerbird"
MIN_PASSWORD = 16

POLICY = "frame-ancestors 'self'; connect-src 'self' data: blob:"
"""Content security policy of all pages: no frames, and connections to the own server only, so that
neither usage statistics nor a login leave the machine."""

# Environment variables from which the server processes read login and host names. Every user can
# read the command line of a process, but only its owner its environment.
_LOGIN, _HOSTS = "BOWERBIRD_UI_LOGIN", "BOWERBIRD_UI_HOSTS"


class AccessError(ValueError):
    """The pages would be accessible to others; the message says what to set."""


def loopback(host: str) -> bool:
    """Return whether ``host`` is an address of this machine that no other machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str) -> None:
    """Refuse to listen beyond loopback without an explicit password and host name.

    Raises:
        AccessError: ``host`` is beyond loopback and $BOWERBIRD_UI_PASSWORD is not set, or it means
            every address.
    """
    if loopback(host):
        return
    if host in ("", "0.0.0.0", "::"):
        raise AccessError(
            f"flows.host is {host!r}, which means every address: set it to the host name or "
            "address at which the pages are opened"
        )
    if not os.environ.get(PASSWORD):
        raise AccessError(
            f"flows.host is {host}, which other machines reach: set ${PASSWORD} to a password "
            f"of at least {MIN_PASSWORD} characters, or flows.host to 127.0.0.1"
        )


def known_login(root: Path) -> str | None:
    """Return ``user:password``, or None if none is set or generated yet.

    Raises:
        AccessError: ``$BOWERBIRD_UI_PASSWORD`` is too short or not plain ASCII.
    """
    password = os.environ.get(PASSWORD)
    if password:
        if len(password) < MIN_PASSWORD or not (password.isascii() and password.isprintable()):
            raise AccessError(
                f"${PASSWORD} must have at least {MIN_PASSWORD} printable ASCII characters"
            )
        return f"{USER}:{password}"
    file = root / LOGIN
    try:
        if file.stat().st_mode & 0o077:  # others can read it
            return None
        login = file.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return login if login.startswith(f"{USER}:") and len(login) > MIN_PASSWORD else None


def load_login(root: Path) -> str:
    """Return ``user:password``; generate ``var/flows/login`` if there is no valid one.

    Raises:
        AccessError: ``$BOWERBIRD_UI_PASSWORD`` is too short or not plain ASCII.
    """
    if found := known_login(root):
        return found
    folder = private_folder(root)
    login = f"{USER}:{secrets.token_urlsafe(32)}"
    handle, partial = tempfile.mkstemp(prefix=".login-", dir=folder)  # mkstemp: mode 600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(login + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, root / LOGIN)
    except BaseException:
        os.unlink(partial)
        raise
    return login


def private_folder(root: Path) -> Path:
    """Return ``var/flows``, created or changed so that only its owner can read it."""
    folder = (root / LOGIN).parent
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def how_to_log_in(root: Path) -> str:
    """Return how to log in, without the password itself, because output may be logged."""
    if os.environ.get(PASSWORD):
        return (
            f"log in to Prefect with {USER}: and ${PASSWORD} after the colon, "
            f"to MLflow as user {USER} with ${PASSWORD}"
        )
    return (
        f"log in to Prefect with the line in {root / LOGIN}, "
        f"to MLflow as user {USER} with the part after the colon"
    )


class SameOrigin:
    """ASGI middleware that refuses requests and frames of pages of another origin.

    A browser sends the origin of a page in ``Origin``, or, for reads without it, its relation in
    ``Sec-Fetch-Site``. Programs send neither. The Host header is checked before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self.foreign(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                refused = PlainTextResponse("refused: sent by a page of another origin", 403)
                await refused(scope, receive, send)
            return

        async def unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("content-security-policy", POLICY)
            await send(message)

        await self.app(scope, receive, unframed)

    @staticmethod
    def foreign(headers: Headers) -> bool:
        """Return whether a page of another origin sent the request."""
        origin = headers.get("origin")
        if origin is not None:
            return origin.partition("://")[2].lower() != headers.get("host", "").lower()
        other = headers.get("sec-fetch-site") in ("same-site", "cross-site")
        return other and headers.get("sec-fetch-mode") != "navigate"  # allows following a link


class BasicLogin(AuthenticationBackend):
    """HTTP basic authentication with one login; ``/health`` answers without it."""

    def __init__(self, login: str) -> None:
        self.login = login.encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if conn.scope["path"] == "/health":
            return None
        scheme, _, credentials = conn.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials, validate=True)
        except ValueError:
            given = b""
        if scheme.lower() != "basic" or not secrets.compare_digest(given, self.login):
            raise AuthenticationError
        return AuthCredentials(), SimpleUser(USER)

    @staticmethod
    def refuse(conn: HTTPConnection, error: Exception) -> PlainTextResponse:
        """Return the response for which a browser shows its login dialog."""
        return PlainTextResponse(
            f"Log in as user {USER}; the password is the part after the colon in {LOGIN} on the "
            f"machine that runs `bowerbird ui`, or the value of ${PASSWORD} there.",
            401,
            {"www-authenticate": 'Basic realm="bowerbird"'},
        )


def guarded(app: ASGIApp, hosts: Sequence[str], login: str | None = None) -> ASGIApp:
    """Return the application with the checks of this module.

    hosts: names in the Host header, without port. login: of HTTP basic authentication; None if
    the application has its own login.
    """
    if login is not None:
        app = AuthenticationMiddleware(app, BasicLogin(login), on_error=BasicLogin.refuse)
    return TrustedHostMiddleware(SameOrigin(app), hosts, www_redirect=False)


def environment(host: str, port: int, login: str) -> dict[str, str]:
    """Return the environment of the two servers: login, allowed host names and origins."""
    shown = f"[{host}]" if ":" in host else host
    names = list(dict.fromkeys([shown, "localhost", "127.0.0.1", "[::1]"]))
    origins = [f"http://{name}:{port}" for name in names] + [f"https://{shown}"]
    return {
        _LOGIN: login,
        _HOSTS: ",".join(names),
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{shown}:{port}",
        "PREFECT_UI_API_URL": "/api",  # relative: the page's own origin, under each of its names
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*names, *(f"{name}:{port}" for name in names)]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def prefect_server() -> ASGIApp:
    """Return Prefect's API and pages with the checks; API and websockets require the login."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    import flows.notifications  # noqa: F401  the server runs the block of its automation

    if get_current_settings().server.api.auth_string is None:
        raise AccessError(
            "PREFECT_SERVER_API_AUTH_STRING is not set: start the server with `bowerbird ui`"
        )
    return guarded(create_app(final=True), os.environ[_HOSTS].split(","))


def mlflow_server() -> ASGIApp:
    """Return MLflow's API and pages with the checks; ``mlflow server --app-name bowerbird``."""
    from mlflow.server.fastapi_app import app

    return guarded(app, os.environ[_HOSTS].split(","), os.environ[_LOGIN])
