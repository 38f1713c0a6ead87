"""Files at ``s3://``, ``gs://`` and ``https://`` → local copies.

Objects are listed and copied by fsspec, with the credentials that the environment has (``AWS_*``,
``AWS_ENDPOINT_URL``; Google's default credentials). HTTPS is read by httpx, because every redirect
is looked at: none leads from a public server to a private address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import httpx
from fsspec.callbacks import Callback

from components.credentials import mask_credentials
from components.data.sources.hints import did_you_mean
from components.progress import Progress, progress

State = dict[str, int | str | None]
"""What tells whether a file or a table changed."""

PATTERN = "*[?"
_S3 = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}
_HTTP = httpx.Timeout(60, connect=10)  # seconds without a byte
_REDIRECTS = 5
_NO_HEAD = (403, 405, 501)  # answers of servers that refuse HEAD
_SHOWN = 10_000_000  # bytes of a file from which the progress of its copy is shown


class Remote(Protocol):
    """A file elsewhere. state: what tells whether it changed, as the inventory has it."""

    @property
    def url(self) -> str: ...

    @property
    def state(self) -> State: ...

    def fetch(self, out: Path) -> None:
        """Copy it to the file ``out``."""


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
        raise ValueError(f"ingest: {url}: {scheme}:// is not read; known are s3, gs and https")
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

    def fetch(self, out: Path) -> None:
        size = int(self.about["size"])
        with _explained(self.url), _Bar(self.url, size) as bar:
            self.store.get_file(self.about["name"], str(out), callback=bar)
        _check_size(self.url, out, size)


@dataclass(frozen=True)
class WebFile:
    """A file of a web server."""

    url: str

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
        print(f"{self.url} is read at every run: its server sends neither ETag nor Last-Modified")
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
        _check_scheme(self.url, self.url)
        url = self.url
        with httpx.Client(timeout=_HTTP, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(_REDIRECTS + 1):
                with client.stream(method, url) as answer:
                    if answer.next_request is None:
                        _check_status(answer, self.url, method)
                        yield answer
                        return
                    target = str(answer.next_request.url)
                _check_redirect(self.url, target)
                url = target
        raise ValueError(f"ingest: {self.url} redirects more than {_REDIRECTS} times")


class _RefusesHead(ValueError):
    """The server refuses HEAD, and may answer GET."""


def _objects(store: Any, scheme: str, path: str) -> tuple[list[Remote], bool]:
    """Return the objects of a path: one, those below a prefix, or those that a pattern matches."""
    url = f"{scheme}://{path}"
    if any(sign in path for sign in PATTERN):
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
    try:
        yield
    except ValueError:
        raise
    except FileNotFoundError as error:
        if str(error).startswith("ingest:"):
            raise
        raise FileNotFoundError(f"ingest: there is nothing at {url} ({error})") from error
    except ImportError as error:
        raise ValueError(f"ingest: {url}: pip install 'bowerbird[gs]' to read gs://") from error
    except Exception as error:
        lines = mask_credentials(str(error)).strip().splitlines() or [type(error).__name__]
        advice = ""
        denied = isinstance(error, PermissionError) or "credentials" in lines[0].lower()
        if denied and url.startswith("s3:"):
            advice = ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        raise ValueError(f"ingest: {url} cannot be read ({lines[0]}){advice}") from error


def _check_size(url: str, file: Path, size: int) -> None:
    found = file.stat().st_size
    if found != size:
        raise ValueError(f"ingest: {url}: {found:,} of {size:,} bytes came: run it again")
    print(f"{url}: {size:,} bytes copied")


def _check_status(answer: httpx.Response, url: str, method: str) -> None:
    if method == "HEAD" and answer.status_code in _NO_HEAD:
        raise _RefusesHead
    if answer.status_code == 404:
        raise FileNotFoundError(f"ingest: there is no file {url} (404)")
    if answer.is_error or answer.is_redirect:
        raise ValueError(
            f"ingest: {url} cannot be read: the server answers {answer.status_code} "
            f"{answer.reason_phrase}"
        )


def _check_scheme(url: str, target: str) -> None:
    """Raise unless ``target`` is https, or http on this machine."""
    parts = urlsplit(target)
    if parts.scheme == "https":
        return
    if parts.scheme != "http" or not all(one.is_loopback for one in _addresses(target)):
        what = f"redirects to {parts.scheme}://{parts.hostname}" if target != url else "is http"
        raise ValueError(f"ingest: {url} {what}, which anyone on the way can change: use https://")


def _check_redirect(url: str, target: str) -> None:
    """Raise if a redirect is not encrypted, or leads from a public server to a private one."""
    _check_scheme(url, target)
    if urlsplit(target).hostname == urlsplit(url).hostname:
        return
    inside = [one for one in _addresses(target) if not one.is_global]
    if inside and all(one.is_global for one in _addresses(url)):
        raise ValueError(
            f"ingest: {url} redirects to {urlsplit(target).hostname} ({inside[0]}), an address of "
            "a private network: name the file by the URL that has it"
        )


def _addresses(url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses of the URL's host."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"ingest: {url}: there is no host {host!r} ({error.strerror})") from error
    return [ipaddress.ip_address(address[0]) for *_, address in found]


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
