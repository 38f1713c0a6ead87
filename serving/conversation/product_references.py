"""References to shown products: "the second one", "number 3", "that one", "these"."""

from __future__ import annotations

import re

from serving.conversation.vocabulary import words

ORDINALS = {
    **{word: n for n, word in enumerate(words("first second third fourth fifth sixth"), 1)},
    **{word: n for n, word in enumerate(words("1st 2nd 3rd 4th 5th 6th"), 1)},
    "last": -1,
}
ONE = (
    rf"(?:(?:the |that |this )?(?P<nth>{'|'.join(ORDINALS)})(?: (?:one|product|item))?"
    r"|(?:number |no\. ?|#)(?P<n>\d{1,2})|(?P<it>(?:that|this|the) one|that|this|it))\b"
)
"""Pattern of one shown product."""

ALL = r"(?:(?:any|one|none) of )?(?:these|those|them)(?: ones)?\b"
"""Pattern of all shown products."""


def place(found: re.Match[str]) -> int | None:
    """Return the place that a match of ``ONE`` refers to: from 1, -1 for the last, None without.

    >>> place(re.search(ONE, "the second one")), place(re.search(ONE, "that one"))
    (2, 1)
    """
    groups = found.groupdict()
    if groups.get("nth"):
        return ORDINALS[groups["nth"]]
    if groups.get("n"):
        return int(groups["n"])
    return 1 if groups.get("it") else None
