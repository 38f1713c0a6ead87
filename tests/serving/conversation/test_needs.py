"""The development set of needs is sound, and its scorer finds good and bad systems."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from benchmarks.needs.__main__ import report, sample, with_sample
from benchmarks.needs.data import FILE, Need, Needs, Shop
from benchmarks.needs.scoring import Figures, figures, references, run
from benchmarks.needs.systems import Answer, K, open_systems
from serving.recommend.engine import Engine
from tests.conftest import REPOSITORY

NEEDS = Needs.load()
BY_TURN = {need.turns[-1]: need for need in NEEDS.needs}
HALVES = ("build", "held_out")


@pytest.fixture(scope="module")
def shop() -> Shop:
    """The embedded shop's products: the most frequent title and the median price of each code."""
    lines = pd.read_parquet(
        REPOSITORY / "datasets/online-retail/2009-2010.parquet",
        columns=["StockCode", "Description", "Price"],
    )
    lines = lines[(lines["Price"] > 0) & lines["Description"].notna()]
    code = lines["StockCode"].str.upper()
    counts = lines.groupby([code, "Description"]).size().sort_values(kind="stable")
    titles = counts.reset_index("Description").groupby(level=0)["Description"].last()
    titles = titles.str.split().str.join(" ")
    prices = lines.groupby(code)["Price"].median()
    return Shop(NEEDS, titles.tolist(), prices[titles.index].to_numpy())


def halves(groups: Callable[[Need], set[Any]]) -> set[Any]:
    """Return the groups that needs of both halves have."""
    build, held_out = (
        set().union(*(groups(need) for need in NEEDS.needs if need.half == half)) for half in HALVES
    )
    assert build
    assert held_out
    return build & held_out


