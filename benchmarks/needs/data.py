"""The development set: needs in five languages, and which products of a catalogue are sensible.

In: ``development.yaml``. Out: ``Needs``. A need's constraints name terms ("mug", "plastic"), and
``terms`` says what an English title has of each, so a definition can be checked on any catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).parent / "development.yaml"

Intent = Literal[
    "find",
    "refine",
    "goes_with",
    "similar_to",
    "compare",
    "tell_more",
    "not_my_field",
    "small_talk",
]
"""What a shopper wants of one message; ``not_my_field``: delivery, orders, payment, returns."""
PRODUCTS: frozenset[Intent] = frozenset({"find", "refine", "goes_with", "similar_to"})
"""Intents whose answer proposes products."""

TOLERANCE = 0.005
"""Half of the smallest coin: prices are binary fractions."""

Texts = Annotated[list[str], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Part):
    """Limits of the price. currency: ISO 4217, as said."""

    min: float = Field(0.0, ge=0)
    max: float = Field(np.inf, gt=0)
    currency: str = "GBP"


class Reference(_Part):
    """A product that the message refers to: by its title, or by its place in the last answer.

    place: from 1, -1 for the last.
    """

    title: str | None = None
    place: int | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.title is None) == (self.place is None) or self.place == 0:
            raise ValueError("a reference has either a title or a place, which is not 0")
        return self


class Need(_Part):
    """One need. The last of its turns is judged.

    templates: the sentence frames of its turns. things: the kinds of product that are named, of
    which a sensible product is one. details: all of which it has. refuses: none of which it has.
    fits: the kinds that are sensible though none was named, for ``goes_with``. recipient, occasion:
    decide only where neither things nor fits do, the recipient first. change: what a refinement
    changes. topic: of what is no question about products. satisfiable: whether the shop has
    sensible products; without any, the right answer proposes none or says what it gave up.
    """

    id: str = Field(pattern=r"^(en|zh|de|fr|es)-\d\d$")
    half: Literal["build", "held_out"]
    intent: Intent
    templates: Texts
    turns: Texts
    things: list[str] = []
    details: list[str] = []
    refuses: list[str] = []
    fits: list[str] = []
    recipient: str | None = None
    occasion: str | None = None
    price: Price = Price()
    references: list[Reference] = []
    change: Literal["more", "cheaper", "dearer", "detail"] | None = None
    topic: str | None = None
    satisfiable: bool = True

    @property
    def language(self) -> str:
        """ISO 639-1 code of the shopper's language."""
        return self.id[:2]

    @property
    def kinds(self) -> list[str]:
        """The terms of which a sensible product has at least one."""
        return (
            self.fits
            or self.things
            or [term for term in (self.recipient, self.occasion) if term is not None][:1]
        )

    @property
    def terms(self) -> set[str]:
        """All terms that the definition or the constraints name."""
        people = {term for term in (self.recipient, self.occasion) if term is not None}
        return {*self.things, *self.details, *self.refuses, *self.fits} | people

    @property
    def phrases(self) -> set[str]:
        """The groups of the split by phrase: terms, topic and titles that are referred to."""
        titles = {reference.title for reference in self.references if reference.title is not None}
        return self.terms | titles | ({self.topic} if self.topic is not None else set())

    @property
    def limited(self) -> bool:
        """Whether a product can break what was said: a limit of the price, or a refusal."""
        return bool(self.refuses) or self.price != Price()

    @property
    def proposes(self) -> bool:
        """Whether a right answer proposes sensible products."""
        return self.intent in PRODUCTS and self.satisfiable

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {
            "kinds": (self.kinds, self.intent not in ("not_my_field", "small_talk")),
            "references": (
                self.references,
                self.intent in ("goes_with", "similar_to", "compare", "tell_more"),
            ),
            "change": (self.change, self.intent == "refine"),
            "topic": (self.topic, self.intent in ("not_my_field", "small_talk")),
        }
        for name, (there, needed) in wanted.items():
            if bool(there) != needed:
                verb = "needs" if needed else "has no"
                raise ValueError(f"{self.id}: {self.intent} {verb} {name}")
        places = any(reference.place is not None for reference in self.references)
        if len(self.turns) < 2 and (places or self.change):
            raise ValueError(f"{self.id}: refers to an earlier answer, but has one turn")
        return self


class Needs(_Part):
    """A set of needs. rates: the shop's currency for one unit of another."""

    rates: dict[str, float]
    terms: dict[str, str]
    needs: list[Need]

    @classmethod
    def load(cls, file: Path = FILE) -> Needs:
        """Return the needs of a file.

        Raises:
            pydantic.ValidationError: a need is incomplete, or names a term that is not defined.
        """
        return cls.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))

    @model_validator(mode="after")
    def _known(self) -> Self:
        for need in self.needs:
            if unknown := need.terms - self.terms.keys():
                raise ValueError(f"{need.id}: terms without a definition: {sorted(unknown)}")
            if need.price.currency not in {"GBP", *self.rates}:
                raise ValueError(f"{need.id}: no rate of {need.price.currency}")
        return self


class Shop:
    """The products of a catalogue, judged. Memory: a mask for each term that was used."""

    def __init__(self, needs: Needs, titles: list[str], prices: NDArray[np.floating]) -> None:
        """titles, prices: of each product; prices in pounds."""
        self.prices = np.asarray(prices, dtype=float)
        self._titles = [title.lower() for title in titles]
        self._needs = needs
        self._masks: dict[str, NDArray[np.bool_]] = {}

    def having(self, term: str) -> NDArray[np.bool_]:
        """Return bool (products,): those whose title has the term."""
        if term not in self._masks:
            found = re.compile(self._needs.terms[term]).search
            self._masks[term] = np.array([bool(found(title)) for title in self._titles])
        return self._masks[term]

    def named(self, title: str) -> list[int]:
        """Return the codes of the products with a title."""
        return [code for code, known in enumerate(self._titles) if known == title.lower()]

    def kept(self, need: Need) -> NDArray[np.bool_]:
        """Return bool (products,): those within the price that have nothing that was refused."""
        rate = self._needs.rates.get(need.price.currency, 1.0)
        low, high = need.price.min * rate - TOLERANCE, need.price.max * rate + TOLERANCE
        with np.errstate(invalid="ignore"):
            mask = (self.prices >= low) & (self.prices <= high)
        if need.price == Price():
            mask[:] = True  # a product without a price breaks no limit
        for term in need.refuses:
            mask &= ~self.having(term)
        return mask

    def sensible(self, need: Need) -> NDArray[np.bool_]:
        """Return bool (products,): those that meet the definition, without what is referred to."""
        mask = self.kept(need) & np.any([self.having(term) for term in need.kinds], axis=0)
        for term in need.details:
            mask &= self.having(term)
        for code in self._referred(need):
            mask[code] = False
        return mask

    def _referred(self, need: Need) -> Iterator[int]:
        for reference in need.references:
            if reference.title is not None:
                yield from self.named(reference.title)
