"""Rules that the shop writes: what goes with what, and what a stated need allows.

In: a rules file (YAML, see ``rules.yaml``) and the catalogue. Out: scores for a history, the
products that meet a query, and the rules that fired, which are the explanation.

Knowledge-based recommendation with constraint relaxation: Felfernig and Burke, ICEC 2008.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.arrays import AnyArray, BoolArray, FloatArray, Int32Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.data.item_table import each_text, joined_texts, rows_by_text
from components.recommenders.base import Recommender
from components.settings import RuleBased as RuleBasedSettings
from components.words.analyser import Words
from components.words.segmentation import has_unspaced, normalise
from components.words.stems import is_function_word

SLIP = 0.8
"""Similarity (difflib) from which on an unknown word counts as a misspelling of a known one."""


class RulesError(ValueError):
    """The rules file is missing or wrong; the message names the rule and the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Which(_Strict):
    """Products: those that meet every condition that is given.

    words: all of them as whole words in title, description, brand or categories, singular or
    plural, case ignored.
    category: any level.
    """

    words: list[str] = []
    category: str | None = None
    brand: str | None = None
    min_price: float | None = None
    max_price: float | None = None


class GoesWith(_Strict):
    """Recommend the products of ``offer`` to users who have a product of ``having``, and those of
    ``never`` not at all."""

    name: str
    having: Which
    offer: Which | None = None
    never: Which | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0


class Need(_Strict):
    """What a stated need means. wants: any of these. not_: none of these."""

    name: str
    said_as: list[str] = []
    wants: list[Which] = Field(min_length=1)
    not_: list[Which] = Field(default=[], alias="not")


class Rules(_Strict):
    """synonyms: a word, and other words or phrases by which products say the same."""

    goes_with: list[GoesWith] = []
    needs: list[Need] = []
    synonyms: dict[str, list[str]] = {}

    def said(self, word: str) -> str:
        """Return the word with its synonyms, as ``Items.word`` takes them."""
        parts = word.casefold().split(" or ")
        others = [other for part in parts for other in self.synonyms.get(part, [])]
        return " or ".join(dict.fromkeys([*parts, *others]))


@dataclass(frozen=True)
class Request:
    """The wishes of a query, by priority: the fields in this order, and within a field in order.

    must_not: words, or phrases all of whose words must not meet in one product. must: words, also
    alternatives ("mug or cup"). needs: names of needs. min_price, budget: limits of the price.
    should: words that are given up before the price is.
    """

    must_not: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    category: str | None = None
    min_price: float | None = None
    budget: float | None = None
    should: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """allowed: bool (items,). fired: the wishes that hold for all of them. relaxed: the wishes that
    were given up because no item was left with them. possible: bool (items,), not excluded,
    regardless of the wishes. wishes: each wish's own bool (items,)."""

    allowed: BoolArray
    possible: BoolArray
    fired: tuple[str, ...]
    relaxed: tuple[str, ...]
    wishes: dict[str, BoolArray]


