"""Facts of products, for answers about them: only what the catalogue says."""

from __future__ import annotations

from serving.conversation.answer_text import AnswerText
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.conversation.titles import readable
from serving.fields import LONGEST_VALUE

MOST = 6
"""Attributes that an answer names."""


class Facts:
    """Facts of one shop's products, in one language; the catalogue's words stay as they are."""

    def __init__(self, shop: ShopKnowledge, text: AnswerText) -> None:
        self._shop, self._text = shop, text

    def of(self, code: int) -> list[str]:
        """Return what the catalogue says of a product: price, categories, attributes."""
        gettext, listed = self._text.language.gettext, self._text.language.listed
        engine = self._shop.engine
        known = engine.describe(code)
        facts = [] if known["price"] is None else [self._text.money(known["price"])]
        if known["categories"]:
            facts.append(gettext("in {categories}", categories=listed(known["categories"])))
        short = [
            (name, value)
            for name, value in known["attributes"].items()
            if not isinstance(value, str) or len(value) <= LONGEST_VALUE
        ]
        for name, value in short[:MOST]:
            values = value if isinstance(value, list) else [value]
            facts.append(f"{name}: {listed([str(one) for one in values])}")
        if not engine.available[code]:
            facts.append(gettext("not available now"))
        return facts or [gettext("the catalogue says nothing more")]

    def joined(self, code: int) -> str:
        """Return the facts of a product in one text."""
        return self._text.language.gettext("; ").join(self.of(code))

    def described(self, code: int) -> str:
        """Return a sentence about a product."""
        title = readable(self._shop.engine.titles[code])
        gettext = self._text.language.gettext
        return gettext("{title}: {reason}.", title=title, reason=self.joined(code))

    def compared(self, codes: list[int]) -> str:
        """Return the facts of products, and which one costs less."""
        sentences = [self.described(code) for code in codes]
        prices = self._shop.engine.prices[codes]
        order = prices.argsort()
        low, high = prices[order[0]], prices[order[-1]]
        if high > low:  # false without a price
            cheaper = readable(self._shop.engine.titles[codes[order[0]]])
            amount = self._text.money(float(high - low))
            gettext = self._text.language.gettext
            sentences.append(gettext("{title} costs {amount} less.", title=cheaper, amount=amount))
        return self._text.sentences(sentences)
