"""Rules: what fires is offered and explained, what must not be is never shown, wishes relax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.rules import (
    Items,
    Request,
    RuleBased,
    Rules,
    RulesError,
    load_rules,
    satisfy,
)
from tests.conftest import REPOSITORY

TABLE = pd.DataFrame(
    {
        "item_id": ["pot", "cup", "wine", "doll", "toy", "sold out"],
        "title": ["Blue Teapot", "Teacups Roses", "Wine Glass", "Rag Doll", "Tin Toy", "Toy Car"],
        "description": [None, "set of two", None, "cotton", "plastic wheels", None],
        "brand": None,
        "categories": [["Kitchen"], ["Kitchen"], ["Kitchen"], ["Toys"], ["Toys"], ["Toys"]],
        "price": [9.0, 4.0, 6.0, 12.0, 5.0, 1.0],
        "available": [True, True, True, True, True, False],
    }
)
RULES = Rules.model_validate(
    {
        "goes_with": [
            {"name": "tea", "having": {"words": ["teapot"]}, "offer": {"words": ["teacup"]}},
            {
                "name": "not near children",
                "having": {"category": "toys"},
                "never": {"words": ["wine"]},
            },
        ],
        "needs": [
            {
                "name": "child",
                "wants": [{"words": ["doll"]}, {"words": ["toy"]}],
                "not": [{"words": ["wine"]}],
            }
        ],
    }
)


@pytest.fixture(scope="module")
def model() -> RuleBased:
    nothing = Interactions.from_arrays(np.array([0]), np.array([0]), np.array([0]), 1, len(TABLE))
    return RuleBased(RULES).fit(nothing, Catalogue(TABLE))


def found(request: Request) -> tuple[list[str], tuple[str, ...]]:
    result = satisfy(request, RULES, Items(TABLE))
    return TABLE["item_id"][result.allowed].tolist(), result.relaxed


def test_what_fires_is_offered_and_explained(model: RuleBased) -> None:
    histories = Histories.from_lists([[0], [2], []])
    scores = model.score(histories)
    assert scores[0].tolist() == [0, 1, 0, 0, 0, 0]
    assert not scores[1:].any()
    assert model.explain(histories, np.array([1, 1, 1])) == [["tea"], [], []]


def test_what_must_not_be_never_comes(model: RuleBased) -> None:
    ids, _ = model.recommend(Histories.from_lists([[3]]), k=6)
    assert 2 not in ids[0]


class ByFirstFeature:
    """A ranker that takes any number of features."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]


def test_the_hybrid_obeys_a_rule_against_all_its_models(trained, tmp_path: Path) -> None:
    from components.recommenders.two_stage.hybrid import Hybrid

    whole = Hybrid.load(trained[0] / "models/hybrid")
    table = whole.catalogue.table
    banned = table["title"].str.lower().str.contains(r"\bhearts?\b", na=False).to_numpy()
    first = table["title"].iloc[0].lower().split()[0]
    rules = Rules.model_validate(
        {
            "goes_with": [
                {"name": "no hearts", "having": {"words": [first]}, "never": {"words": ["heart"]}}
            ]
        }
    )
    histories = Histories.from_lists([[0], [1]], now=1_290_000_000)
    assert banned[whole.recommend(histories, 300)[0][0]].any()
    whole.candidates["rules"] = RuleBased(rules).fit(None, whole.catalogue)  # type: ignore[arg-type]
    whole.ranker = ByFirstFeature()  # type: ignore[assignment]
    ids = whole.recommend(histories, 300)[0]
    assert not banned[ids[0][ids[0] >= 0]].any()
    assert banned[ids[1][ids[1] >= 0]].any()


def test_needs_budgets_and_exclusions() -> None:
    assert found(Request(needs=("child",))) == (["doll", "toy"], ())
    assert found(Request(needs=("child",), budget=10)) == (["toy"], ())
    assert found(Request(needs=("child",), must_not=("plastic",))) == (["doll"], ())
    assert found(Request(category="kitchen", must=("glass",))) == (["wine"], ())


