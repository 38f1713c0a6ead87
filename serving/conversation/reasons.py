"""Reasons of proposals: wishes met and missed, price, refusals, taste."""

from __future__ import annotations

from components.recommenders.models.rules import Found
from serving import N_
from serving.conversation.answer_text import AnswerText
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.profiles.history import History
from serving.recommend.types import RankedList

GENERAL = (N_("often bought"), N_("chosen by your history as a whole"))
"""Reasons of ``explanations`` that are left out where there is another one."""


class ProposalReasons:
    """Reasons for one shop, in the language of ``text``; each is made of facts."""

    def __init__(self, shop: ShopKnowledge, text: AnswerText) -> None:
        self._shop = shop
        self._text = text

    def of(
        self, codes: list[int], state: ConversationState, found: Found, history: History
    ) -> list[str]:
        """Return one text an item, its facts separated by semicolons."""
        n = len(codes)
        ranked = RankedList(codes, [0.0] * n, ["conversation"] * n)
        language = self._text.language
        taste = self._shop.engine.explanations.reasons(ranked, history, language=language)
        general_ones = [language.gettext(one) for one in GENERAL]
        texts = []
        for code, general in zip(codes, taste, strict=True):
            facts = self._facts(code, state, found)
            if general not in general_ones or not facts:
                facts.append(general)
            texts.append(language.gettext("; ").join(facts))
        return texts

    def _facts(self, code: int, state: ConversationState, found: Found) -> list[str]:
        gettext = self._text.language.gettext
        met = [name for name, mask in found.wishes.items() if mask[code]]
        missed = self._text.wishes(name for name in found.wishes if name not in met)
        facts = [gettext("not {wish}", wish=wish) for wish in missed]
        facts += [
            gettext("{word}, as you asked", word=word)
            for word in state.details
            if f"with {word}" in met
        ]
        needs = {need.name: need for need in self._shop.rules.needs if need.name in state.needs}
        for need in (needs[name] for name in met if name in needs):
            suits = [wish for wish in need.wants if self._shop.items.meets(wish)[code]]
            if suits and suits[0].words:
                words = " ".join(suits[0].words)
                facts.append(gettext("“{words}” suits {need}", words=words, need=need.name))
        price = float(self._shop.engine.prices[code])
        if state.max_price is not None and price <= state.max_price:
            limit = self._text.money(state.max_price)
            facts.append(
                gettext("{price} is within {limit}", price=self._text.money(price), limit=limit)
            )
        if state.refused:
            words = self._text.language.listed(state.refused[:3], "or")
            facts.append(gettext("no mention of {words}", words=words))
        return facts
