"""The languages of the pages and of the answers: texts, plural forms, amounts, lists.

In: ``serving/locale``, one gettext catalogue (``de.po``) a language, and an ``Accept-Language``
header. Out: a ``Language``. The texts in the code are English; a text that a catalogue lacks stays
English. A new language is one new file; docs/serving.md says how it is made.

    >>> german = language("de")
    >>> german.ngettext("{n} product", "{n} products", 3)
    '3 Produkte'
    >>> negotiated("pt, de-AT;q=0.9, en;q=0.5").code
    'de'
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from babel import Locale, negotiate_locale
from babel.lists import format_list
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency

LOCALE = Path(__file__).with_name("locale")
SOURCE = "en"
"""Language of the texts in the code."""
AUTO = "auto"
"""Value of ``serve.language`` with which the request's Accept-Language decides."""
LONGEST_HEADER = 500
"""Characters of Accept-Language that are read."""

SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
"""Of currencies that a shopper knows by their symbols."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SAMPLES = (*range(200), 1_000_000)
"""Whole numbers among which each plural category of CLDR has one."""


class Language:
    """One language. ``gettext`` and ``ngettext`` fill the placeholders ``{name}`` of a text.

    code: its BCP 47 tag. direction: ``ltr`` or ``rtl``.
    """

    def __init__(self, code: str, catalogue: Catalog | None = None) -> None:
        self.code = code
        # British: as the English texts are written, "red, blue and green" without a last comma.
        self._locale = Locale.parse("en-GB" if code == SOURCE else code, sep="-")
        self.direction = self._locale.text_direction
        self._texts = _compiled(catalogue)
        self._catalogue = catalogue

    def gettext(self, text: str, **values: object) -> str:
        """Return the translation of ``text``, with its placeholders filled."""
        return _filled(self._texts.gettext(text), values)

    def ngettext(self, one: str, many: str, n: int, **values: object) -> str:
        """Return the translation in the plural form of ``n``, which also fills ``{n}``."""
        return _filled(self._texts.ngettext(one, many, n), {"n": n, **values})

    def money(self, amount: float, currency: str) -> str:
        """Return an amount as prices are written; whole amounts without decimals.

        >>> language("en").money(12.0, "EUR"), language("de").money(4.5, "EUR")
        ('€12', '4,50\\xa0€')
        """
        if not currency or self.code == SOURCE:
            number = f"{amount:.2f}".removesuffix(".00")
            symbol = SYMBOLS.get(currency)
            return f"{symbol}{number}" if symbol else f"{number} {currency}".strip()
        # "£", where a locale would write "£GB" or "GBP" to tell it from other pounds.
        pattern = self._locale.currency_formats["standard"].pattern
        pattern = pattern.replace("¤", SYMBOLS.get(currency, "¤"))
        is_whole = f"{amount:.2f}".endswith(".00")
        return format_currency(
            amount,
            currency,
            pattern.replace(".00", "") if is_whole else pattern,
            self._locale,
            currency_digits=not is_whole,
        )

    def listed(self, words: Sequence[str], last: Literal["and", "or"] = "and") -> str:
        """Return words as a list in a sentence. last: before its last word.

        >>> language("en").listed(["red", "blue", "green"], "or")
        'red, blue or green'
        """
        if not words:
            return ""
        return format_list(words, "or" if last == "or" else "standard", self._locale)

    @property
    def messages(self) -> dict[str, str | dict[str, str]]:
        """The translations as the pages' scripts take them: of each text one, or one by plural
        category of CLDR (``Intl.PluralRules``)."""
        found: dict[str, str | dict[str, str]] = {}
        for message in self._catalogue or ():
            if isinstance(message.id, str):
                if message.id and message.string and not message.fuzzy:
                    found[message.id] = str(message.string)
            elif all(message.string or ()) and not message.fuzzy:
                one, many = message.id
                found[one] = self._forms(one, many)
        return found

    def _forms(self, one: str, many: str) -> dict[str, str]:
        category = self._locale.plural_form
        of_category = {category(n): n for n in reversed(_SAMPLES)}
        return {name: self._texts.ngettext(one, many, n) for name, n in of_category.items()}


def _compiled(catalogue: Catalog | None) -> gettext.NullTranslations:
    if catalogue is None:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _filled(text: str, values: Mapping[str, object]) -> str:
    """Return a text with its placeholders filled, once: a value may hold braces."""
    return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), text)


ENGLISH = Language(SOURCE)


@cache
def languages() -> dict[str, Language]:
    """Return the languages by their codes: English, then those of ``serving/locale``.

    Raises:
        ValueError: a file is no catalogue, or its name no language.
    """
    found = {SOURCE: ENGLISH}
    for file in sorted(LOCALE.glob("*.po")):
        code = file.stem.replace("_", "-")
        try:
            with file.open("rb") as opened:
                found[code] = Language(code, read_po(opened, locale=code.replace("-", "_")))
        except Exception as error:  # of Babel's parsers
            raise ValueError(f"{file}: {error}") from error
    return found


def language(code: str) -> Language:
    """Return a language by its code; KeyError without a catalogue of it."""
    return languages()[code]


def check_setting(code: str) -> None:
    """Return if ``serve.language`` has a catalogue, or is ``auto``.

    Raises:
        ValueError: it has none; the message lists those there are.
    """
    if code not in (AUTO, *languages()):
        known = ", ".join((AUTO, *sorted(languages())))
        raise ValueError(f"serve.language: no catalogue of {code!r}; choose one of {known}")


@lru_cache(1_000)
def negotiated(header: str) -> Language:
    """Return the language that an ``Accept-Language`` header likes best; English if none fits."""
    by_tag = {code.lower(): one for code, one in languages().items()}
    tags = _preferred(header[:LONGEST_HEADER])
    return by_tag[(negotiate_locale(tags, list(by_tag), sep="-") or SOURCE).lower()]


def _preferred(header: str) -> list[str]:
    """Return the language tags of an ``Accept-Language`` header, the most wanted first.

    >>> _preferred("fr;q=0.5, de-CH, en;q=0, *;q=0.1")
    ['de-CH', 'fr', '*']
    """
    weighed = []
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        found = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", weight)
        quality = float(found[1]) if found else 1.0
        if tag.strip() and quality:
            weighed.append((quality, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda one: -one[0])]
