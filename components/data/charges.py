"""Products that are none by their names: shipping, vouchers, discounts, totals, deposits, fees.

In: the valid interactions and items. Out: a note that is printed, with the setting that leaves them
out.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.schema import LINES

_WITHIN = (
    "shipping|shipment|postage|freight|versand|versandkosten|porto|fracht|frachtkosten|lieferkosten"
    "|livraison|frais de port|env[ií]o|spedizione|verzendkosten|verzending|wysyłka|frakt|fragt"
    "|doprava|kargo|送料|运费|運費|доставка"
    "|voucher|gutschein|coupon|gift ?card|geschenkkarte|geschenkgutschein|carte cadeau|bon d'achat"
    "|tarjeta regalo|buono regalo|cadeaubon|cadeaukaart|karta podarunkowa"
    "|discount|rabatt|nachlass|skonto|remise|descuento|sconto|korting|rabat|割引|折扣|скидка"
    "|subtotal|zwischensumme|gesamtsumme|gesamtbetrag|endsumme|小計|合計|总计|итого"
    "|anzahlung|kaution|flaschenpfand|acompte|cauzione|statiegeld|kaucja"
    "|surcharge|versandzuschlag|bearbeitungsgebühr|handling fee|service fee|delivery fee"
)
"""Words that say so within a short name."""
_WHOLE = (
    "total|sub total|grand total|sum|summe|gesamt|totale|suma|delivery|deposit|pfand|consigne"
    "|fianza|fee|fees|handling|tip|trinkgeld|tax|vat|mwst|ust|rounding|rundung|port|gebühr|zuschlag"
)
"""Words that say so only as the whole name."""
_PATTERN = rf"(?i)(?:^|[^\p{{L}}])(?:{_WITHIN})(?:[^\p{{L}}]|$)|^(?:{_WHOLE})[^\p{{L}}]*$"
_WORDS = 3
"""Words of a name at most: the title of a product may have such a word, too."""
_NEARLY_ALL = 0.5
"""Share of the customers that buy such a product of an item file."""
_SHOWN = 5


def charges(good: ir.Table, items: ir.Table) -> list[str]:
    """Return a note about products of the interactions whose ids or titles are of no products.

    A product of an item file is meant only if at least half of the customers have it.

    good: (item_id, user_id) of valid interactions. items: the valid items.
    """
    short = items.title.strip().split(" ").length() <= _WORDS
    named = items.item_id.re_search(_PATTERN) | (short & items.title.re_search(_PATTERN))
    meant = items.filter(named.fill_null(False)).select("item_id", "title", "source")
    counted = good.semi_join(meant, "item_id").group_by("item_id")
    bought = counted.aggregate(n=_.count(), users=_.user_id.nunique())
    found = meant.join(bought, "item_id").order_by([ibis.desc("n"), "item_id"]).execute()
    if found.empty:
        return []
    rows, users = good.aggregate(n=_.count(), users=_.user_id.nunique()).execute().iloc[0]
    found = found[(found["source"] == LINES) | (found["users"] >= _NEARLY_ALL * users)]
    if found.empty:
        return []
    listed = ", ".join(
        f"{one.item_id!r}"
        + (f" ({one.title})" if one.title and one.title != one.item_id else "")
        + f" with {one.n / rows:.0%} of the events"
        for one in found.head(_SHOWN).itertuples()
    )
    codes = ", ".join(f"'{one}'" for one in found["item_id"].head(_SHOWN))
    return [
        f"{len(found):,} products have names of shipping, vouchers, discounts, totals or fees: "
        f"{listed}: if they are no products, set validate.non_product_codes: [{codes}]"
    ]
