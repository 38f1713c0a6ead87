"""Names of things, for training sentences and for translation.

The names of emoji in Unicode's CLDR are a small dictionary of everyday things in 14 languages; the
package ``emoji`` carries it. The catalogue adds the kinds of product that the shop sells.
"""

from __future__ import annotations

import re
from functools import cache

import pandas as pd

from components.understanding.utterances import lexicon

_NO_THINGS = re.compile(
    r"\b(?:face|man|woman|men|women|person|people|boy|girl|flag|button|arrow|arrows|hand|hands|sign|"
    r"skin|tone|o.clock|square|circle|diamond|keycap|mark|thirty|gesturing|finger|fingers|moon|"
    r"speaker|input|symbol|japanese|couple|kiss|family|zodiac|selector|hair|medium|letters?|"
    r"prohibited|no|non|up|down|left|right|vertical|clockwise|hearing|squared|blood|type|fist)\b"
    r"|[^a-z' -]"
)
"""English names of emoji that are no things."""
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
HEAD_FIRST = frozenset({"ca", "es", "fr", "it", "pt", "ro", "th", "vi", "id", "ar", "he"})
"""Languages in which the noun comes before its details: "taza roja"."""
RARE = 3
"""Titles that must end (or begin) with a phrase for it to be a kind of product."""


@cache
def dictionary() -> pd.DataFrame:
    """Return the names of things: a row for each, a column for each language (ISO 639-1)."""
    import emoji

    codes = sorted(emoji.LANGUAGES)
    for code in codes:
        emoji.config.load_language(code)
    rows = {}
    for sign, data in emoji.EMOJI_DATA.items():
        if _FLAG.match(sign):
            continue
        names = {code: _plain(data[code]) for code in codes if code in data}
        if data["status"] <= emoji.STATUS["fully_qualified"] and not _NO_THINGS.search(names["en"]):
            rows[names["en"]] = names
    return pd.DataFrame.from_dict(rows, orient="index").fillna("").reset_index(drop=True)


def _plain(name: str) -> str:
    return name.strip(":").replace("_", " ").replace("’", "'").casefold()


def names(language: str) -> list[str]:
    """Return the names of things in a language, empty if it is not in the dictionary."""
    table = dictionary()
    return [name for name in table[language].unique() if name] if language in table else []


def kinds(titles: pd.Series, language: str) -> list[str]:
    """Return the kinds of product that titles name: their last word or two, or the first ones in a
    language whose nouns come first; of at least RARE titles.

    >>> kinds(pd.Series(["red mug", "blue mug", "owl mug", "mug tree"]), "en")
    ['mug']
    """
    details = {form for forms in lexicon()["details"].values() for form in forms.get(language, [])}
    words = titles.str.casefold().str.findall(r"[^\W\d_]{2,}")
    found = []
    for n in (1, 2):
        parts = words.str[:n] if language in HEAD_FIRST else words.str[-n:]
        found.append(parts[words.str.len() > n].str.join(" "))
    counts = pd.concat(found).value_counts()
    return [name for name in counts.index[counts >= RARE] if name not in details]
