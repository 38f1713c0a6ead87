"""Search by words: forms, stop words, numbers, either script of Chinese, several languages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serving.search import Search

TITLES = [
    "WHITE MUG WITH HEART",
    "SET OF 20 RED MUGS",
    "TEAPOT WITH FLOWERS",
    "NIGHT LIGHT OWL",
    "PACK OF 20 NAPKINS",
    "SCARF OF WOOL",
    "UMBRELLA WITH DOTS",
    "KITCHEN CLOCK",
]
CHINESE = [
    "日式手绘陶瓷马克杯 350ml 带盖勺",
    "紫砂茶壶 大容量泡茶",
    "北欧风玻璃花瓶 客厅摆件",
    "实木台灯 卧室床头",
    "羊毛围巾 秋冬保暖",
    "全自动雨伞 晴雨两用",
    "陶瓷茶壺 功夫茶具",
    "编织充电线 Type-C 1.5米",
]


def catalogue(titles: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"title": titles, "brand": None, "description": None})
    return table.assign(categories=[[]] * len(titles), categories_inferred=False)


def found(search: Search, query: str, n: int) -> list[int]:
    codes: list[int] = search.find(query, np.ones(n, dtype=bool))[0].tolist()
    return codes


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("mugs", {0, 1}),
        ("a teapot with a lid", {2}),
        ("20 mugs", {0, 1}),
        ("20", {1, 4}),
        ("with", {0, 2, 6}),
        ("tepot", {2}),
    ],
)
def test_words_in_any_form_meet_and_stop_words_do_not(query: str, codes: set[int]) -> None:
    assert set(found(Search(catalogue(TITLES)), query, len(TITLES))) == codes


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("茶壶", {1, 6}),
        ("茶壺", {1, 6}),
        ("壶", {1, 6}),
        ("陶瓷", {0, 6}),
        ("马克杯", {0}),
        ("ＴＹＰＥ－Ｃ", {7}),
        ("我想要一把雨傘", {5}),
    ],
)
def test_chinese_is_found_by_words_parts_and_either_script(query: str, codes: set[int]) -> None:
    search = Search(catalogue(CHINESE))
    assert set(found(search, query, len(CHINESE))) == codes
    whole = found(Search(catalogue([*TITLES, *CHINESE])), query, 16)
    assert set(whole) == {code + len(TITLES) for code in codes}


class Encoder:
    """A query "Schal" means item 5, whatever the letters say."""

    head = None

    def encode(self, texts: list[str], kind: str) -> np.ndarray:
        return np.eye(len(TITLES))[[5]]


def test_by_meaning_the_spelling_of_another_language_is_chance() -> None:
    """ "Schal" has letters in common with none, "Nachtlicht" with NIGHT LIGHT, but not enough."""
    search = Search(catalogue(TITLES), np.eye(len(TITLES)), Encoder())
    assert found(search, "Schal", len(TITLES))[0] == 5
    assert found(search, "Halstuch warm", len(TITLES))[0] == 5
    assert found(search, "围巾", len(TITLES))[0] == 5


def test_new_products_are_read_by_the_same_words() -> None:
    table = catalogue(CHINESE)
    search = Search(table)
    table = pd.concat([table, catalogue(["紫砂壺 手工", "MUGS"])], ignore_index=True)
    grown = search.extended(table, np.array([8, 9]), None)
    assert 8 in found(grown, "紫砂壶", 10)
    assert found(grown, "mugs", 10) == [9]


@pytest.mark.parametrize(
    ("titles", "query", "code"),
    [
        (
            ["Wanduhr schwarz", "Uhr schwarz aus Holz", "Tasse rote Blumen mit Henkel"],
            "rote Uhr",
            1,
        ),
        (["FIRE PIT STEEL", "wooden spoon", "tea towel"], "fire basket", 0),
        (["thick wool blanket", "thin scarf", "mug"], "thick socks", 0),
        (["vestido largo rojo con flores", "taza para el té", "falda"], "algo largo", 0),
    ],
)
def test_products_are_found_by_words_that_lists_of_stop_words_hold(
    titles: list[str], query: str, code: int
) -> None:
    assert code in found(Search(catalogue(titles * 4)), query, 12)


def test_a_translation_of_products_that_are_filtered_out_takes_no_spelling() -> None:
    search = Search(catalogue(["wooden fire bowl black", "steel pan", "glass vase"]))
    mask = np.array([True, False, False])
    codes, _ = search.find("bowll", mask, lambda query: "steel")
    assert codes.tolist() == [0]
