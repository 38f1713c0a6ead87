"""Files at ``s3://``, ``gs://`` and ``https://`` → local copies.

Objects are listed and copied by fsspec, with the credentials that the environment has (``AWS_*``,
``AWS_ENDPOINT_URL``; Google's default credentials). HTTPS is read by httpx, because every redirect
is looked at: none leads from a public server to a private address. A redirect's name is resolved
once, and the connection is to one of the addresses that were looked at.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import httpx
from fsspec.callbacks import Callback

from components.credentials import mask_credentials
from components.data.sources.hints import did_you_mean
from components.data.sources.patterns import is_pattern
from components.object_store import failure
from components.progress import Progress, progress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

State = dict[str, int | str | None]
"""What tells whether a file or a table changed."""

_S3 = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}
_HTTP = httpx.Timeout(60, connect=10)  # seconds without a byte
_REDIRECTS = 5
_NO_HEAD = (403, 405, 501)  # answers of servers that refuse HEAD
_SHOWN = 10_000_000  # bytes of a file from which the progress of its copy is shown
_EMBEDDING = [ipaddress.ip_network(one) for one in ("::/96", "::ffff:0:0/96", "64:ff9b::/96")]
"""IPv6 addresses that end in the IPv4 address which is reached through them."""
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


class Remote(Protocol):
    """A file elsewhere. state: what tells whether it changed, as the inventory has it."""

    @property
    def url(self) -> str: ...

    @property
    def state(self) -> State: ...

    def fetch(self, out: Path) -> None:
        """Copy it to the file ``out``."""

    @property
    def version(self) -> str | None:
        """What names its content until it changes, so that a copy can be kept; None: nothing."""


def remote_files(url: str) -> tuple[list[Remote], bool]:
    """Return the files of a URL, sorted by name, and whether it names one file only.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: the store cannot be reached or refuses, or is of no known kind.
    """
    scheme, _, path = url.partition("://")
    if scheme in ("http", "https"):
        return [WebFile(url)], True
    if scheme not in ("s3", "gs"):
        shown = mask_credentials(url)
        raise ValueError(f"ingest: {shown}: {scheme}:// is not read; known are s3, gs and https")
    with _explained(url):
        return _objects(fsspec_store(scheme), scheme, path)


def fsspec_store(scheme: str) -> Any:
    """Return the object store, without a cache of what it lists.

    Raises:
        ImportError: its package is not installed.
    """
    options: dict[str, Any] = {"config_kwargs": _S3} if scheme == "s3" else {}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)


@dataclass(frozen=True)
class StoredObject:
    """An object of a store: its URL, and what the store says about it."""

    url: str
    store: Any
    about: dict[str, Any]

    @property
    def state(self) -> State:
        """Size and ETag, or the time of the last change if there is none."""
        tag = self.about.get("ETag") or self.about.get("etag")
        changed = self.about.get("LastModified") or self.about.get("updated")
        own = {"etag": str(tag).strip('"')} if tag else {"modified": str(changed)}
        return {"size": int(self.about["size"]), **own}

    @property
    def version(self) -> str | None:
        """The ETag."""
        tag = self.state.get("etag")
        return str(tag) if tag else None

    def fetch(self, out: Path) -> None:
        size = int(self.about["size"])
        with _explained(self.url), _Bar(self.url, size) as bar:
            self.store.get_file(self.about["name"], str(out), callback=bar)
            now = replace(self, about=self.store.info(self.about["name"]))
        if now.state != self.state:
            shown = mask_credentials(self.url)
            raise ValueError(f"ingest: {shown} changed while it was copied: run it again")
        _check_size(self.url, out, size)


@dataclass(frozen=True)
class WebFile:
    """A file of a web server."""

    url: str
    version = None  # its ETag would be another request for each file

    @property
    def state(self) -> State:
        """Size and ETag or Last-Modified, or without both the time of the call.

        Raises:
            ValueError: the server cannot be reached or refuses.
        """
        try:
            headers = self._headers("HEAD")
        except _RefusesHead:
            headers = self._headers("GET")
        size = headers.get("content-length")
        found: State = {"size": int(size) if size else None}
        for header, name in (("etag", "etag"), ("last-modified", "modified")):
            if header in headers:
                return {**found, name: headers[header]}
        shown = mask_credentials(self.url)
        print(f"{shown} is read at every run: its server sends neither ETag nor Last-Modified")
        return {**found, "read": datetime.now(UTC).isoformat()}

    def fetch(self, out: Path) -> None:
        with _explained(self.url), self._answer("GET") as answer:
            size = answer.headers.get("content-length")
            total = int(size) if size else None
            with out.open("wb") as file, _Bar(self.url, total or 0) as bar:
                for piece in answer.iter_raw():
                    file.write(piece)
                    bar.relative_update(len(piece))
        if total is not None:
            _check_size(self.url, out, total)

    def _headers(self, method: str) -> httpx.Headers:
        with _explained(self.url), self._answer(method) as answer:
            return answer.headers

    @contextmanager
    def _answer(self, method: str) -> Iterator[httpx.Response]:
        """Yield the answer after redirects, each of which is checked."""
        url = self.url
        with httpx.Client(timeout=_HTTP, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(_REDIRECTS + 1):
                requests = _requests(client, method, url, _checked(self.url, url))
                with closing(_sent(client, requests)) as answer:
                    if not answer.has_redirect_location:
                        _check_status(answer, self.url, method)
                        yield answer
                        return
                    url = str(httpx.URL(url).join(answer.headers["location"]))
        shown = mask_credentials(self.url)
        raise ValueError(f"ingest: {shown} redirects more than {_REDIRECTS} times")


class _RefusesHead(ValueError):
    """The server refuses HEAD, and may answer GET."""


def _objects(store: Any, scheme: str, path: str) -> tuple[list[Remote], bool]:
    """Return the objects of a path: one, those below a prefix, or those that a pattern matches."""
    url = f"{scheme}://{path}"
    if is_pattern(path):
        found = store.glob(path, detail=True)
        single = False
    else:
        about = None if path.endswith("/") else _info(store, path)
        single = about is not None and about["type"] == "file"
        found = {path: about} if single else store.find(path.rstrip("/") + "/", detail=True)
    objects: list[Remote] = [
        StoredObject(f"{scheme}://{name}", store, one)
        for name, one in sorted(found.items())
        if one["type"] == "file" and not name.endswith("/")
    ]
    if not objects:
        raise FileNotFoundError(f"ingest: there is nothing at {url}{_similar(store, path)}")
    return objects, single


def _info(store: Any, path: str) -> dict[str, Any] | None:
    try:
        return store.info(path)
    except FileNotFoundError:
        return None


def _similar(store: Any, path: str) -> str:
    """Return the most similar name in the same folder, "" if there is none."""
    place = PurePosixPath(path)
    try:
        siblings = [PurePosixPath(one).name for one in store.ls(str(place.parent), detail=False)]
    except FileNotFoundError:
        return ", not even the bucket or folder"
    return did_you_mean(place.name, siblings)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn errors of a store into ValueError with the URL and what to do.

    Each store has its own family of errors, so all are caught but ours.
    """
    shown = mask_credentials(url)
    try:
        yield
    except ValueError:
        raise
    except FileNotFoundError as error:
        if str(error).startswith("ingest:"):
            raise
        raise FileNotFoundError(f"ingest: there is nothing at {shown} ({error})") from error
    except Exception as error:
        raise ValueError(f"ingest: {shown} cannot be read ({failure(error, url)})") from error


