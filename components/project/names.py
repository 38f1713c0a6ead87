"""Names by which shops and public data sets call the columns of the contract.

Words of a name are compared without capitals and signs: ``CustomerID``, ``customer_id`` and
``Customer ID`` are one. Within a field, the more specific name comes first.
"""

from __future__ import annotations

import re

NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *(
            "user id",
            "customer id",
            "visitor id",
            "client id",
            "member id",
            "buyer id",
            "shopper id",
        ),
        *("account id", "customer number", "customer no", "customer unique id", "household id"),
        *("reviewer id", "user pseudo id", "kunden id", "kundennummer", "kunden nr", "id client"),
        *("id cliente", "numero client", "klantnummer", "user", "customer", "visitor", "client"),
        *(
            "member",
            "buyer",
            "shopper",
            "reviewer",
            "household",
            "kunde",
            "cliente",
            "klant",
            "uid",
        ),
        *("session id", "session", "email"),
    ),
    "item_id": (
        *("item id", "product id", "sku", "article id", "article number", "parent asin", "asin"),
        *("stock code", "variant sku", "product sku", "item sku", "product code", "item code"),
        *(
            "product number",
            "artikelnummer",
            "artikel nr",
            "artikel id",
            "lineitem sku",
            "movie id",
        ),
        *("book id", "isbn", "ean", "gtin", "upc", "id product", "id producto", "id produit"),
        *("referencia", "reference", "item", "product", "article", "artikel", "producto"),
        *("produit", "codigo", "code", "id", "handle", "pid", "iid"),
    ),
    "timestamp": (
        *("timestamp", "event time", "event timestamp", "order date", "ordered at", "purchased at"),
        *("order purchase timestamp", "invoice date", "created at", "purchase date", "transaction"),
        *("transaction timestamp", "transaction date", "date time", "datetime", "order time"),
        *(
            "time",
            "date",
            "ts",
            "t dat",
            "day",
            "bestelldatum",
            "bestellt am",
            "datum",
            "zeitpunkt",
        ),
        *("zeit", "fecha", "data", "date commande", "created", "when", "rated at", "visit time"),
        *("event date", "unix review time", "review time", "eventdate"),
    ),
    "event": (
        *("event", "event type", "event name", "action", "action type", "behavior", "behaviour"),
        *("behavior type", "interaction", "interaction type", "type", "kind", "ereignis", "aktion"),
        *("evento", "evenement"),
    ),
    "rating": (
        *("rating", "stars", "star rating", "overall", "score", "review score", "bewertung"),
        *("sterne", "note", "puntuacion", "nota"),
    ),
    "quantity": (
        *(
            "quantity",
            "qty",
            "units",
            "pieces",
            "lineitem quantity",
            "order quantity",
            "item count",
        ),
        *("menge", "anzahl", "stück", "stueck", "cantidad", "quantite", "quantité", "aantal"),
        *("quantita", "quantidade", "amount", "count"),
    ),
    "price": (
        *("price", "unit price", "item price", "sale price", "sales price", "lineitem price"),
        *("variant price", "list price", "regular price", "net price", "preis", "einzelpreis"),
        *("stückpreis", "verkaufspreis", "vk", "precio", "prix", "prix unitaire", "prezzo"),
        *("prijs", "preco", "amount", "value", "cost", "base price", "retail price"),
    ),
    "order_id": (
        *(
            "order id",
            "order number",
            "order no",
            "invoice",
            "invoice no",
            "invoice id",
            "basket id",
        ),
        *("transaction id", "receipt", "receipt id", "bestellnummer", "bestell nr", "rechnung"),
        *("auftragsnummer", "pedido", "commande", "order", "bestellung"),
    ),
    "status": (
        *("order status", "status", "financial status", "payment status", "order state", "state"),
        *("fulfillment status", "bestellstatus", "statut", "estado", "stato", "auftragsstatus"),
    ),
    "language": ("language", "language code", "lang", "locale", "sprache", "idioma", "langue"),
    "country": ("country", "country code", "land", "pays", "pais", "nation", "paese"),
    "title": (
        *("title", "product title", "product name", "item name", "name", "prod name", "product"),
        *("titel", "bezeichnung", "produktname", "artikelbezeichnung", "nombre", "nom", "titre"),
        *("nome", "naam", "lineitem name", "movie title", "label", "item title", "headline"),
        *("short description", "description"),
    ),
    "description": (
        *("description", "long description", "body html", "body", "detail desc", "details"),
        *("product description", "beschreibung", "langtext", "descripcion", "beschrijving"),
        *("descrizione", "text", "about product", "features"),
    ),
    "brand": (
        *("brand", "brand name", "manufacturer", "vendor", "maker", "marke", "hersteller", "marca"),
        *("marque", "merk", "publisher", "store", "label"),
    ),
    "categories": (
        *("categories", "category", "category path", "product category", "product type", "genres"),
        *("category name", "main category", "warengruppe", "kategorie", "kategorien", "categoria"),
        *("categorie", "catégorie", "department", "product group", "type", "section", "tags"),
        *("product group name", "product type name"),
    ),
    "currency": ("currency", "currency code", "währung", "waehrung", "moneda", "devise", "valuta"),
    "available": (
        *("available", "availability", "in stock", "is available", "stock", "stock status"),
        *("status", "active", "is active", "enabled", "published", "inventory", "stock quantity"),
        *("qty", "verfügbar", "verfuegbar", "lagerbestand", "bestand", "auf lager", "lieferbar"),
        *("disponible", "disponibilite", "voorraad", "variant inventory qty"),
    ),
    "text": (
        *(
            "text",
            "review text",
            "review",
            "review body",
            "body",
            "comment",
            "content",
            "reviewtext",
        ),
        *("review content", "review comment message", "kommentar", "bewertungstext", "comentario"),
        *("commentaire", "message", "opinion"),
    ),
    "category": ("category", "class name", "product category", "department name"),
}

EXACT = 1.0
PART = 0.5
"""Score of a name that has all words of a known one and others."""
_STEP = 0.005  # so that the first of two names of a field wins


def words(name: str) -> tuple[str, ...]:
    """Return the words of a column's name, in small letters.

    >>> words("CustomerID"), words("order_purchase-timestamp")
    (('customer', 'id'), ('order', 'purchase', 'timestamp'))
    """
    parts = re.sub(r"([a-zà-þß-ÿ0-9])([A-Z])", r"\1 \2", name)
    return tuple(re.findall(r"[^\W_]+", parts.lower()))


def likeness(field: str, column: str) -> float:
    """Return how well a column's name says that it is ``field``: 0 (not) to 1.

    >>> likeness("user_id", "Customer ID") > likeness("user_id", "session") > 0
    True
    >>> likeness("user_id", "price")
    0.0
    """
    own = words(column)
    joined = "".join(own)
    best = 0.0
    for rank, name in enumerate(NAMES.get(field, ())):
        if joined == name.replace(" ", ""):
            return EXACT - rank * _STEP
        if set(name.split()) <= set(own):
            best = max(best, PART - rank * _STEP)
    return best
