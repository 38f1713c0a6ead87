"""Dialogue moves: what to do with the proposals, "cheaper", "show more", "not that one", "why?"."""

from __future__ import annotations

from serving.conversation.amounts import NUMBER
from serving.conversation.message import Move, Text
from serving.conversation.product_references import ALL, ONE, place

NO_AMOUNT = rf"(?! than [£€$]?{NUMBER})"
"""Not followed by an amount: "cheaper than £5" is a budget."""

MOVES: list[tuple[Move, str]] = [
    (
        "restart",
        r"\b(?:start (?:over|again|anew)|new search|reset|forget (?:it|that|everything))\b",
    ),
    ("why", rf"\bwhy\b(?: (?:did you|do you|are you|have you))?(?: \w+)?(?: me)? ?(?:{ONE})?"),
    ("like", rf"\b(?:(?:more|something|anything|ones?|others?) like|similar to) {ONE}"),
    ("cheaper", rf"\b(?:cheaper|less expensive|lower (?:in )?pric\w+){NO_AMOUNT}(?: than {ONE})?"),
    ("cheaper", r"(?<!not )\btoo (?:expensive|dear|pricey|much(?: money)?)\b"),
    (
        "dearer",
        rf"\b(?:more expensive|pricier|dearer|better quality|fancier){NO_AMOUNT}(?: than {ONE})?",
    ),
    (
        "reject",
        rf"\b(?:not|no to|i don't (?:like|want)|don't (?:like|want)|remove) {ONE}(?! to\b)",
    ),
    ("reject", rf"\b(?:not|none of|i don't (?:like|want)|don't (?:like|want)) ?{ALL}"),
    (
        "more",
        r"\b(?:show (?:me )?(?:some )?(?:more|others?)|(?:any|some|see|the|something|anything)?"
        r" ?(?:others|other (?:ones|options|ideas|suggestions)|different ones)"
        r"|(?:something|anything|what) else|more (?:options|ideas|please|of (?:these|those|them))"
        r"|next(?: ones| page)?)\b|^more$",
    ),
    (
        "whatever",
        r"\b(?:no (?:idea|preference|clue)|not sure|(?:i )?don't (?:know|mind|care)"
        r"|surprise me|whatever|anything(?: (?:goes|is fine))?$|nothing in particular|up to you)\b",
    ),
    ("thanks", r"\b(?:no )?(?:thanks|thank you|thx|cheers|perfect|great|bye|goodbye)\b"),
    ("hello", r"^(?:hi|hello|hey|good (?:morning|afternoon|evening))\b(?: there)?"),
]


def understand_move(text: Text) -> None:
    """Take the message's move, the first that is found; thanks and greetings give way to others."""
    for move, pattern in MOVES:
        found = text.take(pattern)
        if not found:
            continue
        if text.understood.get("move") in (None, "thanks", "hello"):
            text.understood["move"] = move
            if (which := place(found)) is not None:
                text.understood["places"] = (which,)
        if move not in ("thanks", "hello"):
            text.take(r"\b(?:thanks|thank you|please)\b")
            return
