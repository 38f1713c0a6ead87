"""Amounts of money in a text: "£5", "ten quid", "a fiver", "50p"."""

from __future__ import annotations

import re

from serving.conversation.message import Text
from serving.conversation.vocabulary import words

MAX_AMOUNT = 1e7

_NUMBERS = {
    **{word: n for n, word in enumerate(words("one two three four five six seven eight nine"), 1)},
    **{"ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40},
    **{"fifty": 50, "sixty": 60, "eighty": 80, "a hundred": 100, "hundred": 100},
    **{"a fiver": 5, "a tenner": 10, "fiver": 5, "tenner": 10},
}
_CURRENCIES = {
    "GBP": r"£|pounds?|quid|gbp|pence|p|fiver|tenner",
    "EUR": r"€|euros?|eur|cents?",
    "USD": r"\$|dollars?|bucks|usd",
}
UNIT = r"(?:£|€|\$|(?:pounds?|quid|gbp|pence|euros?|eur|dollars?|bucks|usd|cents?|p)\b)"
NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:[.,]\d{{1,2}})?|(?:{'|'.join(_NUMBERS)})\b)"
# Ages, sizes and counts are no amounts; nor is the first half of a number.
_NO_MONEY = (
    r"(?![\w.,]*\d| ?(?:years?|yrs?|months?|weeks?|days?|hours?|cm|mm|m|inch\w*|kg|g|ml|l|people"
    r"|persons|pieces|pcs|tiers?|x|%)\b)"
)


def money(name: str, marked: bool = False) -> str:
    """Return the pattern of an amount, with groups that begin with ``name``.

    marked: only with a currency.
    """
    sign_first = rf"(?P<{name}_sign>[£€$]) ?(?P<{name}_0>{NUMBER})"
    unit_last = rf"\b(?P<{name}_1>{NUMBER}) ?(?P<{name}_unit>{UNIT})"
    named = rf"\b(?P<{name}_2>(?:a )?(?:fiver|tenner))\b"
    bare = rf"|\b(?P<{name}_3>{NUMBER}){_NO_MONEY}"
    return f"(?:{sign_first}|{unit_last}|{named}{'' if marked else bare})"


def amount(text: Text, found: re.Match[str], *names: str) -> float:
    """Return the amount that one of the ``money`` groups holds, and note its currency."""
    groups = found.groupdict()
    name, spelt = next(
        (name, groups[f"{name}_{n}"])
        for name in names
        for n in range(4)
        if groups.get(f"{name}_{n}")
    )
    unit = groups.get(f"{name}_sign") or groups.get(f"{name}_unit") or spelt.removeprefix("a ")
    for currency, pattern in _CURRENCIES.items():
        if re.fullmatch(pattern, unit):
            text.understood["currency"] = currency
    if spelt in _NUMBERS:
        value = float(_NUMBERS[spelt])
    elif re.fullmatch(r"\d+,\d{1,2}", spelt):
        value = float(spelt.replace(",", "."))
    else:
        value = float(spelt.replace(",", ""))
    return min(value / 100 if unit in ("p", "pence", "cent", "cents") else value, MAX_AMOUNT)
