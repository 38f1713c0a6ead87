"""Categories from titles: the head word, last or first as the language has it."""

from __future__ import annotations

import pandas as pd
import pytest

from components.data.sources.inferred_categories import infer_categories


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["Weiße Kaffeetasse mit Herz", "Blaue Teekanne groß"], ["Herz", "Teekanne"]),
        (["Tasse en porcelaine bleue", "Théière en fonte noire"], ["Tasse", "Théière"]),
        (["Чайник заварочный керамический", "Кружка синяя большая"], ["Чайник", "Кружка"]),
        (["日式手绘陶瓷马克杯 350ml 带盖勺", "复古铜灯 客厅 红色"], ["马克杯", "铜灯"]),
        (["復古陶瓷茶壺 500ml", "實木書桌 學生"], ["茶壺", "書桌"]),
        (["手描きの急須 セット", "ガラス花瓶 ブルー"], ["急須", "花瓶"]),
        (["PINK HEART MUG", "SET OF RED NAPKINS"], ["Mug", "Napkins"]),
    ],
)
def test_the_head_word_of_each_language(titles: list[str], expected: list[str]) -> None:
    found = infer_categories(pd.Series(titles * 10))
    assert found.head(2).tolist() == expected


def test_a_word_of_few_titles_names_nothing() -> None:
    assert infer_categories(pd.Series(["紫砂茶壶", None, ""] * 7)).isna().all()
