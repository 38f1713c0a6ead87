r"""Addresses of products' images and pages: those that a web page can show without harm.

``javascript:`` and ``data:`` are refused, and so are every scheme but http and https, an address of
another host without a scheme (``//host``), one with a user name in it, and white space, which
browsers leave out: ``/\t/host`` is ``//host`` to them.
"""

from __future__ import annotations

import re

LONGEST_ADDRESS = 2000
"""Characters."""
WEB_ADDRESSES = (
    "an address that begins with https://, http:// or one /, without spaces and quotation marks"
)
"""What is meant, in messages."""

_UNSAFE = r"\s\x00-\x1f\x7f\"<>\\^`{|}"
WEB_ADDRESS = (
    rf"^(?:(?i:https?)://[^{_UNSAFE}/?#@:\[\]]+(?::[0-9]{{1,5}})?(?:[/?#][^{_UNSAFE}]*)?"
    rf"|/(?:[^{_UNSAFE}/][^{_UNSAFE}]*)?)$"
)
"""Regular expression, for Python and for RE2, which DuckDB uses."""

_MATCHES = re.compile(WEB_ADDRESS, re.ASCII).fullmatch


def is_web_address(text: str) -> bool:
    """Return whether a text is an address that a page can show.

    >>> [is_web_address(one) for one in ("https://shop.example/a.jpg", "/a.jpg", "//evil.example/")]
    [True, True, False]
    """
    return len(text) <= LONGEST_ADDRESS and _MATCHES(text) is not None
