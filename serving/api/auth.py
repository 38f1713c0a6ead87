"""Authentication: API keys, signed session tokens, and the users that each may act for.

In: a request's headers and address (``peers.Peer``). Out: its ``Caller``. This module
also signs the ids of impressions, links to reports and the token of the operator's page.

Everything is signed with one secret: $BOWERBIRD_TOKEN_SECRET, or a file below ``var/serving`` that
the first worker makes. The signatures are keyed BLAKE2b; its personalisation keeps a signature of
one purpose from being taken for one of another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Protocol

from fastapi import Request

from serving import N_
from serving.api.middleware import Refused
from serving.api.peers import Peer
from serving.api.rate_limit import RateLimit

SECRET_FILE = Path("var/serving/secret/tokens")
SHORTEST_SECRET = 16
"""Bytes."""

REPORT_SECONDS = 15 * 60
PAGE_SECONDS = 12 * 3600
"""How long links to reports and the token of the operator's page are valid; both are renewed while
the page is open."""

_EXPIRY, _ID, _MAC = 5, 12, 16
"""Bytes of a token: its end in seconds since 1970, the session's id, then the user's id in UTF-8,
and the signature at the end."""

_LONGEST_TOKEN = 1_200


class SecretError(RuntimeError):
    """The secret that signs tokens is too short, or its file cannot be read or made."""


@dataclass(frozen=True)
class Keys:
    """api: of the shop's backend. operator: for operations. merchandiser: for merchandising rules
    alone. As bytes: headers arrive as such."""

    api: bytes | None = field(default=None, repr=False)
    operator: bytes | None = field(default=None, repr=False)
    merchandiser: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> Keys:
        """Return the keys of $BOWERBIRD_API_KEY, $BOWERBIRD_OPERATOR_KEY and
        $BOWERBIRD_MERCHANDISER_KEY."""

        def key(name: str) -> bytes | None:
            return os.fsencode(os.environ.get(name, "")) or None

        names = ("BOWERBIRD_API_KEY", "BOWERBIRD_OPERATOR_KEY", "BOWERBIRD_MERCHANDISER_KEY")
        return cls(*map(key, names))

    @property
    def some(self) -> bool:
        """Whether any key is set."""
        return any(one is not None for one in (self.api, self.operator, self.merchandiser))

    @property
    def both(self) -> bool:
        """Whether those of the shop and the operator are set, as they must be beyond loopback."""
        return self.api is not None and self.operator is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    client: a keyed hash of what sent it, 24 hex characters: of the key, else of the address.
    user_id, session_id: of a session token; a key may act for every user. is_merchandiser: the
    sender has the merchandiser's key, which is none for anything else.
    """

    authentication: Literal["operator", "shop", "session", "none"]
    client: str
    user_id: str | None = None
    session_id: str | None = None
    is_merchandiser: bool = False

    @property
    def is_shop(self) -> bool:
        """Whether the shop itself sent the request, by either key."""
        return self.authentication in ("operator", "shop")

    @property
    def kept_as(self) -> str:
        """Return the kind that events are stored with, one of ``schema.AUTHENTICATIONS``."""
        return "shop" if self.is_shop else self.authentication


@dataclass(frozen=True)
class Session:
    """A signed session. expires_at: seconds since 1970."""

    token: str
    session_id: str
    user_id: str | None
    expires_at: int


class Named(Protocol):
    """A request body that may name a user or a session."""

    user_id: str | None
    session_id: str | None


def load_secret(root: Path) -> bytes:
    """Return the secret, made on the first call: workers that start together agree on one.

    Raises:
        SecretError: the secret is too short, or its file cannot be read or made.
    """
    given = os.environ.get("BOWERBIRD_TOKEN_SECRET")
    if given:
        return _long_enough(os.fsencode(given), "BOWERBIRD_TOKEN_SECRET")
    file = root / SECRET_FILE
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        if not file.exists():
            _make(file)
        file.chmod(0o600)
        return _long_enough(file.read_bytes(), str(file))
    except OSError as error:
        raise SecretError(
            f"cannot keep the secret of session tokens in {file} ({error.strerror}): "
            "set BOWERBIRD_TOKEN_SECRET"
        ) from error


