"""Access to Prefect's and MLflow's servers: one login, own pages only, known host names only.

Prefect's server runs what its API is given as this user, so its API is worth as much as a shell.
In: ``$BOWERBIRD_UI_PASSWORD``, else ``var/flows/login``, generated with mode 600. Out: the login,
and the two servers as ASGI applications that ``flows/servers.py`` starts:

- the Host header names this server, so a foreign name that resolves to it (DNS rebinding) fails;
- a request that a page of another origin sends is refused, local origins included;
- Prefect asks for the login by itself; MLflow is behind HTTP basic authentication.
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
"""Content security policy of all pages: nobody frames them, their scripts talk to their own server
only, so that neither usage statistics nor a login leave the machine."""

# The server processes read login and host names from these: only its user can read the environment
# of a process, everybody its command line.
_LOGIN, _HOSTS = "BOWERBIRD_UI_LOGIN", "BOWERBIRD_UI_HOSTS"


class AccessError(ValueError):
    """The pages would be open to others; the message says what to set."""


def loopback(host: str) -> bool:
    """Return whether ``host`` is an address of this machine that no other machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str) -> None:
    """Refuse to listen where the login or the host name is not the user's own decision.

    Raises:
        AccessError: ``host`` is beyond loopback and there is no password of the user's, or it
            names every address at once.
    """
    if loopback(host):
        return
    if host in ("", "0.0.0.0", "::"):
        raise AccessError(
            f"flows.host is {host!r}, every address at once: name the one host name or address "
            "at which the pages are opened"
        )
    if not os.environ.get(PASSWORD):
        raise AccessError(
            f"flows.host is {host}, which other machines reach: set ${PASSWORD} to a password "
            f"of at least {MIN_PASSWORD} characters, or flows.host to 127.0.0.1"
        )


def known_login(root: Path) -> str | None:
    """Return ``user:password``, or None where none was set or generated yet.

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
        if file.stat().st_mode & 0o077:  # others may have read it
            return None
        login = file.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return login if login.startswith(f"{USER}:") and len(login) > MIN_PASSWORD else None


def load_login(root: Path) -> str:
    """Return ``user:password``; generate ``var/flows/login`` where there is no good one.

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
    """Return ``var/flows``, made or changed so that only its owner can look into it."""
    folder = (root / LOGIN).parent
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def how_to_log_in(root: Path) -> str:
    """Return what to type where, without the password itself: output ends in log files."""
    if os.environ.get(PASSWORD):
        return (
            f"log in to Prefect with {USER}: and ${PASSWORD} behind the colon, "
            f"to MLflow as user {USER} with ${PASSWORD}"
        )
    return (
        f"log in to Prefect with the line in {root / LOGIN}, "
        f"to MLflow as user {USER} with what is behind the colon"
    )


class SameOrigin:
    """ASGI middleware: refuse what a page of another origin sends, and its frames.

    A browser names the origin of a page's request in ``Origin``, and of a read without one in
    ``Sec-Fetch-Site``. Programs send neither. The Host header was checked before.
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
        return other and headers.get("sec-fetch-mode") != "navigate"  # a link is followed


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
        """Return the answer at which a browser asks for user and password."""
        return PlainTextResponse(
            f"Log in as user {USER}; the password is behind the colon in {LOGIN} of the machine "
            f"that runs `bowerbird ui`, or what ${PASSWORD} was set to there.",
            401,
            {"www-authenticate": 'Basic realm="bowerbird"'},
        )


def guarded(app: ASGIApp, hosts: Sequence[str], login: str | None = None) -> ASGIApp:
    """Return the application behind the checks of this module.

    hosts: names in the Host header, without port. login: of HTTP basic authentication; None where
    the application has a login of its own.
    """
    if login is not None:
        app = AuthenticationMiddleware(app, BasicLogin(login), on_error=BasicLogin.refuse)
    return TrustedHostMiddleware(SameOrigin(app), hosts, www_redirect=False)


def environment(host: str, port: int, login: str) -> dict[str, str]:
    """Return what the two servers read: the login, and the host names and origins to answer."""
    shown = f"[{host}]" if ":" in host else host
    names = list(dict.fromkeys([shown, "localhost", "127.0.0.1", "[::1]"]))
    origins = [f"http://{name}:{port}" for name in names] + [f"https://{shown}"]
    return {
        _LOGIN: login,
        _HOSTS: ",".join(names),
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{shown}:{port}",
        "PREFECT_UI_API_URL": "/api",  # of the page's own origin, under whichever of its names
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*names, *(f"{name}:{port}" for name in names)]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def prefect_server() -> ASGIApp:
    """Return Prefect's API and pages, guarded; its API and websockets ask for the login."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    if get_current_settings().server.api.auth_string is None:
        raise AccessError("PREFECT_SERVER_API_AUTH_STRING is not set: start it by `bowerbird ui`")
    return guarded(create_app(final=True), os.environ[_HOSTS].split(","))


def mlflow_server() -> ASGIApp:
    """Return MLflow's API and pages, guarded; ``mlflow server --app-name bowerbird``."""
    from mlflow.server.fastapi_app import app

    return guarded(app, os.environ[_HOSTS].split(","), os.environ[_LOGIN])
