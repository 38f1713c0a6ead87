"""Rules that the shop writes: what goes with what, and what a stated need allows.

In: a rules file (YAML, see ``rules.yaml``) and the catalogue. Out: scores for a history, the
products that meet a request, and the rules that fired, which are the explanation.

Knowledge-based recommendation with constraint relaxation: Felfernig and Burke, ICEC 2008.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender


class RulesError(ValueError):
    """The rules file is missing or wrong; the message names the rule and the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Which(_Strict):
    """Products: those that meet every condition that is given.

    words: all of them as whole words in title or description, case ignored. category: any level.
    """

    words: list[str] = []
    category: str | None = None
    brand: str | None = None
    min_price: float | None = None
    max_price: float | None = None


class GoesWith(_Strict):
    """Who has a product of ``having`` is offered those of ``offer``; ``never`` instead of a score
    for what must not be offered then."""

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
    goes_with: list[GoesWith] = []
    needs: list[Need] = []


@dataclass(frozen=True)
class Request:
    """needs: names of needs. must, must_not: words. budget: the highest price."""

    needs: tuple[str, ...] = ()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    category: str | None = None
    budget: float | None = None


@dataclass(frozen=True)
class Found:
    """allowed: bool (items,). fired: what was asked and holds for all of them. relaxed: what had
    to be given up, because with it nothing was left."""

    allowed: np.ndarray
    fired: tuple[str, ...]
    relaxed: tuple[str, ...]


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


class _Items:
    """The catalogue as conditions ask for it."""

    def __init__(self, table: pd.DataFrame) -> None:
        columns = [
            table[name].fillna("").astype(str) for name in ("title", "description") if name in table
        ]
        self.text = columns[0].str.cat(columns[1:], sep=" ").str.lower()
        self.price = table["price"].to_numpy(dtype=np.float64, na_value=np.nan)
        none = pd.Series("", index=table.index)
        self.brand = (table["brand"].fillna("") if "brand" in table else none).str.lower()
        lists = table["categories"] if "categories" in table else none.map(lambda _: [])
        self.categories = [
            {str(name).casefold() for name in names} if names is not None else set()
            for names in lists
        ]

    def word(self, word: str) -> np.ndarray:
        """Return bool (items,): whose text has the word, also in the plural with s."""
        pattern = rf"\b{re.escape(word.lower())}s?\b"
        return self.text.str.contains(pattern, regex=True).to_numpy()

    def category(self, name: str) -> np.ndarray:
        wanted = name.casefold()
        return np.fromiter((wanted in names for names in self.categories), bool, len(self.text))

    def meets(self, which: Which) -> np.ndarray:
        """Return bool (items,). A product without a price meets no limit of price."""
        mask = np.ones(len(self.text), dtype=bool)
        for word in which.words:
            mask &= self.word(word)
        if which.category is not None:
            mask &= self.category(which.category)
        if which.brand is not None:
            mask &= (self.brand == which.brand.lower()).to_numpy()
        if which.min_price is not None:
            mask &= self.price >= which.min_price
        if which.max_price is not None:
            mask &= self.price <= which.max_price
        return mask


class Knowledge(Recommender):
    """Scores an item by the weights of the rules that the history fires.

    ``having``, ``offer``, ``never``: bool (rules, items).
    """

    name = "knowledge"
    forbids = True

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Find the products each rule speaks of; ``train`` is not used."""
        items = _Items(catalogue.table)
        nothing = np.zeros(len(catalogue), dtype=bool)
        rules = self.rules.goes_with

        def matrix(masks: list[np.ndarray]) -> np.ndarray:
            return np.array(masks) if masks else np.empty((0, len(catalogue)), dtype=bool)

        self.having = matrix([items.meets(rule.having) for rule in rules])
        self.offer = matrix([items.meets(rule.offer) if rule.offer else nothing for rule in rules])
        self.never = matrix([items.meets(rule.never) if rule.never else nothing for rule in rules])
        return self

    def _fires(self, histories: Histories) -> np.ndarray:
        """Return bool (batch, rules)."""
        seen = histories.seen(self.having.shape[1])
        return np.asarray((seen @ self.having.T.astype(np.float32)) > 0)

    def score(self, histories: Histories) -> np.ndarray:
        fires = self._fires(histories).astype(np.float32)
        weight = np.array([rule.weight for rule in self.rules.goes_with], dtype=np.float32)
        scores = (fires * weight) @ self.offer.astype(np.float32)
        scores[(fires @ self.never.astype(np.float32)) > 0] = -np.inf
        return scores

    def explain(self, histories: Histories, items: np.ndarray) -> list[list[str]]:
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

    def arrays(self) -> dict[str, np.ndarray]:
        names = ("having", "offer", "never")
        return {name: getattr(self, name).astype(np.uint8) for name in names}

    def config(self) -> dict[str, Any]:
        return {"rules": self.rules.model_dump(mode="json", by_alias=True)}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(Rules.model_validate(config["rules"]))
        for name, array in arrays.items():
            setattr(model, name, array.astype(bool))
        return model


def satisfy(request: Request, rules: Rules, table: pd.DataFrame) -> Found:
    """Return the products of ``table`` that meet a request, relaxed as little as need be.

    What must not be is never given up. If nothing is left, one wish after the other is given up,
    each time the one whose loss leaves the most products, until something is left.

    Raises:
        ValueError: there is no need of that name.
    """
    items = _Items(table)
    by_name = {need.name: need for need in rules.needs}
    allowed = table["available"].to_numpy(dtype=bool) if "available" in table else None
    hard = np.ones(len(table), dtype=bool) if allowed is None else allowed.copy()
    wishes: dict[str, np.ndarray] = {}
    for name in request.needs:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ValueError(f"there is no need {name!r} in the rules; there are: {known}")
        need = by_name[name]
        wishes[name] = np.any([items.meets(which) for which in need.wants], axis=0)
        for which in need.not_:
            hard &= ~items.meets(which)
    for word in request.must_not:
        hard &= ~items.word(word)
    for word in request.must:
        wishes[f"with {word}"] = items.word(word)
    if request.category is not None:
        wishes[f"in {request.category}"] = items.category(request.category)
    if request.budget is not None:
        wishes[f"up to {request.budget:g}"] = items.meets(Which(max_price=request.budget))

    kept, relaxed = dict(wishes), []

    def left(names: list[str]) -> np.ndarray:
        return np.all([hard, *(kept[name] for name in names)], axis=0)

    while kept and not left(list(kept)).any():
        count = {name: left([other for other in kept if other != name]).sum() for name in kept}
        given_up = max(count, key=lambda name: count[name])
        relaxed.append(given_up)
        del kept[given_up]
    return Found(left(list(kept)), tuple(kept), tuple(relaxed))
