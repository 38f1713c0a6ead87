"""Stems and stop words of a language.

English words lose their plural ending only (Harman's S stemmer), other languages' words the endings
that Snowball's stemmers know (Porter 2001), Korean ones a particle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from threading import Lock

from components.words.segmentation import normalise, simplified, without_accents

_SNOWBALL = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
_KOREAN = "에서 에게 으로 까지 부터 은 는 이 가 을 를 의 에 로 와 과 도 만"
_PARTICLES = tuple(_KOREAN.split())  # the long ones first


def stem(word: str) -> str:
    """Return an English word without its plural ending, as Harman's S stemmer (JASIS 1991).

    Only to compare words with: "christmas" becomes "christma" on both sides.

    >>> [stem(word) for word in ("berries", "boxes", "mugs", "glass", "glasses")]
    ['berry', 'box', 'mug', 'glass', 'glass']
    """
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def _korean(word: str) -> str:
    ending = next((one for one in _PARTICLES if word.endswith(one)), "")
    return word.removesuffix(ending) if len(word) - len(ending) > 1 else word


@cache
def stemmer(language: str) -> Callable[[str], str]:
    """Return the stemmer of a language; a word stays as it is where there is none.

    Accents are dropped after it: the endings have some.

    >>> stemmer("de")("häuser"), stemmer("es")("sillones"), stemmer("ko")("찻주전자를")
    ('haus', 'sillon', '찻주전자')
    """
    if language == "en":
        return lambda word: without_accents(stem(word))
    if language == "ko":
        return _korean
    if language not in _SNOWBALL:
        return without_accents
    import snowballstemmer

    snowball, lock = snowballstemmer.stemmer(_SNOWBALL[language]), Lock()

    def stemmed(word: str) -> str:
        with lock:  # the stemmer keeps the word in itself
            ending_gone = snowball.stemWord(word)
        return without_accents(ending_gone)

    return stemmed


_CONTENT = {
    "en": "fire top bottom thick thin side front back full mill bill system empty fill",
    "de": "uhr ei tag teil mann frau kind lang lange kurz rund groß große großen großer großes "
    "klein kleine kleinen kleiner kleines",
    "fr": "haut bas tente pièce mince",
    "es": "ante cuenta dado grande grandes largo alto bajo sal",
    "zh": "大 小",
    "ru": "дверь дом окно ребенок глаз",
}
"""Words of the lists of stop words that name products or say what they are like."""


@cache
def stop_words(language: str) -> frozenset[str]:
    """Return the normalised words of a language that say nothing about a product.

    >>> "und" in stop_words("de"), "的" in stop_words("zh"), stop_words("und")
    (True, True, frozenset())
    """
    if language == "en":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS as listed
    else:
        import stopwordsiso

        listed = stopwordsiso.stopwords(language) if stopwordsiso.has_lang(language) else ()
    content = _normal(_CONTENT.get(language, "").split())
    return _normal(listed) - content


def _normal(listed: Iterable[str]) -> frozenset[str]:
    return frozenset(simplified(normalise(word)) for word in listed)


def is_function_word(word: str) -> bool:
    """Return whether a normalised word is a stop word of any language.

    >>> is_function_word("nicht"), is_function_word("teapot")
    (True, False)
    """
    return word in _all_stop_words()


@cache
def _all_stop_words() -> frozenset[str]:
    import stopwordsiso

    return frozenset().union(*(stop_words(code) for code in stopwordsiso.langs()))