def load_rules(file: str | Path) -> Rules:
    """Return the checked rules of a file.

    Raises:
        RulesError: no such file, not YAML, or a wrong field; the message names it.
    """
    try:
        raw = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        return Rules.model_validate(raw)
    except OSError as error:
        raise RulesError(f"cannot read {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RulesError(f"{file} is not valid YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise RulesError(f"{file}: {wrong}") from error


_LETTER = re.compile(r"[^\W_]")


class Items:
    """Inverted index of the catalogue: words, categories and brands → item codes."""

    def __init__(self, table: pd.DataFrame, words: Words | None = None) -> None:
        """words: the analyser of the texts; None: that of their own languages."""
        self.n = len(table)
        names = [name for name in ("title", "description", "brand") if name in table]
        if "categories" in table:
            names.append("categories")
        # In here: the import takes a second, and few processes need it.
        from sklearn.feature_extraction.text import CountVectorizer

        texts = joined_texts([table[name] for name in names])
        self.words = Words.of(texts) if words is None else words
        counter = CountVectorizer(analyzer=self.words.surfaces, binary=True, dtype=np.int8)
        if not any(map(_LETTER.search, each_text(texts))):
            texts = pd.Series(["nothing"])  # scikit-learn refuses to count no word at all
        self._by_word = counter.fit_transform(each_text(texts)).tocsc()
        self._names = counter.get_feature_names_out()
        self._columns: dict[str, list[int]] = {}
        for word, column in counter.vocabulary_.items():
            for stem in self.words.stems(word):
                self._columns.setdefault(stem, []).append(column)
        self.price = table["price"].to_numpy(dtype=np.float64, na_value=np.nan)
        self.available = (
            table["available"].fillna(True).to_numpy(dtype=bool)
            if "available" in table
            else np.ones(self.n, dtype=bool)
        )
        brands = table["brand"].fillna("") if "brand" in table else pd.Series([""] * self.n)
        self._brands = rows_by_text(brands)
        self._categories = rows_by_text(table["categories"]) if "categories" in table else {}

    def knows(self, word: str) -> bool:
        """Return whether some product's text has the word, in any form of it."""
        if has_unspaced(word):  # it may be several
            found = self.words.alternatives(word)
        else:
            found = [self.words.stems(normalise(word))]
        return bool(found) and all(any(one in self._columns for one in stems) for stems in found)

    def together(self, phrase: str) -> bool:
        """Return whether some product's text has all words of a phrase, singular or plural."""
        return bool(self.word(phrase).any())

    def nearest(self, word: str) -> str | None:
        """Return the known word that ``word`` probably misspells, None if there is none.

        A common word of any language misspells none: "nicht" is not "night".
        """
        normal = normalise(word)
        if is_function_word(normal):
            return None
        wanted = self.words.stems(normal)[0]
        like = [
            known
            for known in self._columns
            if known[0] == wanted[:1] and abs(len(known) - len(wanted)) <= 1
        ]
        found = get_close_matches(wanted, like, 1, SLIP) if len(wanted) >= 5 else []
        return found[0] if found else None

    def word(self, word: str) -> BoolArray:
        """Return bool (items,): whose text has the word, or all words of a phrase.

        In any form, as singular or plural; "mug or cup" has either.
        """
        alternatives = word.casefold().split(" or ")
        return np.any([self._phrase(one) for one in alternatives], axis=0)

    def _phrase(self, phrase: str) -> BoolArray:
        words = self.words.alternatives(phrase)
        mask = np.full(self.n, bool(words))
        for stems in words:
            has = np.zeros(self.n, dtype=bool)
            for column in (one for stem in stems for one in self._columns.get(stem, ())):
                start, stop = self._by_word.indptr[column : column + 2]
                has[self._by_word.indices[start:stop]] = True
            mask &= has
        return mask

    def words_of(self, mask: BoolArray) -> dict[str, int]:
        """Return word → how many items of ``mask`` (bool (items,)) have it, the most common first.

        Singular and plural are counted apart.
        """
        counts = np.asarray(mask.astype(np.int32) @ self._by_word).ravel()
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        return dict(zip(self._names[order].tolist(), counts[order].tolist(), strict=True))

    def category(self, name: str) -> BoolArray:
        """Return bool (items,): in the category, at any level."""
        return self._at(self._categories, name)

    def _at(self, rows: dict[str, Int32Array], name: str) -> BoolArray:
        mask = np.zeros(self.n, dtype=bool)
        mask[rows.get(name.casefold(), [])] = True
        return mask

    def meets(self, which: Which) -> BoolArray:
        """Return bool (items,). A product without a price meets no limit of price."""
        mask = np.ones(self.n, dtype=bool)
        for word in which.words:
            mask &= self.word(word)
        if which.category is not None:
            mask &= self.category(which.category)
        if which.brand is not None:
            mask &= self._at(self._brands, which.brand)
        if which.min_price is not None:
            mask &= self.price >= which.min_price
        if which.max_price is not None:
            mask &= self.price <= which.max_price
        return mask


class RuleBased(Recommender):
    """Scores an item by the weights of the rules that the history fires.

    ``having``, ``offer``, ``never``: bool (rules, items).
    """

    name = "rules"
    section = RuleBasedSettings
    vetoes = True

    def __init__(self, rules: Rules, file: Path | None = None) -> None:
        """``file``: where the rules were read from; None for those of a saved model."""
        self.rules = rules
        self.file = file

    @classmethod
    def from_settings(cls, section: RuleBasedSettings, seed: int, root: Path) -> Self:
        """Return the unfitted model of a rules file.

        Raises:
            RulesError: the file is missing or wrong.
        """
        file = root / section.rules
        return cls(load_rules(file), file)

    def input_files(self, root: Path) -> list[Path]:
        return [] if self.file is None else [self.file]

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Find the items of each rule; ``train`` is not used."""
        return self.learn(catalogue)

    def extended(self, catalogue: Catalogue) -> RuleBased:
        """Return the rules over all items of ``catalogue``."""
        return RuleBased(self.rules).learn(catalogue)

    def learn(self, catalogue: Catalogue) -> Self:
        """Find the items of each rule and return self."""
        items = Items(catalogue.table)
        nothing = np.zeros(len(catalogue), dtype=bool)
        rules = self.rules.goes_with

        def matrix(masks: list[BoolArray]) -> BoolArray:
            return np.array(masks) if masks else np.empty((0, len(catalogue)), dtype=bool)

        self.having = matrix([items.meets(rule.having) for rule in rules])
        self.offer = matrix([items.meets(rule.offer) if rule.offer else nothing for rule in rules])
        self.never = matrix([items.meets(rule.never) if rule.never else nothing for rule in rules])
        return self

    def _fires(self, histories: Histories) -> BoolArray:
        """Return bool (batch, rules)."""
        fires = np.zeros((len(histories), len(self.having)), dtype=bool)
        histories = histories.liked
        events, rules = np.nonzero(self.having[:, histories.items].T)
        fires[histories.rows()[events], rules] = True
        return fires

    def score(self, histories: Histories) -> FloatArray:
        return self.score_at(histories, slice(None))

    def score_at(self, histories: Histories, items: IntArray | slice) -> FloatArray:
        fires = self._fires(histories)
        fired = np.flatnonzero(fires.any(axis=0))  # of many rules few fire
        fires = fires[:, fired].astype(np.float32)
        goes_with = self.rules.goes_with
        weight = np.array([goes_with[rule].weight for rule in fired], dtype=np.float32)
        scores = (fires * weight) @ self.offer[fired][:, items].astype(np.float32)
        scores[(fires @ self.never[fired][:, items].astype(np.float32)) > 0] = -np.inf
        return scores

    def explain(self, histories: Histories, items: IntArray) -> list[list[str]]:
        """Return the names of the rules that offer item b to history b. items: int (batch,)."""
        fires = self._fires(histories)
        return [
            [
                rule.name
                for rule, fired, offered in zip(
                    self.rules.goes_with, fires[row], self.offer[:, item], strict=True
                )
                if fired and offered
            ]
            for row, item in enumerate(items)
        ]

    def arrays(self) -> dict[str, AnyArray]:
        names = ("having", "offer", "never")
        return {name: getattr(self, name).astype(np.uint8) for name in names}

    def config(self) -> dict[str, Any]:
        return {"rules": self.rules.model_dump(mode="json", by_alias=True)}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, AnyArray]) -> Self:
        model = cls(Rules.model_validate(config["rules"]))
        for name, array in arrays.items():
            setattr(model, name, array.astype(bool))
        return model


def satisfy(request: Request, rules: Rules, items: Items, hard: BoolArray | None = None) -> Found:
    """Return the products that meet a query, with as few wishes given up as possible.

    ``must_not`` is never given up, nor ``hard`` (bool (items,); default: what is available). A
    wish is kept if a product is left that meets it and all wishes of higher priority kept so far
    (preferred relaxation, Junker, AAAI 2004).

    Raises:
        ValueError: there is no need of that name.
    """
    by_name = {need.name: need for need in rules.needs}
    allowed = (items.available if hard is None else hard).copy()
    for word in request.must_not:
        allowed &= ~items.word(rules.said(word))
    wishes = {f"with {word}": items.word(rules.said(word)) for word in request.must}
    for name in request.needs:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ValueError(f"there is no need {name!r} in the rules; there are: {known}")
        need = by_name[name]
        wishes[name] = np.any([items.meets(which) for which in need.wants], axis=0)
        for which in need.not_:
            allowed &= ~items.meets(which)
    if request.category is not None:
        wishes[f"in {request.category}"] = items.category(request.category)
    if request.min_price is not None:
        wishes[f"from {request.min_price:g}"] = items.meets(Which(min_price=request.min_price))
    if request.budget is not None:
        wishes[f"up to {request.budget:g}"] = items.meets(Which(max_price=request.budget))
    wishes |= {f"with {word}": items.word(rules.said(word)) for word in request.should}

    possible, fired, relaxed = allowed, [], []
    for name, mask in wishes.items():
        both = allowed & mask
        if both.any():
            allowed = both
            fired.append(name)
        else:
            relaxed.append(name)
    return Found(allowed, possible, tuple(fired), tuple(relaxed), wishes)