def _check_size(url: str, file: Path, size: int) -> None:
    found, shown = file.stat().st_size, mask_credentials(url)
    if found != size:
        raise ValueError(f"ingest: {shown}: {found:,} of {size:,} bytes came: run it again")
    print(f"{shown}: {size:,} bytes copied")


def _check_status(answer: httpx.Response, url: str, method: str) -> None:
    if method == "HEAD" and answer.status_code in _NO_HEAD:
        raise _RefusesHead
    shown = mask_credentials(url)
    if answer.status_code == 404:
        raise FileNotFoundError(f"ingest: there is no file {shown} (404)")
    if answer.is_error or answer.is_redirect:
        raise ValueError(
            f"ingest: {shown} cannot be read: the server answers {answer.status_code} "
            f"{answer.reason_phrase}"
        )


def _requests(
    client: httpx.Client, method: str, url: str, addresses: list[_Address]
) -> list[httpx.Request]:
    """Return a request to each of the addresses of the URL's host, whatever its name resolves to
    then; without addresses one to its name."""
    whole = httpx.URL(url)
    return [
        client.build_request(
            method,
            whole.copy_with(host=str(address)),
            headers={"Host": whole.netloc.decode("ascii")},
            # the name of the certificate
            extensions={"sni_hostname": whole.raw_host.decode("ascii")},
        )
        for address in addresses
    ] or [client.build_request(method, url)]