def _long_enough(secret: bytes, place: str) -> bytes:
    if len(secret) < SHORTEST_SECRET:
        raise SecretError(f"{place} must hold at least {SHORTEST_SECRET} random bytes")
    return secret


def _make(file: Path) -> None:
    """Create the file with a new secret atomically, unless another worker was first."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent)  # of mode 600
    try:
        with open(descriptor, "wb") as opened:
            opened.write(secrets.token_hex(32).encode())
            opened.flush()
            os.fsync(opened.fileno())
        os.link(temporary, file)  # fails where the file is there already; a rename would not
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


class Auth:
    """Holds the keys and the secret; resolves callers, signs tokens and ids.

    session_hours: how long a session token is valid. max_sessions: tokens a minute for one
    client address, bursts of twice as many; 0: no limit.
    """

    def __init__(
        self, keys: Keys, secret: bytes, session_hours: float = 168, max_sessions: float = 30
    ) -> None:
        self.keys = keys
        self.session_seconds = int(session_hours * 3600)
        self._secret = blake2b(secret).digest()
        # Another API key ends all tokens that were given out before.
        self._token_secret = blake2b(keys.api or b"", key=self._secret).digest()
        self._sessions = RateLimit(max_sessions / 60, 2 * max_sessions)
        self._by_key: list[tuple[bytes, Caller]] = []
        # The operator's first: if one key is set for both, it may do what either may.
        if keys.operator is not None:
            self._by_key.append((keys.operator, Caller("operator", self._key_id(keys.operator))))
        if keys.api is not None:
            self._by_key.append((keys.api, Caller("shop", self._key_id(keys.api))))
        if (key := keys.merchandiser) is not None:
            caller = Caller("none", self._key_id(key), is_merchandiser=True)
            self._by_key.append((key, caller))

        @lru_cache(50_000)
        def anonymous(network: str) -> Caller:
            return Caller("none", self._sign(b"client address", network.encode(), 12).hex())

        self._anonymous = anonymous

    def _sign(self, purpose: bytes, message: bytes, size: int) -> bytes:
        return blake2b(message, digest_size=size, key=self._secret, person=purpose).digest()

    def sign_cursor(self, content: bytes) -> bytes:
        """Return the signature of a cursor (``cursors``), 16 bytes."""
        return self._sign(b"list cursor", content, 16)

    def _key_id(self, key: bytes) -> str:
        return self._sign(b"client key", key, 12).hex()

    # --- callers ---

    def caller(self, request: Request) -> Caller:
        """Return who sent the request; resolved once."""
        scope = request.scope
        found: Caller | None = scope.get("caller")
        if found is None:
            found = scope["caller"] = self.resolve(scope["peer"])
        return found

    def resolve(self, peer: Peer) -> Caller:
        """Return the caller by its key, else its session token, else its address."""
        headers = peer.headers
        given = headers.get(b"x-api-key")
        if given is None and b"authorization" in headers:
            scheme, _, bearer = headers[b"authorization"].partition(b" ")
            given = bearer if scheme.lower() == b"bearer" else None
        if given is not None:
            for key, caller in self._by_key:
                if hmac.compare_digest(given, key):
                    return caller
        anonymous = self._anonymous(peer.network)
        token = headers.get(b"x-session-token")
        if token is not None:
            session = self._read(token)
            if session is not None:
                return Caller("session", anonymous.client, *session)
        return anonymous

    def identify(self, caller: Caller, body: Named) -> bool:
        """Remove from ``body`` a user or session that the caller may not act for.

        The ids of a session token are filled in where the body names none. Without an API key set
        any user may be named. Returns whether the body names a user or session afterwards.
        """
        named = body.user_id is not None or body.session_id is not None
        if caller.authentication == "session":
            if not named:
                body.user_id, body.session_id = caller.user_id, caller.session_id
                return True
            if self.keys.api is not None and not self._own(caller, body):
                body.user_id = body.session_id = None
                return False
        elif named and self.keys.api is not None and not caller.is_shop:
            body.user_id = body.session_id = None
            return False
        return named

    @staticmethod
    def _own(caller: Caller, body: Named) -> bool:
        """Return whether the body names only the token's own user and session."""
        return body.user_id in (None, caller.user_id) and body.session_id in (
            None,
            caller.session_id,
        )

    # --- what routes need ---

    def check_api(self, request: Request) -> None:
        """Refuse a request without the API (or operator) key, if an API key is set."""
        if self.keys.api is not None and not self.caller(request).is_shop:
            raise Refused(401, N_("this needs the API key: send it as X-API-Key"))

    def check_sender(self, request: Request) -> Caller:
        """Return the sender of events; with an API key set, refuse one without key and token."""
        caller = self.caller(request)
        if self.keys.api is not None and caller.authentication == "none":
            raise Refused(
                401,
                "this needs the API key as X-API-Key, or a token of POST /session as "
                "X-Session-Token",
            )
        return caller

    def check_catalogue(self, request: Request) -> None:
        """Refuse a change of products without the API (or operator) key.

        Without any key set only the page of this machine's operator may.
        """
        if not self.keys.some:
            self._check_local(request)
        elif not self.caller(request).is_shop:
            raise Refused(401, N_("this needs the API key: send it as X-API-Key"))
        _check_json(request)

    def check_operator(self, request: Request) -> None:
        """Refuse a request without the operator key.

        Without any key set only the page of this machine's operator may; with the API key alone
        no request may.
        """
        if not self.keys.some:
            self._check_local(request)
        elif self.keys.operator is None:
            raise Refused(403, N_("operations are off: set BOWERBIRD_OPERATOR_KEY and restart"))
        elif self.caller(request).authentication != "operator":
            raise Refused(403, N_("this needs the operator key: send it as X-API-Key"))
        _check_json(request)

    def check_merchandiser(self, request: Request) -> str:
        """Refuse a request without the merchandiser or operator key; return the role.

        Without any key set only the page of this machine's operator may.
        """
        caller = self.caller(request)
        if not self.keys.some:
            self._check_local(request)
        elif self.keys.operator is None and self.keys.merchandiser is None:
            raise Refused(403, N_("rules are off: set BOWERBIRD_MERCHANDISER_KEY and restart"))
        elif not (caller.is_merchandiser or caller.authentication == "operator"):
            raise Refused(
                403, N_("this needs the merchandiser or operator key: send it as X-API-Key")
            )
        _check_json(request)
        return "merchandiser" if caller.is_merchandiser else "operator"

    def _check_local(self, request: Request) -> None:
        """Refuse a request that the operator's page did not send.

        ``peers.Peers`` refuses requests of other machines.
        """
        peer: Peer = request.scope["peer"]
        if not self._is_fresh(b"page", peer.headers.get(b"x-csrf-token", b"").decode("latin-1")):
            raise Refused(403, "send the token of GET /operator/token as X-CSRF-Token")

    # --- sessions ---

    def issue(
        self, request: Request, user_id: str | None, session_id: str | None = None
    ) -> Session:
        """Return a new session; for a user only to the shop's own key, where one is set.

        session_id: that of the user's session before signing in. The new one has the same id, if
        the id is one of ours.
        """
        caller = self.caller(request)
        if user_id is not None:
            self.check_api(request)
        if not caller.is_shop and not self._sessions.allows(request.scope["peer"].network):
            raise Refused(429, N_("too many sessions of one client"), retry_after=60)
        return self.sign_session(user_id, identity=_identity(session_id))

    def sign_session(
        self, user_id: str | None, now: float | None = None, identity: bytes | None = None
    ) -> Session:
        """Return a new session, valid for ``session_seconds``. identity: None: a new one."""
        expires = int(time.time() if now is None else now) + self.session_seconds
        identity = secrets.token_bytes(_ID) if identity is None else identity
        payload = expires.to_bytes(_EXPIRY, "big") + identity + (user_id or "").encode()
        token = base64.urlsafe_b64encode(payload + self._session_mac(payload)).rstrip(b"=")
        return Session(token.decode(), _text(identity), user_id, expires)

    def _session_mac(self, payload: bytes) -> bytes:
        return blake2b(
            payload, digest_size=_MAC, key=self._token_secret, person=b"session"
        ).digest()

    def _read(self, token: bytes) -> tuple[str | None, str] | None:
        """Return the user and the session of a token, None if it is not ours or has expired."""
        if not _EXPIRY + _ID + _MAC < len(token) <= _LONGEST_TOKEN:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4))
        except binascii.Error:
            return None
        payload = raw[:-_MAC]
        if not hmac.compare_digest(raw[-_MAC:], self._session_mac(payload)):
            return None
        if int.from_bytes(payload[:_EXPIRY], "big") < time.time():
            return None
        return payload[_EXPIRY + _ID :].decode() or None, _text(payload[_EXPIRY : _EXPIRY + _ID])

    # --- impressions ---

    def impression_id(self, unsigned: str, profile: str | None, client: str) -> str:
        """Return the id with a signature over it and its shopper, else its client."""
        return unsigned + self._impression_mac(unsigned, profile or f"client:{client}")

    def is_impression_of(self, impression_id: str, owners: Iterable[str]) -> bool:
        """Return whether the endpoint gave out the id, to one of ``owners``."""
        unsigned, given = impression_id[:32], impression_id[32:].encode()
        return any(
            hmac.compare_digest(given, self._impression_mac(unsigned, owner).encode())
            for owner in owners
        )

    def _impression_mac(self, unsigned: str, owner: str) -> str:
        message = f"{unsigned}\0{owner}".encode()
        return blake2b(message, digest_size=8, key=self._secret, person=b"impression").hexdigest()

    # --- links and pages ---

    def page_token(self) -> str | None:
        """Return the token that the operator's page sends with each change; None: a key is set."""
        return None if self.keys.some else self._fresh(b"page", PAGE_SECONDS)

    def report_token(self) -> str:
        """Return the part of a link that opens reports for REPORT_SECONDS."""
        return self._fresh(b"report", REPORT_SECONDS)

    def is_report_token(self, token: str) -> bool:
        """Return whether ``report_token`` gave it out and it has not expired."""
        return self._is_fresh(b"report", token)

    def _fresh(self, purpose: bytes, seconds: int) -> str:
        expires = f"{int(time.time()) + seconds:x}"
        return f"{expires}.{self._sign(purpose, expires.encode(), 16).hex()}"

    def _is_fresh(self, purpose: bytes, token: str) -> bool:
        expires, _, given = token.partition(".")
        wanted = self._sign(purpose, expires.encode(), 16).hex()
        return (
            hmac.compare_digest(given.encode(), wanted.encode()) and int(expires, 16) >= time.time()
        )


def _text(identity: bytes) -> str:
    return base64.urlsafe_b64encode(identity).decode()


def _identity(session_id: str | None) -> bytes | None:
    """Return the bytes of a session id that ``_text`` made, None of another one."""
    try:
        identity = base64.urlsafe_b64decode((session_id or "").encode())
    except (binascii.Error, UnicodeEncodeError):
        return None
    return identity if len(identity) == _ID and _text(identity) == session_id else None


def _check_json(request: Request) -> None:
    """Refuse a body that a form could send; GET and DELETE have none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in ("GET", "DELETE") and kind != "application/json":
        raise Refused(415, "send JSON, as content-type application/json")
