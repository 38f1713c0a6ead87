"""Single ids of requests, spelled as the sources' rules have them.

Without Ibis, whose import takes a third of a second: the endpoint spells ids and reads no files.
``ids`` does the same for columns of files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from components.settings import Ids, Ingest, Source

SPACE = " \t\n\r\v\f\u00a0\u2007\u202f\u200b\ufeff"  # the last two are invisible
"""Characters that are left out around each value."""

NULL_WORDS = (
    *("null", "none", "nan", "na", "n/a", "#n/a", "nil", "undefined", r"\n", "<na>", "nat"),
    *("(null)", "(none)", "(not set)", "(blank)", "%null%", "-", "--", "n.a.", "n/v", "k.a."),
    *("#null!", "#ref!", "#value!", "#name?", "#div/0!", "#num!"),
)
"""Words, in small letters, by which programs and people write that there is no value."""

WITH_POINT_ZERO = r"^(-?\d+)\.0+$"


def item_rules(source: Source) -> Ids:
    """Return the rules of a source's item ids."""
    if source.item_id_case == "keep":
        return source.item_ids
    return source.item_ids.model_copy(update={"case": source.item_id_case})


def spelled(text: str, rules: Ids) -> str:
    """Return one id as ``ids`` spells it; a test compares the two for every character.

    >>> spelled("0085123a", Ids(case="upper", leading_zeros="strip"))
    '85123A'
    """
    if rules.integral:
        text = re.sub(WITH_POINT_ZERO, r"\1", text, flags=re.ASCII)
    if rules.leading_zeros == "strip":
        text = re.sub(r"^0+(.)", r"\1", text)
    text = text.rjust(rules.width, "0")
    if rules.case == "upper":
        text = text.upper() if text.isascii() else "".join(map(_upper, text))
    elif rules.case == "lower":
        text = text.lower() if text.isascii() else "".join(one.lower()[0] for one in text)
    return unicodedata.normalize("NFC", text) if rules.unicode == "NFC" else text


def _upper(letter: str) -> str:
    """Return the one capital that DuckDB writes for a letter."""
    if letter == "ß":
        return "ẞ"
    return next((one for one in (letter.upper(), letter.title()) if len(one) == 1), letter)


class ItemSpelling:
    """Spells the item ids of requests as the shop's sources spell those of files.

    >>> upper = Source(path="lines.csv", columns={}, item_id_case="upper")
    >>> ItemSpelling([upper]).spellings(" 85123a")
    ('85123A',)
    """

    @classmethod
    def of(cls, ingest: Ingest) -> ItemSpelling:
        """Return the spelling of the shop's item files, then of its interactions."""
        own = [source for source in ingest.items if not source.only_adds]
        return cls([*own, *ingest.interactions])

    def __init__(self, sources: Iterable[Source]) -> None:
        """``sources``: those whose rules are tried, in this order."""
        ways = ((source.item_prefix, item_rules(source)) for source in sources)
        self._ways = list(dict.fromkeys(ways))

    def spellings(self, item_id: str) -> Sequence[str]:
        """Return the ids that a request may mean by ``item_id``: one by each source's rules.

        Several sources may have several rules; the caller takes the first one that is a product. A
        source with a prefix spells what follows the prefix.
        """
        text = item_id.strip(SPACE)
        found = (
            prefix + spelled(text[len(prefix) :], rules)
            for prefix, rules in self._ways
            if text.startswith(prefix)
        )
        return tuple(dict.fromkeys(one for one in found if one)) or (item_id,)
