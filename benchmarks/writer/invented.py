"""An independent rule: what of a sentence is not in a product's facts.

It shares no code with ``serving/conversation/claims.py`` and looks from the other side: not "is all
of it a fact?", but "which of the things that models invent does it hold?" – by regular expressions
on the plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

COLOURS = """red blue green yellow pink purple orange black white grey gray brown cream ivory gold
golden silver turquoise navy beige lilac lavender violet bronze copper multicoloured colourful"""
MATERIALS = """wood wooden metal glass ceramic porcelain paper plastic cotton leather felt enamel
zinc tin crystal wool velvet steel iron brass wicker bamboo acrylic silk linen stone rubber"""
SIZES = "small large big mini medium tiny tall short long giant huge jumbo wide narrow slim compact"
PEOPLE = """baby babies child children childs kids boy boys girl girls toddler adult adults man men
woman women mum dad mother father him her teen teens years year age ages aged"""
PROMISES = """free gratis discount discounted sale offer offers deal bargain cheap cheaper cheapest
best better finest top bestseller popular famous luxury luxurious premium quality rare exclusive
limited new handmade original authentic safe durable guarantee guaranteed warranty delivery shipping
stock available refund return returns rated review reviews stars washable waterproof eco organic
vegan recycled personalised perfect ideal recommended kostenlos gratuit rabatt versand oferta"""
LEXICON = frozenset(f"{COLOURS} {MATERIALS} {SIZES} {PEOPLE} {PROMISES}".split())
PLAIN = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "for",
        "from",
        "has",
        "have",
        "here",
        "i",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "so",
        "that",
        "the",
        "their",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "we",
        "which",
        "with",
        "you",
        "your",
        "word",
        "words",
        "costs",
        "cost",
        "price",
        "title",
        "named",
        "called",
        "product",
        "item",
        "also",
        "too",
        "both",
        "each",
        "one",
    ]
)
"""Words of English that name no property."""


def runs(text: str, length: int = 3) -> set[str]:
    """Return the runs of ``length`` words of a text."""
    words = re.findall(r"[a-z0-9]+", text.lower().replace("'", "").replace("’", ""))
    return {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}


def title_runs(titles: Iterable[str]) -> set[str]:
    """Return all runs of three words of a catalogue's titles."""
    found: set[str] = set()
    for title in titles:
        found |= runs(title)
    return found


def invented(sentence: str, product: Mapping[str, Any], catalogue: set[str]) -> list[str]:
    """Return what a sentence about a product says that its title, price and reason do not.

    catalogue: of ``title_runs``.
    """
    title, reason = str(product["title"]).lower(), str(product["reason"]).lower()
    price = f"{product['price']:.2f}"
    near = {f"{product['price'] + step:.2f}" for step in (-0.001, 0.001)}
    text = sentence.lower().replace("’", "'")
    known = set(re.findall(r"[a-z]+", f"{title} {reason}".replace("'", "")))
    found = []
    numbers = set(re.findall(r"\d+(?:\.\d+)?", f"{title} {reason} {price}")) | near
    for number in re.findall(r"\d+(?:\.\d+)?", text):
        if number not in numbers:
            found.append(f"number {number}")
    for amount in re.findall(
        r"\b(?:for|costs?|price(?:d at| of)?|only|just) £(\d+(?:\.\d+)?)", text
    ):
        if amount not in near:
            found.append(f"price {amount}")
    for limit in re.findall(r"\b(?:within|up to|from|under|over|below) £\d+(?:\.\d+)?", text):
        if limit not in reason:
            found.append(f"limit {limit}")
    for run in runs(sentence) & catalogue:
        if run not in runs(title) | runs(reason):
            found.append(f"title {run}")
    words = re.findall(r"[a-z]+", text.replace("'", ""))
    found += [f"word {word}" for word in words if word in LEXICON and word not in known]
    found += [f"unknown {word}" for word in words if word not in known | PLAIN | LEXICON]
    plain_reason = re.sub(r"\b(?:a|an|the) ", "", reason)
    for denied in re.findall(r"\b(?:not|no|without|never) (?:a |an |the )?(\w+)", text):
        if f"not {denied}" not in plain_reason and f"no {denied}" not in plain_reason:
            found.append(f"denied {denied}")
    for asked in re.findall(r"(\w+), as you asked", text):
        if f"{asked}, as you asked" not in reason:
            found.append(f"asked {asked}")
    for suited in re.findall(r"[“\"](.+?)[”\"] suits ([a-z ]+)", text):
        if f"“{suited[0]}” suits {suited[1].strip()}" not in reason:
            found.append(f"suits {suited[0]}")
    if re.search(r"[<>\[\]{}|\\*_#@]|http|www\.|[^\x20-\x7e£€“”‘’–]", sentence):
        found.append("markup")
    return found