def runs_of_four(need: Need) -> set[tuple[str, ...]]:
    """Return the sequences of four words in a need's turns; a Chinese character is a word."""
    return {
        run
        for turn in need.turns
        for words in [re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", turn.lower())]
        for run in zip(*(words[at:] for at in range(4)), strict=False)
    }


def test_languages_and_halves_have_as_many_needs_as_they_should() -> None:
    assert len({need.id for need in NEEDS.needs}) == 150
    sizes = Counter((need.language, need.half) for need in NEEDS.needs)
    assert sizes == dict.fromkeys(itertools.product(("en", "zh", "de", "fr", "es"), HALVES), 15)
    for half in HALVES:
        assert len({need.intent for need in NEEDS.needs if need.half == half}) == 8
    assert not set(NEEDS.terms) - set().union(*(need.terms for need in NEEDS.needs))


def test_the_halves_share_no_template_no_phrase_and_no_run_of_words() -> None:
    assert halves(lambda need: set(need.templates)) == set()
    assert halves(lambda need: need.phrases) == set()
    assert halves(runs_of_four) == set()


@pytest.mark.parametrize("need", NEEDS.needs, ids=lambda need: need.id)
def test_a_definition_is_neither_empty_nor_wide(need: Need, shop: Shop) -> None:
    for reference in need.references:
        assert reference.title is None or len(shop.named(reference.title)) == 1
    if not need.kinds:
        return
    sensible = shop.sensible(need)
    if not need.satisfiable:
        assert sensible.sum() == 0
    else:
        assert sensible.sum() >= (2 * K if need.change == "more" else K)
        assert sensible.mean() <= 0.15


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"intent": "compare"}, "needs references"),
        ({"intent": "refine"}, "needs change"),
        ({"intent": "small_talk"}, "has no kinds"),
        ({"things": []}, "needs kinds"),
        ({"references": [{"title": "A MUG"}]}, "has no references"),
        ({"references": [{"place": 0}], "intent": "compare"}, "not 0"),
        ({"references": [{"place": 2}], "intent": "compare"}, "one turn"),
        ({"things": ["unicorn"]}, "without a definition.*unicorn"),
        ({"price": {"max": 3, "currency": "CHF"}}, "no rate of CHF"),
        ({"price": {"maximum": 3}}, "Extra inputs"),
        ({"id": "it-01"}, "pattern"),
    ],
)
def test_a_wrong_need_is_refused(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    whole = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert whole["needs"][0]["id"] == "en-01"
    whole["needs"] = [{**whole["needs"][0], **change}]
    file = tmp_path / "needs.yaml"
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(ValidationError, match=complaint):
        Needs.load(file)


def test_a_limit_in_another_currency_is_converted(shop: Shop) -> None:
    euros = next(need for need in NEEDS.needs if need.price.currency == "EUR" and need.satisfiable)
    dearest = shop.prices[shop.kept(euros)].max()
    assert dearest == pytest.approx(euros.price.max * NEEDS.rates["EUR"], abs=0.1)


class Knows:
    """Answers each need as its definition says: no system can be better."""

    name = "knows"

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def reply(self, message: str, before: Answer | None) -> Answer:
        need = BY_TURN.get(message)
        if need is None:  # not the last turn
            need = next(need for need in NEEDS.needs if message in need.turns)
            codes = self._by_price(self._shop.sensible(need))
            return Answer(codes[:K] if need.change == "dearer" else codes[-K:])
        if need.intent in ("compare", "tell_more"):
            return Answer(references(need, self._shop, before) or [])
        if not need.proposes:
            return Answer()
        return Answer(self.choose(need, before))

    def choose(self, need: Need, before: Answer | None) -> list[int]:
        mask = self._shop.sensible(need)
        if before is not None and need.change == "more":
            mask[before.items] = False
        codes = self._by_price(mask)
        return codes[-K:] if need.change == "dearer" else codes[:K]

    def _by_price(self, mask: np.ndarray) -> list[int]:
        codes = np.flatnonzero(mask)
        return codes[np.argsort(self._shop.prices[codes], kind="stable")].tolist()


class IgnoresLimits(Knows):
    """Shows the right kind, whatever it costs and whatever was refused."""

    name = "ignores limits"

    def choose(self, need: Need, before: Answer | None) -> list[int]:
        kinds = np.any([self._shop.having(term) for term in need.kinds], axis=0)
        return self._by_price(kinds)[-K:]


class Random:
    """Shows any products, to whatever message."""

    name = "random"

    def __init__(self, shop: Shop) -> None:
        self._n = len(shop.prices)
        self._draw = np.random.default_rng(0)

    def reply(self, message: str, before: Answer | None) -> Answer:
        return Answer(self._draw.choice(self._n, K, replace=False).tolist())


class AsksBack:
    """Asks back, and shows the same products until then."""

    name = "asks back"

    def reply(self, message: str, before: Answer | None) -> Answer:
        return Answer([0, 1, 2], asked=True)


def scored(system: Any, shop: Shop) -> Figures:
    return figures(run([system], NEEDS.needs, shop))


def test_a_system_that_knows_the_definitions_reaches_the_top(shop: Shop) -> None:
    top = scored(Knows(shop), shop)
    shares = (top.kept, top.sensible, top.filled, top.intent, top.answered, top.refused)
    assert [share.value for share in shares] == [1.0] * 6
    assert 0.95 < top.intent.low < 1.0
    assert top.intent.high == pytest.approx(1.0)
    assert 0 < top.p50 <= top.p95


def test_a_system_that_ignores_limits_keeps_little(shop: Shop) -> None:
    found = scored(IgnoresLimits(shop), shop)
    assert found.kept.high < 0.6
    assert found.sensible.value < 0.7
    assert found.intent.value > 0.9  # it does what is requested, with the wrong products


def test_random_products_are_not_sensible(shop: Shop) -> None:
    found = scored(Random(shop), shop)
    assert found.sensible.high < 0.1
    assert found.filled.value == found.sensible.value
    assert found.refused.value == 0  # it shows products where nothing fits
    assert found.answered.value == 1


def test_an_answer_that_asks_back_proposes_nothing(shop: Shop) -> None:
    found = scored(AsksBack(), shop)
    assert found.answered.value == 0
    assert found.intent.high < 0.1


def test_the_page_names_every_language_half_and_system(shop: Shop) -> None:
    page = report(run([Random(shop), AsksBack()], NEEDS.needs, shop), "none")
    for language in ("English", "Chinese", "German", "French", "Spanish"):
        assert page.count(f"| {language} | random | 15 |") == 2
    assert page.count("| all | asks back | 75 |") == 2
    assert page.count("| not_my_field | 5 | 0 | 0 |") == 2


def test_a_sample_is_balanced_and_has_its_own_section(shop: Shop) -> None:
    needs = sample(NEEDS.needs, 40)
    assert Counter(need.language for need in needs) == dict.fromkeys(
        ("en", "zh", "de", "fr", "es"), 8
    )
    assert {need.half for need in needs} == {"held_out"}
    assert len({need.id for need in needs}) == 40
    rows = run([AsksBack()], needs, shop)
    once = with_sample("# Page\n\nof all needs\n", rows, 3, 50)
    assert once.startswith("# Page\n\nof all needs\n\n## Sample")
    assert "| all | asks back | 40 |" in once
    assert "3 of its 50 messages" in once
    assert with_sample(once, rows, 3, 50) == once


def test_the_real_systems_answer_whole_conversations(trained: Any, engine: Engine) -> None:
    systems = open_systems(trained[0] / "models/hybrid", engine, None)
    assert [system.name for system in systems] == ["words", "grammar"]  # it has no encoder
    catalogue = Shop(NEEDS, engine.titles, engine.prices)
    mugs = catalogue.having("mug")
    for system in systems:
        first = system.reply("a mug please", None)
        then = system.reply("in red", first)
        assert len(first.items) == K
        assert mugs[then.items].any()  # it remembers what the first message said
    few = [need for need in NEEDS.needs if need.id in ("en-01", "en-10", "zh-15")]
    rows = run(systems, few, catalogue)
    talk = rows[(rows["system"] == "grammar") & (rows["id"] == "en-01")].iloc[0]
    assert talk["shown"]
    assert talk["kept"] == talk["shown"]
