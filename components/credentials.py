"""Settings that may hold a credential: their types, and texts without the credentials.

A password in a database's URL, a token in the address of an alert: such a value comes from the
environment alone (see ``settings``), is masked wherever it is printed and left out wherever
settings are written. ``get_secret_value()`` is called at the one place of use.
"""

from __future__ import annotations

import logging
import re
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer, SecretStr

MASK = "***"

_NAMES = (
    r"(?:[\w.%-]*(?:passw|pwd|secret|token|credential|signature|api_?key|access_?key)[\w.%-]*"
    r"|key|sig|auth|pass)"
)


def _patterns(end: str) -> list[re.Pattern[str]]:
    """Return what stands before credentials and the credentials; ``end``: never part of them."""
    return [
        # SQLAlchemy takes all that stands before an @ for the password, also / and ?. Up to the
        # last @, or the rest of a password that has one would pass for the name of the host.
        re.compile(rf"(?P<before>[\w+.-]+://[^:/@{end}]*:)[^{end}]*(?P<after>@)"),
        # Services take a token for the user's name; a database's user alone is no secret.
        re.compile(rf"(?P<before>(?i:https?)://)[^/?#@{end}]+(?P<after>@)"),
        re.compile(rf"(?P<before>[?&;]{_NAMES}=)[^&{end}]+(?P<after>)", re.IGNORECASE),
        # PostgreSQL's other form: host=db password=…
        re.compile(rf"(?P<before>(?:^|\s)(?:ssl)?password ?= ?)[^=\s][^{end}]*(?P<after>)"),
    ]


_IN_TEXT = _patterns(r"\s'\"")
_ALONE = _patterns(r"\0")


def _mask(text: str, patterns: list[re.Pattern[str]]) -> str:
    for pattern in patterns:
        text = pattern.sub(rf"\g<before>{MASK}\g<after>", text)
    return text


def mask_credentials(text: str) -> str:
    """Return a text with the passwords and tokens of the URLs in it replaced by ``***``.

    >>> mask_credentials("cannot open postgresql://shop:4711@db/shop?sslpassword=4712")
    'cannot open postgresql://shop:***@db/shop?sslpassword=***'
    """
    return _mask(text, _IN_TEXT)


def check_text(file: Path) -> Path:
    """Return ``file`` if no line of it holds a credential.

    Raises:
        ValueError: one does; the message names the line and quotes nothing.
    """
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if mask_credentials(line) != line:
            raise ValueError(
                f"{file} line {number} holds a credential, which would be copied with the file: "
                "remove it there (pip reads PIP_INDEX_URL and .netrc)"
            )
    return file


class Credential(SecretStr):
    """A URL or a path, printed with its credentials masked.

    secret: whether there are any
    """

    @property
    def secret(self) -> bool:
        return str(self) != self.get_secret_value()

    def _display(self) -> str:
        return _mask(self.get_secret_value(), _ALONE)


class AlertUrls(Credential):
    """Addresses of alerts in apprise's form, separated by white space: printed as their schemes.

    >>> urls = AlertUrls("slack://T1/T2/T3 mailto://shop:4711@mail.example")
    >>> str(urls), urls.shown
    ('slack://*** mailto://***', ['address 1 (slack)', 'address 2 (mailto)'])
    """

    @property
    def addresses(self) -> list[str]:
        return self.get_secret_value().split()

    @property
    def shown(self) -> list[str]:
        """Name each address without its host, which is a token in many of them."""
        return [f"address {n} ({_scheme(url)})" for n, url in enumerate(self.addresses, 1)]

    def _display(self) -> str:
        return " ".join(f"{_scheme(url)}://{MASK}" for url in self.addresses)


def _scheme(url: str) -> str:
    found = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", url)
    return found[1].lower() if found else MASK


def keep_urls_out_of_logs() -> None:
    """Keep httpx from logging the URL of each request, as it does at the level INFO."""
    logging.getLogger("httpx").addFilter(_above_info)


def _above_info(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO


def _check_at(url: Credential) -> Credential:
    """Refuse a password with a bare @: what follows would be taken, and shown, as the host."""
    if re.match(r"[\w+.-]+://[^:/@]*:[^@?]*@[^?]*@", url.get_secret_value()):
        raise ValueError("has more than one @: in a password it is written %40 (and : %3A, / %2F)")
    return url


def _check_addresses(urls: AlertUrls) -> AlertUrls:
    for number, url in enumerate(urls.addresses, 1):
        if _scheme(url) == MASK:
            raise ValueError(
                f"address {number} has no scheme: write it as apprise does, such as "
                "slack://…, mailtos://…, jsons://… (docs/operations.md)"
            )
    return urls


_WRITTEN = (PlainSerializer(str), Field(exclude_if=attrgetter("secret")))

CredentialUrl = Annotated[Credential, *_WRITTEN, AfterValidator(_check_at)]
"""Of a setting: written as it is without credentials, left out with them."""
AlertUrlsSetting = Annotated[AlertUrls, *_WRITTEN, AfterValidator(_check_addresses)]
"""Of a setting: left out unless it is empty."""