def _sent(client: httpx.Client, requests: list[httpx.Request]) -> httpx.Response:
    """Return the answer to the first request whose address can be reached, its body unread."""
    *others, last = requests
    for request in others:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return client.send(request, stream=True)
    return client.send(last, stream=True)


def _checked(first: str, url: str) -> list[_Address]:
    """Return the addresses at which ``url`` may be read, [] for any: the first URL's host may be
    anywhere.

    first: the URL of the settings. url: the same, or the target of a redirect.

    Raises:
        ValueError: the URL is neither https nor http on this machine, or leads from a public server
            to an address of a private network.
    """
    parts, shown = urlsplit(url), mask_credentials(first)
    same_host = parts.hostname == urlsplit(first).hostname
    if parts.scheme == "https" and same_host:
        return []
    addresses = _addresses(url) if parts.scheme in ("http", "https") else []
    local = parts.scheme == "http" and all(one.is_loopback for one in addresses)
    if parts.scheme != "https" and not local:
        what = f"redirects to {parts.scheme}://{parts.hostname}" if url != first else "is http"
        raise ValueError(
            f"ingest: {shown} {what}, which anyone on the way can change: use https://"
        )
    inside = [one for one in addresses if not _is_public(one)]
    if not same_host and inside and all(_is_public(one) for one in _addresses(first)):
        raise ValueError(
            f"ingest: {shown} redirects to {parts.hostname} ({inside[0]}), an address of a private "
            "network: name the file by the URL that has it"
        )
    return addresses


def _addresses(url: str) -> list[_Address]:
    """Return the addresses of the URL's host."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        shown = mask_credentials(url)
        message = f"ingest: {shown}: there is no host {host!r} ({error.strerror})"
        raise ValueError(message) from error
    return [ipaddress.ip_address(address[0]) for *_, address in found]


def _is_public(address: _Address) -> bool:
    """Return whether an address is one of the internet, not of a private network; of an IPv6
    address that stands for one of IPv4 (NAT64, 6to4), whether that is."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _LOCAL_NAT64:
            return False
        if any(address in network for network in _EMBEDDING):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF).is_global
        if address.sixtofour:
            return address.sixtofour.is_global
    return address.is_global


class _Bar(Callback):
    """The progress of a copy, in bytes, as fsspec reports it."""

    def __init__(self, url: str, total: int) -> None:
        super().__init__(size=total)
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        small = total < _SHOWN
        self.bar: Progress[int] = progress(
            desc=f"copying {name}", unit="byte", total=total, disable=small
        )

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        self.bar.update(inc)

    def __exit__(self, *_: object) -> None:
        self.bar.close()
