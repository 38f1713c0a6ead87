"""In which languages texts are.

In: texts. Out: their ISO 639-1 codes, the share of each language.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import regex

from components.arrays import BoolArray, TextArray
from components.progress import progress

UNDETERMINED = "und"  # ISO 639-2
_SURE = 0.5  # of a language: above it, 97 % of short English titles are right
_TOGETHER = 8  # short titles in a group: of such, langid takes no English one for another language
TEXTS_READ = 2000
"""Texts of a catalogue, at most, whose languages are determined."""
_OWN_SCRIPT = {
    "ja": r"[\p{Hiragana}\p{Katakana}]",
    "zh": r"\p{Han}",
    "ko": r"\p{Hangul}",
    "th": r"\p{Thai}",
    "lo": r"\p{Lao}",
    "km": r"\p{Khmer}",
    "my": r"\p{Myanmar}",
    "el": r"\p{Greek}",
    "he": r"\p{Hebrew}",
    "hy": r"\p{Armenian}",
    "ka": r"\p{Georgian}",
    "ta": r"\p{Tamil}",
    "te": r"\p{Telugu}",
}
"""Languages that a script says, in the order in which they are looked for."""

_VARIETIES = {"wuu": "zh", "yue": "zh", "nb": "no", "nn": "no", "ary": "ar", "arz": "ar"}
"""Varieties that are treated as the language: Wu, Cantonese, both written forms of Norwegian, …"""


def languages_of(texts: pd.Series) -> TextArray:
    """Return the ISO 639-1 code of each text's language, UNDETERMINED if it is not clear.

    langid's naive Bayes over byte n-grams (Lui and Baldwin, ACL 2012). Where it is not sure, the
    script says the language, if only one language of note has it: kana is Japanese, Chinese
    characters without kana are Chinese. Other short titles are mostly undetermined, texts of
    several sentences rarely.
    """
    identifier = _identifier()
    marks = progress(texts.str.lower(), desc="languages", unit="text")
    told = (identifier.classify(text)[0] for text in marks)
    found = np.array([_VARIETIES.get(code, code) for code in told], dtype="U3")
    unclear = np.flatnonzero(found == UNDETERMINED)
    found[unclear] = [_of_script(text) for text in texts.iloc[unclear]]
    return found


def _of_script(text: str) -> str:
    if text.isascii():
        return UNDETERMINED
    fitting = (code for code, script in _OWN_SCRIPT.items() if regex.search(script, text))
    return next(fitting, UNDETERMINED)


def _han_alone(texts: pd.Series) -> BoolArray:
    """Return bool (texts,): texts with Chinese characters and without kana."""
    kana = texts.map(lambda text: regex.search(_OWN_SCRIPT["ja"], text) is not None)
    han = texts.map(lambda text: regex.search(_OWN_SCRIPT["zh"], text) is not None)
    return (han & ~kana).to_numpy(dtype=bool)


def catalogue_languages(texts: pd.Series) -> TextArray:
    """Return the languages of the products' texts, of TEXTS_READ at even distances where there are
    more.

    Titles that are undetermined alone get the language of the group they are in. Titles in Chinese
    characters alone are Japanese where more titles have kana.
    """
    places = np.linspace(0, len(texts) - 1, min(len(texts), TEXTS_READ))
    texts = texts.iloc[places.astype(np.int64)].astype(object)
    languages = languages_of(texts)
    unclear = np.flatnonzero(languages == UNDETERMINED)
    groups = np.arange(len(unclear)) // _TOGETHER
    together = texts.iloc[unclear].groupby(groups).agg(". ".join)
    languages[unclear] = languages_of(together)[groups]
    characters = np.isin(languages, ["zh", "ja"]) & _han_alone(texts)
    if characters.sum() < ((languages == "ja") & ~characters).sum():
        languages[characters] = "ja"
    return languages


def probabilities(text: str, languages: tuple[str, ...]) -> dict[str, float]:
    """Return the probability of each of ``languages``, which sum to 1, for a text in small letters.

    Of a language that the classifier does not know it is 0.
    """
    known = _restricted(languages)
    odds = dict(known.rank(text)) if known is not None else {}
    return {code: float(odds.get(code, 0.0)) for code in languages}


@cache
def _restricted(languages: tuple[str, ...]) -> Any:
    """Return a classifier among the languages that langid knows, None where it knows none."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = [code for code in languages if code in identifier.labels]
    if not known:
        return None
    identifier.set_languages(known)
    return identifier


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=_SURE)


def shares(languages: TextArray) -> dict[str, float]:
    """Return the share of each language among the texts whose language is known, largest first.

    >>> shares(np.array(["de", "und", "de", "en"]))
    {'de': 0.6666666666666666, 'en': 0.3333333333333333}
    """
    known = pd.Series(languages[languages != UNDETERMINED])
    return known.value_counts(normalize=True).to_dict()


def in_words(languages: TextArray) -> str:
    """Return the largest shares, as a log line has them.

    >>> in_words(np.array(["de", "de", "de", "en", "und"]))
    '75 % de, 25 % en'
    """
    found = [(code, f"{share:.0%}") for code, share in shares(languages).items()]
    return ", ".join(f"{share[:-1]} % {code}" for code, share in found[:3] if share != "0%")
