"""Facts of products, for answers about them: only what the catalogue says."""

from __future__ import annotations

from serving.conversation.answer_text import AnswerText, listed
from serving.conversation.shop_knowledge import ShopKnowledge

MOST = 6
"""Attributes that an answer names."""


class Facts:
    """Facts of one shop's products."""

    def __init__(self, shop: ShopKnowledge, text: AnswerText) -> None:
        self._shop, self._text = shop, text

    def of(self, code: int) -> list[str]:
        """Return what the catalogue says of a product: price, categories, attributes."""
        engine = self._shop.engine
        known = engine.describe(code)
        facts = [] if known["price"] is None else [self._text.money(known["price"])]
        if known["categories"]:
            facts.append(f"in {listed(known['categories'])}")
        for name, value in list(known["attributes"].items())[:MOST]:
            values = value if isinstance(value, list) else [value]
            facts.append(f"{name}: {listed([str(one) for one in values])}")
        if not engine.available[code]:
            facts.append("not available now")
        return facts

    def described(self, code: int) -> str:
        """Return a sentence about a product."""
        facts = "; ".join(self.of(code)) or "the catalogue says nothing more"
        return f"{self._shop.engine.titles[code].capitalize()}: {facts}."

    def compared(self, codes: list[int]) -> str:
        """Return what products differ in, and the facts of each."""
        lines = [self.described(code) for code in codes]
        prices = self._shop.engine.prices[codes]
        order = prices.argsort()
        low, high = prices[order[0]], prices[order[-1]]
        if high > low:  # false without a price
            cheaper = self._shop.engine.titles[codes[order[0]]].capitalize()
            lines.append(f"{cheaper} costs {self._text.money(float(high - low))} less.")
        return " ".join(lines)