def test_wishes_are_given_up_one_by_one_and_exclusions_never() -> None:
    items, relaxed = found(Request(needs=("child",), budget=2))
    assert items == ["doll", "toy"]
    assert relaxed == ("up to 2",)
    assert found(Request(must=("teapot", "doll"))) == (["pot"], ("with doll",))
    assert found(Request(must=("doll", "toy"), budget=6, should=("tin",))) == (
        ["doll"],
        ("up to 6", "with tin"),
    )
    items, _ = found(Request(needs=("child",), must_not=("doll", "toy")))
    assert not {"doll", "toy", "wine"} & set(items)
    with pytest.raises(ValueError, match="there are: child"):
        found(Request(needs=("dog",)))


def test_plurals_synonyms_alternatives_and_phrases() -> None:
    items = Items(TABLE)
    rules = RULES.model_copy(update={"synonyms": {"plastic": ["tin"], "cup": ["teacup"]}})
    assert items.word("wheel").tolist() == items.word("WHEELS").tolist()
    assert items.word("toy").sum() == 3  # the doll by its category
    assert items.word("tin toy").sum() == 1
    assert items.word("tin or rag").sum() == 2
    assert not items.word("zzz").any()
    assert not items.word("!?").any()
    assert items.knows("dolls")
    assert items.nearest("teepot") == "teapot"
    assert items.nearest("elephant") is None
    toys = satisfy(Request(must=("toy",), must_not=("plastic",)), rules, items)
    assert toys.allowed.tolist() == [0, 0, 0, 1, 0, 0]  # the tin toy is refused with plastic
    assert satisfy(Request(must=("cup",)), rules, items).allowed.tolist() == [0, 1, 0, 0, 0, 0]


def test_words_of_other_languages_are_known_and_not_corrected() -> None:
    titles = [
        "NIGHT LIGHT",
        "紫砂茶壺 大容量",
        "日式陶瓷马克杯",
        "陶瓷台灯",
        "实木书桌",
        "玻璃花瓶",
    ]
    items = Items(TABLE.assign(title=titles, description=None, categories=[[]] * 6))
    assert items.word("茶壶").tolist() == [0, 1, 0, 0, 0, 0]
    assert items.word("陶瓷马克杯").tolist() == [0, 0, 1, 0, 0, 0]
    assert items.knows("陶瓷马克杯")
    assert not items.knows("雨伞")
    assert items.nearest("nigth") == "night"
    assert items.nearest("nicht") is None


@given(
    st.lists(st.sampled_from(["doll", "toy", "wine", "teapot", "zzz"]), max_size=3, unique=True),
    st.one_of(st.none(), st.floats(0, 20)),
)
def test_something_is_left_and_it_is_available(must: list[str], budget: float | None) -> None:
    result = satisfy(Request(must=tuple(must), budget=budget), RULES, Items(TABLE))
    assert result.allowed.any()
    assert not result.allowed[5]
    assert len(result.fired) + len(result.relaxed) == len(must) + (budget is not None)


def test_saved_and_loaded_it_is_the_same(model: RuleBased, tmp_path: Path) -> None:
    model.save(tmp_path)
    histories = Histories.from_lists([[0], [3]])
    assert np.array_equal(RuleBased.load(tmp_path).score(histories), model.score(histories))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("goes_with: [{name: x}]", "having"),
        ("goes_with: [{name: x, having: {word: [a]}}]", "word"),
        ("needs: [{name: x, wants: []}]", "wants"),
        ("a: [", "YAML"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(RulesError, match=named):
        load_rules(file)
    with pytest.raises(RulesError, match="nowhere"):
        load_rules(tmp_path / "nowhere.yaml")


def test_the_embedded_shops_rules_speak_of_its_products(prepared_folder: Path) -> None:
    rules = load_rules(REPOSITORY / "rules.yaml")
    table = pd.read_parquet(prepared_folder / "items.parquet")
    model = RuleBased(rules).fit(None, Catalogue(table))  # type: ignore[arg-type]
    for rule, having, offer in zip(rules.goes_with, model.having, model.offer, strict=True):
        assert having.any(), rule.name
        assert offer.any(), rule.name
    items = Items(table)
    for need in rules.needs:
        assert satisfy(Request(needs=(need.name,)), rules, items).relaxed == (), need.name
