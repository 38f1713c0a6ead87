"""A text → its words, by script: with spaces between words, and without.

    spaces        letters, digits and marks between them (Unicode)
    Chinese       jieba's dictionary and HMM (rjieba), on simplified characters
    Japanese      ICU's dictionary
    Thai, Lao, Khmer, Burmese: ICU's dictionaries

A text with kana is Japanese; Chinese characters alone are Chinese, unless the caller knows better.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, pairwise

import regex

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_SOUTH_EAST = "\u0e00-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f"
UNSPACED = _HAN + _KANA + _SOUTH_EAST
"""Ranges of a character class: the scripts without spaces between words."""

_RUN = regex.compile(
    rf"(?V1)(?P<cjk>[{_HAN}{_KANA}]+)|(?P<south_east>[{_SOUTH_EAST}]+)"
    rf"|[[\w\p{{M}}]--[_{UNSPACED}]]+"
)
_ASCII = re.compile(r"[^\W_]+", re.ASCII)  # twice as fast as regex
_HAS_KANA = regex.compile(f"[{_KANA}]")
_UNSPACED = regex.compile(f"[{UNSPACED}]+")
_WIDE = regex.compile(rf"[{_HAN}{_KANA}\p{{Hangul}}]")
_MARKS = str.maketrans("", "", "™℠®©\u00ad\u200b\u2060\ufeff\u0640")  # Arabic's tatweel, too
_FIRST_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
_ACCENTS = regex.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0670]")
SENTENCE_END = regex.compile(
    r"(?<=[.!?])\s+(?=\S)|(?<=[。！？][」』”’）]*)\s*(?=[^\s」』”’）。！？])"
)
"""Between two sentences; after a Chinese or Japanese one no space follows."""


def has_unspaced(text: str) -> bool:
    """Return whether a part of the text is in a script without spaces between words."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def normalise(text: str) -> str:
    """Return the text in Unicode NFKC, case folded, without trademark signs and soft hyphens.

    >>> normalise("ＵＳＢ充电器™ 2㎡ STRASSE")
    'usb充电器 2m2 strasse'
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text.translate(_MARKS)).casefold()
    return unicodedata.normalize("NFKC", folded)


def without_accents(word: str) -> str:
    """Return a word in small letters without the accents of Latin, Greek, Cyrillic, Arabic, Hebrew.

    As Lucene's folding; the vowel signs of Indian scripts stay.

    >>> without_accents("café"), without_accents("smørrebrød"), without_accents("чай")
    ('cafe', 'smorrebrod', 'чаи')
    """
    if word.isascii():
        return word
    plain = _ACCENTS.sub("", unicodedata.normalize("NFD", word.translate(_FIRST_LETTERS)))
    return unicodedata.normalize("NFC", plain)


@cache
def _simplified() -> dict[int, str]:
    """Return traditional → simplified for single characters (OpenCC).

    Characters, not phrases: the same character always becomes the same one, and the length of a
    text stays.
    """
    import opencc

    characters = [chr(code) for code in (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))]
    converter = opencc.OpenCC("t2s")
    found = converter.convert("\n".join(characters)).split("\n")
    found = converter.convert("\n".join(found)).split("\n")  # of a few, the first is no fixed point
    return {ord(a): b for a, b in zip(characters, found, strict=True) if a != b and len(b) == 1}


def simplified(text: str) -> str:
    """Return the text with simplified instead of traditional Chinese characters.

    >>> simplified("紫砂茶壺")
    '紫砂茶壶'
    """
    return text if text.isascii() else text.translate(_simplified())


def words(text: str, japanese: bool | None = None, parts: bool = False) -> list[str]:
    """Return the words of a normalised text in order, Chinese characters simplified.

    japanese: whether Chinese characters are Japanese; None: in a text with kana they are. parts:
    after a Chinese word its parts, too, down to characters, so that a query finds compounds by
    them.

    >>> words("日式手绘陶瓷马克杯 350ml")
    ['日式', '手绘', '陶瓷', '马克杯', '350ml']
    """
    if text.isascii():
        return _ASCII.findall(text)
    if japanese is None:
        japanese = _HAS_KANA.search(text) is not None
    return list(_words(text, japanese, parts))


def _words(text: str, japanese: bool, parts: bool) -> Iterator[str]:
    for run in _RUN.finditer(text):
        if run.lastgroup is None:
            yield run[0]
        elif run.lastgroup == "south_east" or japanese:
            yield from (simplified(word) for word in pieces(run[0], japanese))
        elif parts:
            yield from _with_parts(simplified(run[0]))
        else:
            yield from pieces(run[0], japanese)


def _with_parts(run: str) -> Iterator[str]:
    import rjieba

    for word in rjieba.cut_for_search(run):
        yield word
    for word in rjieba.cut(run):
        if len(word) > 1:
            yield from word


def pieces(run: str, japanese: bool) -> list[str]:
    """Return the words of a text in a script without spaces; joined, they are as long as the text.

    >>> pieces("陶器の急須", japanese=True)
    ['陶器', 'の', '急須']
    """
    if japanese or not regex.match(f"[{_HAN}{_KANA}]", run):
        from icu4py.breakers import WordBreaker

        return [str(word) for word in WordBreaker(run, "ja" if japanese else "th")]
    import rjieba

    found: list[str] = rjieba.cut(simplified(run))
    return found


def word_places(text: str) -> list[tuple[int, int]]:
    """Return start and end of each word that is in a script without spaces, as places in the text.

    For whole-word masking; words with spaces between them, a tokenizer marks itself.

    >>> word_places("日式陶瓷 cup")
    [(0, 2), (2, 4)]
    """
    japanese = _HAS_KANA.search(text) is not None
    found: list[tuple[int, int]] = []
    for run in _RUN.finditer(text):
        if run.lastgroup is not None:
            ends = accumulate(map(len, pieces(run[0], japanese)), initial=run.start())
            found += pairwise(ends)
    return found


def letters(text: str) -> list[str]:
    """Return what similar spelling is compared by: trigrams of letters within words.

    In scripts without spaces between words, single characters and pairs of them.

    >>> letters("Tea"), letters("茶壺")
    ([' te', 'tea', 'ea '], ['茶', '壶', '茶壶'])
    """
    normal = normalise(text)
    if normal.isascii():
        return _grams(normal.split(), 3)
    normal = simplified(without_accents(normal))
    found = _grams(_UNSPACED.sub(" ", normal).split(), 3)
    for run in _UNSPACED.findall(normal):
        found += [*run, *map("".join, pairwise(run))]
    return found


def shingles(text: str) -> list[str]:
    """Return what near duplicates of a normalised text are found by: 5-grams of letters in words.

    In scripts without spaces between words, pairs of characters, which say about as much.

    >>> shingles("teapot"), shingles("紫砂茶壶")
    ([' teap', 'teapo', 'eapot', 'apot '], ['紫砂', '砂茶', '茶壶'])
    """
    if not has_unspaced(text):
        return _grams(text.split(), 5)
    found = _grams(_UNSPACED.sub(" ", text).split(), 5)
    for run in _UNSPACED.findall(text):
        found += map("".join, pairwise(run)) if len(run) > 1 else [run]
    return found


def width(text: str) -> int:
    """Return the length of a text in which a character that is a syllable or a word counts twice.

    >>> width("cup"), width("茶壶")
    (3, 4)
    """
    text = text.strip()
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def _grams(words: list[str], n: int) -> list[str]:
    return [f" {word} "[at : at + n] for word in words for at in range(max(1, len(word) + 3 - n))]
