"""The shop's words for events → the contract's."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.schema import EVENTS
from components.data.sources.cells import Cells
from components.settings import Source

IGNORE = "ignore"

WORDS = {
    "view": (
        "views viewed pv pageview viewitem itemview viewcontent viewproduct productview "
        "productviewed productdetail detail detailview viewitemdetail browse"
    ),
    "click": "clicks clicked selectitem itemclick productclick productclicked",
    "cart": (
        "addtocart addtobasket addtobag basket addcart cartadd incart carted productadded "
        "addedtocart fav favorite favourite wishlist addtowishlist begincheckout checkoutstarted"
    ),
    "purchase": (
        "purchases purchased buy buys bought order orders ordered ordercompleted transaction sale "
        "sold conversion checkoutcompleted completepurchase"
    ),
    "rating": "ratings rate rated review reviewed",
    "dislike": "dislikes disliked hide hides hidden thumbsdown notinterested downvote",
}
"""Common words by event, in small letters, without spaces and signs."""

VOCABULARY = {event: event for event in EVENTS} | {
    word: event for event, words in WORDS.items() for word in words.split()
}


def events(cells: Cells, source: Source) -> ir.StringValue:
    """Return one of EVENTS or IGNORE, null for an unknown word.

    An empty cell is the source's event.
    """
    given = {word.strip().lower(): event for word, event in source.events.items()}
    word = cells.text.lower()
    plain = word.re_replace(r"[\s_\-.:/]+", "")
    branches: list[tuple[ir.BooleanValue, str]] = [
        (word == ibis.literal(name), event) for name, event in given.items()
    ]
    branches += [
        (plain.isin([name for name, to in VOCABULARY.items() if to == event]), event)
        for event in EVENTS
    ]
    return ibis.cases((cells.text.isnull(), source.event), *branches, else_=ibis.null("string"))
