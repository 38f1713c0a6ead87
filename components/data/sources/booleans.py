"""The shop's words and numbers of pieces → whether an item is available."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.sources.cells import Cells
from components.data.sources.numbers import numbers
from components.settings import Source

_TRUE = (
    "true t yes y on ja j oui o si sí sim da tak evet kyllä "
    "available instock onstock active enabled published limitedavailability lowstock "
    "publish sofortlieferbar sofortverfügbar preorder preorderable 有货 在庫あり "
    "verfügbar verfugbar lieferbar auflager vorrätig disponible enstock disponibile disponivel "
    "disponível dostupné dostępny"
)
_FALSE = (
    "false f no n off nein non nao não nej nee nie ne hayır ei "
    "unavailable notavailable outofstock notinstock soldout inactive disabled draft archived "
    "nichtauflager nichtvorrätig derzeitnichtlieferbar zurzeitnichtlieferbar 缺货 在庫なし "
    "discontinued deleted ausverkauft nichtverfügbar nichtverfugbar nichtlieferbar vergriffen "
    "nondisponible indisponible épuisé epuise agotado esaurito esgotado nodisponible "
    "nondisponibile indisponível indisponivel niedostępny"
)
TRUE, FALSE = frozenset(_TRUE.split()), frozenset(_FALSE.split())
"""Words for yes and no, in small letters, without spaces and signs."""


def availability(cells: Cells, source: Source) -> ir.BooleanValue:
    """Return bool; null where there is no value or its word is unknown. A number is of pieces."""
    word = cells.text.lower().re_replace(r"^https?://schema\.org/", "").re_replace(r"[^\p{L}]", "")
    given = {name.strip().lower(): value for name, value in source.available.items()}
    own = cells.text.lower()
    pieces = numbers(cells, source)
    return ibis.cases(
        (own.isin([name for name, value in given.items() if value]), True),
        (own.isin([name for name, value in given.items() if not value]), False),
        (pieces.notnull(), pieces > 0),
        (cells.text.re_search(r"\d"), ibis.null("boolean")),  # "3 in stock" is no known word
        (word.isin(sorted(TRUE)), True),
        (word.isin(sorted(FALSE)), False),
        else_=ibis.null("boolean"),
    )
