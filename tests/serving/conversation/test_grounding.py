"""What was read of a message becomes words of the catalogue, and an answer of the right kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.understanding.dictionary import Dictionary
from components.understanding.reading import Reading
from components.understanding.terms import Terms
from components.understanding.utterances import TITLE
from serving.conversation.dialogue import Conversation, Reply
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.grounding import CatalogueUnderstanding
from serving.languages import ENGLISH
from serving.profiles.history import History
from serving.search import Search
from tests.serving.conversation.test_dialogue import talk  # noqa: F401

NOBODY = History(np.empty(0, np.int32), np.empty(0, np.int64))


class Given:
    """A reader with the readings of messages at hand."""

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}
        self.texts: list[str] = []

    def read(self, text: str) -> Reading:
        self.texts.append(text)
        return self.readings.get(text, Reading())


class Shop:
    """A conversation whose messages are read as a test says."""

    def __init__(self, conversation: Conversation) -> None:
        self.engine, self.shop = conversation.engine, conversation.shop
        self.reader = Given()
        terms = Terms(self.shop, ["en"], Dictionary())
        self.understanding = CatalogueUnderstanding(self.reader, terms, self.shop)
        self.conversation = conversation
        conversation._understanding = self.understanding

    def say(self, *messages: tuple[str, dict[str, Any]]) -> Reply:
        state, reply = None, None
        for text, reading in messages:
            self.reader.readings[text] = Reading.model_validate(reading)
            reply = self.conversation.reply(text, state, NOBODY, 5)
            state = ConversationState.model_validate_json(reply.state.model_dump_json())
        assert reply is not None
        return reply

    def titles(self, reply: Reply) -> list[str]:
        return [self.engine.titles[code].lower() for code in reply.items]


@pytest.fixture
def shop(talk: Conversation) -> Any:  # noqa: F811
    before, contact = talk._understanding, talk._contact
    yield Shop(talk)
    talk._understanding, talk._contact, talk._rates = before, contact, {}


MUGS = ("eine Tasse", {"language": "de", "things": ["Tasse"]})


def test_a_german_need_is_met_in_an_english_shop(shop: Shop) -> None:
    need = {"language": "de", "things": ["Tasse"], "refused": ["rote"], "max_price": 5}
    reply = shop.say(("eine Tasse, keine rote, bis 5 Pfund", need))
    assert reply.items
    for title, code in zip(shop.titles(reply), reply.items, strict=True):
        assert "mug" in title
        assert "red " not in title
        assert shop.engine.prices[code] <= 5


def test_what_is_not_sold_is_said_and_nothing_is_shown(shop: Shop) -> None:
    reply = shop.say(("habt ihr Ladekabel", {"language": "de", "things": ["Handyladekabel"]}))
    assert reply.items == []
    assert "Handyladekabel" in reply.text


def test_a_refusal_of_unknown_words_is_kept(shop: Shop) -> None:
    need = {"language": "de", "things": ["Tasse"], "refused": ["Quatschmuster"]}
    reply = shop.say(("eine Tasse ohne Quatschmuster", need))
    assert reply.state.refused == ["Quatschmuster"]
    assert reply.items


def test_a_question_about_delivery_shows_no_products_but_the_contact(shop: Shop) -> None:
    shop.conversation._contact = "Write to help@shop.example."
    reply = shop.say(MUGS, ("wann kommt mein Paket?", {"intent": "not_my_field"}))
    assert reply.items == []
    assert "help@shop.example" in reply.text
    assert "mug" in reply.state.things[0]  # what was looked for stays


def test_a_product_is_described_by_its_facts(shop: Shop) -> None:
    shown = shop.say(MUGS)
    reply = shop.say(MUGS, ("das zweite?", {"intent": "tell_more", "places": [2]}))
    assert reply.items == [shown.items[1]]
    price = shop.engine.prices[reply.items[0]]
    assert f"£{price:.2f}".removesuffix(".00") in reply.text
    assert shop.titles(reply)[0] in reply.text.lower()


def test_two_products_are_compared(shop: Shop) -> None:
    shown = shop.say(MUGS)
    reply = shop.say(MUGS, ("1 oder 3?", {"intent": "compare", "places": [1, 3]}))
    assert reply.items == [shown.items[0], shown.items[2]]
    assert all(title in reply.text.lower() for title in shop.titles(reply))
    low, high = sorted(shop.engine.prices[reply.items])
    assert ("less" in reply.text) == (high > low)
    lost = shop.say(("compare the second", {"intent": "compare", "places": [2]}))
    assert (lost.items, bool(lost.question)) == ([], True)


def test_what_goes_with_a_product_is_of_another_kind(shop: Shop) -> None:
    mug = next(
        code for code in shop.engine.by_popularity if "MUG" in shop.engine.titles[code].split()
    )
    title = shop.engine.titles[mug]
    reply = shop.say((f"what goes with {title}?", {}), (f"and with {TITLE}?", {}))
    shop.reader.readings[f"what goes with {TITLE}?"] = Reading(intent="goes_with")
    reply = shop.conversation.reply(f"what goes with {title}?", None, NOBODY, 5)
    assert f"what goes with {TITLE}?" in shop.reader.texts
    assert reply.items
    assert mug not in reply.items
    assert not any("mug" in found.split() for found in shop.titles(reply))
    by_kind = shop.say(("was passt zu Tassen", {"intent": "goes_with", "language": "de",
                                               "things": ["Tassen"]}))  # fmt: skip
    assert by_kind.items
    assert not any("mug" in found.split() for found in shop.titles(by_kind))


def test_a_critique_of_what_goes_with_a_product_stays_with_it(shop: Shop) -> None:
    companions = ("was passt zu Tassen", {"intent": "goes_with", "things": ["Tassen"]})
    cheaper, more = ("billiger", {"intent": "cheaper"}), ("noch mehr", {"intent": "more"})
    prices = shop.engine.prices
    first, second = shop.say(companions), shop.say(companions, cheaper)
    assert second.items
    assert prices[second.items].max() < np.median(prices[first.items])
    third = shop.say(companions, cheaper, more)
    assert third.items
    assert not {*third.items} & {*first.items, *second.items}
    for reply in (second, third):
        assert not any("mug" in title.split() for title in shop.titles(reply))
        assert reply.state.goes_with == first.state.goes_with
    other = shop.say(companions, MUGS)
    assert other.state.goes_with == []
    assert all("mug" in title for title in shop.titles(other))


def test_things_named_with_a_product_are_what_goes_with_it(shop: Shop) -> None:
    mug = next(
        code for code in shop.engine.by_popularity if "MUG" in shop.engine.titles[code].split()
    )
    text = f"ich habe {shop.engine.titles[mug]} und suche eine Kerze dazu"
    shop.reader.readings[f"ich habe {TITLE} und suche eine Kerze dazu"] = Reading(
        language="de", things=["Kerze"]
    )
    reply = shop.conversation.reply(text, None, NOBODY, 5)
    assert reply.state.goes_with == [shop.engine.ids[mug]]
    assert reply.items
    assert all("candle" in title for title in shop.titles(reply))


def test_without_anything_cheaper_the_cheapest_are_shown(shop: Shop) -> None:
    replies = [shop.say(MUGS)]
    for n in range(1, 6):
        replies.append(
            shop.say(MUGS, *[(f"billiger {i}", {"intent": "cheaper"}) for i in range(n)])
        )
    last = replies[-1]
    prices = shop.engine.prices[last.items]
    assert "nothing cheaper" in last.text
    assert "cheaper idea" not in last.text
    assert (np.diff(prices) >= 0).all()
    assert prices[0] == min(shop.engine.prices[reply.items].min() for reply in replies)


def test_a_thing_that_titles_only_name_is_relaxed(shop: Shop) -> None:
    reply = shop.say(("einen Fernseher", {"language": "de", "things": ["Fernseher"]}))
    assert reply.items
    assert all("tv" in title.split() for title in shop.titles(reply))
    assert reply.relaxed == ["tv"]
    assert "come close" in reply.text
    mugs = shop.say(MUGS)
    assert (mugs.relaxed, "come close" in mugs.text) == ([], False)


def test_thanks_with_other_words_show_no_products(shop: Shop) -> None:
    reply = shop.say(MUGS, ("merci, bonne journée", {"intent": "thanks", "people": ["journée"]}))
    assert reply.items == []
    assert reply.state.purpose == []
    assert reply.state.things


def test_similar_products_keep_the_kind_that_was_looked_for(shop: Shop) -> None:
    reply = shop.say(MUGS, ("so was wie das erste", {"intent": "similar_to", "places": [1]}))
    assert reply.items
    assert all("mug" in title for title in shop.titles(reply))


def test_a_message_without_labels_is_searched_for_things(shop: Shop) -> None:
    assert all("mug" in title for title in shop.titles(shop.say(("Tassen", {"language": "de"}))))
    unsure = {"language": "de", "intent": "not_my_field", "sure": 0.4}
    assert shop.say(("habt ihr Tassen", unsure)).items
    sure = {"language": "de", "intent": "not_my_field", "sure": 0.95}
    assert shop.say(("kann ich die Tasse umtauschen", sure)).items == []


def test_terms_fit_the_state(shop: Shop) -> None:
    things = ["mug", "hot water bottle", "photo frame", "wrapping paper", "cake stand", "necklace"]
    reply = shop.say(("many things", {"things": things}))
    assert all(len(term) <= 80 for term in reply.state.things)
    ConversationState.model_validate_json(reply.state.model_dump_json())


def test_the_answer_is_in_the_language_of_the_message(shop: Shop) -> None:
    def reply(text: str, state: ConversationState | None = None, follow: bool = True) -> Reply:
        return shop.conversation.reply(text, state, NOBODY, 5, ENGLISH, follow)

    text = "ich suche eine schöne Tasse"
    shop.reader.readings[text] = Reading(language="de", things=["Tasse"])
    german = reply(text)
    assert german.state.language == "de"
    assert "Vorschläge" in german.text
    # What a click sends, and a word or two, keep the conversation's language.
    for click in ("cheaper", "gift for a child"):
        shop.reader.readings[click] = Reading(language="en", intent="cheaper")
        assert reply(click, german.state).state.language == "de"
    assert reply("show more").state.language == "en"
    # Where the shop chose a language, the message does not change it.
    fixed = reply(text, follow=False)
    assert fixed.state.language is None
    assert "Vorschläge" not in fixed.text


def test_the_product_itself_comes_before_what_is_for_it(shop: Shop) -> None:
    """A holder for candles is no candle."""
    reply = shop.say(("Kerzen", {"language": "de", "things": ["Kerzen"]}))
    heads = [shop.understanding.heads(title) for title in shop.titles(reply)]
    is_candle = [any("candle" in word.split()[-1] for word in words) for words in heads]
    assert any(is_candle)
    assert is_candle == sorted(is_candle, reverse=True)


def test_limits_in_another_currency_are_converted(shop: Shop) -> None:
    shop.conversation._rates = {"EUR": 0.5}
    need = {"language": "de", "things": ["Tasse"], "max_price": 8, "currency": "EUR"}
    reply = shop.say(("eine Tasse bis 8 Euro", need))
    assert reply.state.max_price == 4
    assert (shop.engine.prices[reply.items] <= 4).all()
    assert "£4" in reply.text
    unknown = {**need, "currency": "CHF"}
    assert shop.say(("eine Tasse bis 8 Franken", unknown)).state.max_price == 8


def test_a_refinement_by_a_thing_keeps_what_was_looked_for(shop: Shop) -> None:
    heart = {"language": "de", "intent": "refine", "things": ["Herzen"]}
    reply = shop.say(MUGS, ("mit Herzen drauf", heart))
    assert "mug" in reply.state.things[0]
    assert any("heart" in word for word in reply.state.details)


def test_a_thing_without_a_label_is_found(shop: Shop) -> None:
    need = {"language": "es", "people": ["madre"]}
    reply = shop.say(("una taza pa mi madre", need))
    assert all("mug" in title for title in shop.titles(reply))


def test_a_search_in_another_language_finds_products_by_the_dictionary(shop: Shop) -> None:
    search, everything = Search(shop.engine.model.catalogue.table), shop.shop.available()
    shop.reader.readings["rote Tasse"] = Reading(language="de", things=["Tasse"], details=["rote"])
    shop.reader.readings["马克杯"] = Reading(language="zh")
    for query in ("rote Tasse", "马克杯"):
        assert not any(
            "mug" in shop.engine.titles[code].lower() for code in search.find(query, everything)[0]
        )
        found = search.find(query, everything, shop.conversation.translated)[0][:5]
        assert len(found) == 5
        assert all("mug" in shop.engine.titles[code].lower() for code in found), query
    # Words of the catalogue are searched as they are.
    shop.reader.texts.clear()
    search.find("red mug", everything, shop.conversation.translated)
    assert shop.reader.texts == []


def test_any_price_takes_the_limit_back(shop: Shop) -> None:
    limited = ("eine Tasse bis 1 Pfund", {"things": ["Tasse"], "language": "de", "max_price": 1})
    assert shop.say(limited).state.max_price == 1
    click = ("any price", {"intent": "cheaper", "any_price": True})
    assert shop.say(limited, click).state.max_price is None


def test_a_refinement_without_a_detail_is_no_error(shop: Shop) -> None:
    refined = ("Tasse bis 5 Pfund", {"language": "de", "intent": "refine", "things": ["Tasse"]})
    assert shop.say(MUGS, refined).items


def test_refusals_of_several_messages_all_stay(shop: Shop) -> None:
    colours = ["rot", "blau", "grün", "gelb", "rosa", "lila", "schwarz", "weiß"]
    materials = ["Holz", "Metall", "Glas", "Plastik", "Papier", "Leder"]
    first = ("keine bunten", {"language": "de", "things": ["Tasse"], "refused": colours})
    second = ("und kein Holz", {"language": "de", "intent": "refine", "refused": materials})
    refused = shop.say(first, second).state.refused
    assert len(refused) == len(colours) + len(materials)
    for word in ("red", "blue", "wood", "plastic"):
        assert any(word in term.split(" or ") for term in refused), word


def test_what_is_wanted_again_is_no_longer_refused(shop: Shop) -> None:
    small = {"language": "de", "things": ["Tasse"], "refused": ["kleine"]}
    again = {"language": "de", "intent": "refine", "details": ["kleine"]}
    reply = shop.say(("keine kleinen", small), ("doch kleine", again))
    assert reply.state.refused == []
    assert any("small" in term for term in reply.state.details)


def test_a_refused_kind_refuses_no_other_kind(shop: Shop) -> None:
    message = shop.understanding
    shop.reader.readings["keine großen Tassen"] = Reading(language="de", refused=["große Tassen"])
    (refused,) = message.read("keine großen Tassen").refused
    assert all(len(word.split()) > 1 for word in refused.split(" or ")), refused


def test_what_goes_with_a_product_keeps_the_price_or_says_so(shop: Shop) -> None:
    cheap = ("Tassen bis 2 Pfund", {"language": "de", "things": ["Tassen"], "max_price": 2,
                                    "details": ["rote"]})  # fmt: skip
    reply = shop.say(cheap, ("was passt zum ersten", {"intent": "goes_with", "places": [1]}))
    assert reply.items
    assert (shop.engine.prices[reply.items] <= 2).all()
    nothing = ("Tassen", {"language": "de", "things": ["Tassen"], "max_price": 0.001})
    reply = shop.say(nothing, ("und dazu", {"intent": "goes_with", "things": ["Tassen"]}))
    assert reply.relaxed or not reply.items


def test_a_title_is_found_next_to_any_letters(shop: Shop) -> None:
    title = next(title for title in shop.engine.titles if len(title.split()) > 2)
    for text in (f"was passt zu der großen {title}?", f"跟{title}差不多的", f"İ {title}"):
        found, items = shop.shop.without_titles(text, TITLE)
        assert TITLE in found, text
        assert len(items) == 1


@pytest.mark.parametrize(
    "text", ["九" * 400 + "元", "İ" * 50, "x " * 250, "£" * 300, "\u0000", "a" * 500]
)
def test_no_message_is_too_odd(shop: Shop, text: str) -> None:
    shop.reader.readings[text] = Reading(things=[text[:80]] if text.strip() else [])
    reply = shop.conversation.reply(text, None, NOBODY, 5)
    ConversationState.model_validate_json(reply.state.model_dump_json())
