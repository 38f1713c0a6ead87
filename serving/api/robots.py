"""Which requests come from programs that say so: crawlers, link previews, uptime checks.

In: the header User-Agent. Out: whether what was shown counts. A robot gets its answer, but leaves
no impression and no exposure: nobody looked at the list. Only a program that declares itself is
found; the quotas of ``serving.events.quotas`` limit the others. HTTP libraries (curl, python-httpx)
are no robots here: the shop's own server calls with them.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["is_robot"]

MAX_LENGTH = 1_000
"""Characters of the header that are looked at."""

_ROBOT = re.compile(
    r"(?<!cu)bot(?![a-z])"  # Googlebot/2.1, GPTBot, "bot;", but not the telephones of Cubot
    r"|robot|crawl|spider|slurp|scrapy|archiver|feedfetcher|inspectiontool|lighthouse"
    r"|mediapartners|adsbot|externalhit|externalagent|bingpreview|embedly|whatsapp/"
    r"|pingdom|uptime|statuscake|site24x7|newrelicpinger",
    re.IGNORECASE,
)


@lru_cache(4096)
def _matches(user_agent: str) -> bool:
    return _ROBOT.search(user_agent) is not None


def is_robot(user_agent: str | None) -> bool:
    """Return whether the header User-Agent is a declared robot's; a missing one is none.

    >>> is_robot("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    True
    >>> is_robot("Mozilla/5.0 (Linux; Android 10; CUBOT X30)"), is_robot("curl/8.5.0")
    (False, False)
    """
    return user_agent is not None and _matches(user_agent[:MAX_LENGTH])
