"""Categories of products whose files name none, from the titles.

In: titles. Out: the name of a category each: the head word of its title.
"""

from __future__ import annotations

import pandas as pd
import regex

from components.words.analyser import Words
from components.words.segmentation import has_unspaced, normalise, simplified, word_places
from components.words.stems import stop_words

RARE_SINGULAR = 20
"""A plural's singular counts as a word if it is at least 1/20 as frequent as the plural."""

HEAD_WORD_ITEMS = 8
"""A word names an inferred category only if at least this many titles have it."""

_WORD = regex.compile(r"[\p{L}\p{M}]{3,}")
_ROMANCE_AND_SLAVIC = "be bg bs ca cs es fr gl hr it pl pt ro ru sk sl sr uk"
_OTHERS = "ar cy eu fa ga he id km lo ms my th ur vi"
_HEAD_FIRST = frozenset([*_ROMANCE_AND_SLAVIC.split(), *_OTHERS.split()])
"""Languages in which the head noun of a product's title comes first."""

_FEATURES = {
    "en": "black white red blue green pink yellow orange purple grey gray brown cream ivory silver "
    "gold turquoise lilac mint natural clear assorted multicolour small medium large mini jumbo",
    "de": "schwarz weiß rot blau grün rosa gelb orange lila grau braun creme silber gold türkis "
    "natur klar bunt klein mittel groß mini set stück",
    "fr": "noir blanc rouge bleu vert rose jaune orange violet gris brun beige argent or noire "
    "blanche bleue verte grise petit petite grand grande lot",
    "es": "negro blanco rojo azul verde rosa amarillo naranja morado gris marrón plata oro pequeño "
    "grande juego",
    "it": "nero bianco rosso blu verde rosa giallo arancione viola grigio marrone argento oro "
    "piccolo grande set",
    "pt": "preto branco vermelho azul verde rosa amarelo laranja roxo cinza castanho prata ouro "
    "pequeno grande conjunto",
    "nl": "zwart wit rood blauw groen roze geel oranje paars grijs bruin zilver goud klein groot "
    "set",
    "zh": "黑色 白色 红色 蓝色 绿色 粉色 粉红 黄色 橙色 紫色 灰色 棕色 米色 银色 金色 透明 彩色 "
    "小号 中号 大号 迷你 套装 礼盒 系列 新款 两件套 三件套 四件套",
    "ja": "ピンク 黄色 オレンジ グレー ブラウン ベージュ シルバー ゴールド "
    "ブラック ホワイト レッド ブルー グリーン セット",
}
"""Colours and sizes, which name no category, by language."""


def infer_categories(titles: pd.Series) -> pd.Series:
    """Return a category name for each title, None where none is found.

    The category is the head word: the last word of the title that many titles share, colours and
    sizes excluded. In English, as in most Germanic languages, in Chinese and Japanese, the head
    noun of such a phrase comes last, in others first. Of a Chinese or Japanese title, the phrase is
    the first one, before a space. The method is rough, so inferred categories are marked as
    inferred.

    >>> titles = pd.Series(["PINK HEART MUG", "MUGS WITH DOTS RED"] * 8)
    >>> infer_categories(titles).head(2).tolist()
    ['Mug', 'Dots']
    >>> infer_categories(pd.Series(["复古陶瓷茶壶 500ml", "紫砂茶壶 带滤网"] * 8)).head(2).tolist()
    ['茶壶', '茶壶']
    """
    titles = titles.fillna("").astype(str)
    languages = tuple(Words.of(titles).languages)
    phrases = titles.map(_phrases).explode()
    table = pd.DataFrame({"word": phrases, "phrase": phrases.groupby(level=0).cumcount()})
    table = table.explode("word").dropna(subset=["word"])
    table["key"] = table["word"].map(simplified)
    if "en" in languages:
        singular = table["key"].str.removesuffix("s")
        often = table["key"].value_counts()
        # A word without its s that hardly occurs is a misspelling: christmas is no plural.
        common = singular.map(often).fillna(0) * RARE_SINGULAR >= table["key"].map(often)
        table["key"] = table["key"].where(~common, singular)
    table = table[~table["key"].isin(_no_categories(languages))]
    counts = table["key"].map(pd.Series(table.index).groupby(table["key"].to_numpy()).nunique())
    table = table[counts >= HEAD_WORD_ITEMS]
    table = table[table["phrase"] == table.groupby(level=0)["phrase"].transform("min")]
    heads = table.groupby(level=0)["key"]
    heads = heads.first() if languages[0] in _HEAD_FIRST else heads.last()
    written = table["word"].groupby(table["key"]).agg(lambda words: words.mode()[0])
    heads = heads.where(~heads.map(has_unspaced).astype(bool), heads.map(written))
    return heads.str.capitalize().reindex(titles.index).astype(object).where(lambda x: x.notna())


def _phrases(title: str) -> list[list[str]]:
    """Return the words of each phrase of a title; with spaces between words, all are one phrase."""
    normal = normalise(title)
    if not has_unspaced(normal):
        return [_WORD.findall(normal)]
    phrases = [[part[a:b] for a, b in word_places(part) if b - a > 1] for part in normal.split()]
    return [phrase for phrase in phrases if phrase]


def _no_categories(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the stop words, colours and sizes of the languages."""
    features = simplified(normalise(" ".join(_FEATURES.get(code, "") for code in languages)))
    return frozenset(features.split()).union(*map(stop_words, languages))
