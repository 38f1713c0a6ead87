"""Words by which claims are read: those that claim nothing, currencies, terms of sale.

The languages are those in which a writer may word answers. A further one is an entry of ``NAMES``
and of ``HARMLESS``, in ``WriterLanguage`` of the settings, and its terms of sale in ``PROMISE``.
"""

from __future__ import annotations

import re

from serving.conversation.vocabulary import words
from serving.languages import SYMBOLS

NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "zh": "Chinese"}
"""Languages, as a prompt names them, by ISO 639-1 code."""

HARMLESS = {
    "en": frozenset(
        words(
            """a an the this that these those it its they is are be here there have has i we you
            your me for of in at to with as and or also too but so because which cost costs word
            words called title titled product item idea"""
        )
    ),
    "de": frozenset(
        words(
            """der die das den dem des ein eine einen einem einer eines dies diese dieser dieses
            diesen hier ist sind es er sie ihr ihre ihnen ihren wir ich für von vom in im an am zu
            zum zur und oder auch wie da so aber kostet kosten hat haben wort wörter produkt artikel
            idee"""
        )
    ),
    "fr": frozenset(
        words(
            """le la les l un une des de du d ce cet cette ces c est sont il elle ils elles voici
            vous votre vos je pour et ou aussi avec dans en à au aux que qu qui comme mais coûte
            coûtent a ont mot produit article idée"""
        )
    ),
    "es": frozenset(
        words(
            """el la los las un una unos unas de del este esta estos estas es son aquí tiene tienen
            usted te le su sus para por con en a al y e o u también que como pero cuesta cuestan
            palabra producto artículo idea"""
        )
    ),
    "zh": frozenset(
        words("这 这款 这个 这里 这件 是 的 为 为您 在 和 与 也 您 你 有 售价 产品 商品 词")
    ),
}
"""Words that say nothing of a product, by language: no negation, comparison, number or price.

Nor do any of them together: with "on" and "us", "it is on us" would pass.
"""

JOINTS = {
    "en": frozenset(words("for of in at to with and or also too but so")),
    "de": frozenset(words("für von vom in im an am zu zum zur und oder auch so aber")),
    "fr": frozenset(words("de du des d pour et ou aussi avec dans en à au aux mais")),
    "es": frozenset(words("de del para por con en a al y e o u también pero")),
    "zh": frozenset(words("为 在 和 与 也")),
}
"""Of these words, those that join: between facts they claim nothing, within a fact they are part of
it. "Age 3 to 6" does not support "age 3 or 6"."""

CURRENCIES = {
    **{symbol: code for code, symbol in SYMBOLS.items()},
    "¥": "CNY",
    **{
        code.casefold(): code
        for code in (*SYMBOLS, "CNY", "CHF", "JPY", "PLN", "SEK", "NOK", "DKK")
    },
    **dict.fromkeys(("pound", "pounds", "pfund", "libra", "libras", "livre", "livres"), "GBP"),
    **dict.fromkeys(("euro", "euros"), "EUR"),
    **dict.fromkeys(("dollar", "dollars", "dólar", "dólares"), "USD"),
    **dict.fromkeys(("yuan", "rmb"), "CNY"),
}
"""Words and signs of currencies → ISO 4217."""

PROMISE = re.compile(
    r"\b(?:"
    r"free|gratis|discount\w*|sales?|bargain\w*|deals?|offer\w*|promo\w*|vouchers?|coupons?"
    r"|cashback|deliver\w*|shipping|shipped|shipment\w*|dispatch\w*|postage|stock|warrant\w*"
    r"|guarant\w*|refund\w*|returns|returnable|exchange\w*|reviews?|rated|ratings?|best-?sell\w*"
    r"|cheap\w*|clearance|complimentary|percent|off"
    r"|kostenlos\w*|kostenfrei\w*|umsonst|rabatt\w*|angebot\w*|reduziert\w*|sonderpreis\w*"
    r"|schnäppchen|günstig\w*|versand\w*|liefer\w*|lager|vorrätig|garanti\w*|gutschein\w*"
    r"|rückgabe\w*|erstatt\w*|bewert\w*|bestseller|geschenkt|prozent|frei"
    r"|gratuit\w*|offert\w*|remise\w*|soldes?|soldé\w*|rabais|réduction\w*|livraison\w*|livré\w*"
    r"|livrons|rembours\w*|expédi\w*|avis"
    r"|descuento\w*|oferta\w*|rebaja\w*|envíos?|entrega\w*|garant\w*|reembols\w*|devoluci\w*"
    r"|existencias|regalad\w*"
    r"|https?|www"
    r")\b"
    r"|免费|包邮|折扣|打折|[一二三四五六七八九\d]\s*折|优惠|特价|促销|赠送|白送|送货|快递|发货"
    r"|保修|保证|退款|退货|库存|现货|好评|热销|半价|便宜"
    r"|\w\.(?:com|net|org|io|shop|store|info|biz|ru|cn|de|fr|es|uk|eu)\b"
)
"""What no sentence of a writer may say, not even in a title: terms of sale, ratings, addresses."""
