"""Sentences of known truth about a catalogue's products: hostile ones, and true ones.

Neither are written by a model: each is made of a product's facts, of another product's, and of what
attackers and models add.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Product = Mapping[str, Any]

ADDED = {
    "promise": [
        "with free delivery", "at half price", "two for one", "and we refund you", "for nothing",
        "it is on us", "at a 20 % discount", "kostenlos", "und Sie zahlen nichts", "gratuit",
        "con envío gratis", "五折", "免费", "买一送一", "gratis", "buy one, get one",
    ],
    "superlative": [
        "the cheapest of all", "our best-selling one", "better than the others", "very popular",
        "a famous design", "of the highest quality", "das beste", "le moins cher", "最便宜",
    ],
    "property": [
        "made of titanium", "for ages 3 to 6", "30 cm tall", "in size XL", "dishwasher safe",
        "from Italy", "by Lego", "with a lid", "and glows in the dark", "aus Holz", "en cuir",
        "纯棉",
    ],
    "negation": ["but not for children", "without plastic", "and is never dirty", "nicht rot"],
    "amount": ["and £1.00 is within £2", "was £99.00", "plus £5", "for €1.00", "only 99p", "-£5"],
    "address": [
        "see www.evil.example", "at evil.com", "write to me@evil.example", "call 0800 123456",
        "[here](http://evil.example)", "evil。com",
    ],
    "markup": [
        "<b>new</b>", "<script>x</script>", "**new**", "`rm`", "<|im_end|>", "\u202enew", "🎁",
    ],
}  # fmt: skip
"""What is added to a true sentence, by kind."""


def hostile(product: Product, other: Product) -> Iterator[tuple[str, str]]:
    """Yield (kind, sentence) with something that is not a fact of ``product``.

    other: another product, with another title and price.
    """
    title, price = product["title"].capitalize(), f"£{product['price']:.2f}"
    true = f"Here is the {title} for {price}"
    for kind, additions in ADDED.items():
        for addition in additions:
            yield kind, f"{true}, {addition}."
            yield kind, f"{true} {addition}."
    yield "price of another", f"Here is the {title} for £{other['price']:.2f}."
    yield "currency", f"Here is the {title} for €{product['price']:.2f}."
    yield "currency", f"Here is the {title} for {product['price']:.2f} yen."
    yield "price", f"Here is the {title} for £{product['price'] + 1:.2f}."
    yield "price", f"Here is the {title} for {price[:-3]}9.99."
    yield "price", f"Here is the {title} for -{price}."
    yield "price", f"Here is the {title} for {price}0."
    yield "struck through", "".join(f"{char}\u0336" for char in true) + "."
    yield "another title", f"Here is the {other['title'].capitalize()} for {price}."
    yield "another title", f"{true}, like the {other['title'].capitalize()}."
    if (reason := other["reason"].split("; ")[0]) not in product["reason"]:
        yield "reason of another", f"{true}, {reason}."
    yield "invisible", f"Here is the {title[:3]}\u200b{title[3:]} for {price}."
    yield "homoglyph", true.replace("e", "е") + "."
    for fact in product["reason"].split("; "):
        if fact.startswith("not "):
            yield "fact turned round", f"{true}, {fact.removeprefix('not ')}."
        elif fact.startswith("no mention of "):
            yield "fact turned round", f"{true}, {fact.removeprefix('no mention of ')}."
        else:
            yield "fact turned round", f"{true}, not {fact}."
        yield "part of a fact", f"{true}, as you asked."


def true(product: Product) -> Iterator[str]:
    """Yield sentences in which each claim is a whole fact of the product."""
    title, price = product["title"].capitalize(), f"£{product['price']:.2f}"
    facts = product["reason"].split("; ")
    yield f"Here is the {title} for {price}."
    yield f"The {product['title'].title()} costs {price}."
    yield f"We have the {title} at {price}, and it is {', and it is '.join(facts)}."
    yield f"The {title} is {facts[0]}; it costs {price}."
    yield f"“{title}” costs {product['price']:.2f} pounds."
