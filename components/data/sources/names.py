"""Names by which shops and public data sets call the columns of the contract.

Words of a name are compared without capitals and signs: ``CustomerID``, ``customer_id`` and
``Customer ID`` are one. Within a field, the more specific name comes first.
"""

from __future__ import annotations

import re
import unicodedata

from components.data.schema import CANCELLED, RETURNED
from components.data.sources.statuses import WORDS


def _listed(texts: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(" ".join(text.split()).split(", ")) for key, text in texts.items()}


_NAMES = {
    "user_id": """
        id klienta, klient, nr klienta, müşteri no, müşteri, zákazník, 顧客id, 会員id, user id,
        customer id, visitor id, client id, member id, buyer id, shopper id, account id,
        customer number, customer no, customer unique id, household id, reviewer id,
        user pseudo id, kunden id, kundennummer, kunden nr, id client, id cliente,
        numero client, klantnummer, user, customer, visitor, client, member, buyer, shopper,
        reviewer, household, kunde, cliente, klant, uid, session id, session, email, kundnummer,
        用户id, id клиента, klantnr, numero cliente, codice cliente, kundenr,
        domain user id, 买家会员名, 会员名, 会员id, 客户编号, 顧客番号, 会員番号, cookie id, cookie,
        device id
    """,
    "item_id": """
        id produktu, kod produktu, produkt, ürün kodu, ürün, 商品コード, 商品id, artikkel, item id,
        product id, sku, article id, article number, parent asin, asin, stock code, variant sku,
        product sku, item sku, product code, item code, product number, artikelnummer,
        artikel nr, artikel id, lineitem sku, movie id, book id, isbn, ean, gtin, upc,
        id product, id producto, id produit, referencia, reference, item, product, article,
        artikel, producto, produit, codigo, code, id, handle, pid, iid, artikelnr, varenr, 商品编号,
        产品编号, артикул, codice articolo, artikel code, produktnummer, line items sku,
        artnr, art nr, material, material number, materialnummer, matnr, produktnr, symbol, kod,
        kód, référence produit, référence article, product reference,
        商家编码, 商品编码, 商品管理番号, 品番, variant id, listing id, custom label, offer id
    """,
    "timestamp": """
        data zamówienia, data zakupu, sipariş tarihi, tarih, 注文日, 購入日, date ajout, timestamp,
        event time, event timestamp, order date, ordered at, purchased at,
        order purchase timestamp, invoice date, created at, purchase date, transaction,
        transaction timestamp, transaction date, date time, datetime, order time, time, date,
        ts, t dat, day, bestelldatum, bestellt am, datum, zeitpunkt, zeit, fecha, data,
        date commande, created, when, rated at, visit time, event date, unix review time,
        review time, eventdate, 下单时间, дата заказа, data ordine, orderdatum, ordredato,
        besteldatum,
        sale date, sold on, 订单付款时间, 付款时间, 订单创建时间, 创建时间, 注文日時, data złożenia,
        collector tstamp, server time, belegdatum, rechnungsdatum, auftragsdatum, kaufdatum,
        时间, 行为时间, 评价时间, 评论时间, レビュー日
    """,
    "event": """
        event, event type, event name, action, action type, behavior, behaviour, behavior type,
        interaction, interaction type, type, kind, ereignis, aktion, evento, evenement,
        行为类型, 行为, 事件类型, 事件, イベント
    """,
    "rating": """
        rating, stars, star rating, overall, score, review score, bewertung, sterne, note,
        puntuacion, nota,
        评分, 星级, 评级, 打分, 評価, 評点
    """,
    "quantity": """
        ilość, ilosc, sztuk, adet, miktar, 数量, množství, quantity, qty, units, pieces,
        lineitem quantity, order quantity, item count, menge, anzahl, stück, stueck, cantidad,
        quantite, quantité, aantal, quantita, quantidade, amount, count, количество, antal,
        antall,
        购买数量, 商品数量, 個数, quantity purchased, stk
    """,
    "price": """
        unit price tax incl, price tax incl, unit price incl tax,
        cena brutto, gross price, bruttopreis, preis brutto, vk brutto, price incl tax, prix ttc,
        cena, cena jednostkowa, fiyat, birim fiyat, 価格, 単価, prix unitaire ttc, price,
        unit price, item price, sale price, sales price, lineitem price, variant price,
        list price, regular price, net price, preis, einzelpreis, stückpreis, verkaufspreis, vk,
        precio, prix, prix unitaire, prezzo, prijs, preco, amount, value, cost, base price,
        retail price, 单价, 价格, 京东价, цена, prezzo unitario, pris, enhetspris,
        商品价格, sold for, vk netto, preis netto, unit net price
    """,
    "order_id": """
        nr zamówienia, numer zamówienia, sipariş no, 注文番号, číslo objednávky, order id,
        order number, order no, invoice, invoice no, invoice id, basket id, transaction id,
        receipt, receipt id, bestellnummer, bestell nr, rechnung, auftragsnummer, pedido,
        commande, order, bestellung, ordrenr, ordernr, 订单号, номер заказа, numero ordine,
        bestelnummer, 订单编号, 受注番号, auftragsnr, auftrag nr, idorder, belegnummer, belegnr,
        référence commande, auftrag, beleg, order reference
    """,
    "status": """
        order status, status, financial status, payment status, order state, state,
        fulfillment status, bestellstatus, statut, estado, stato, auftragsstatus,
        订单状态, 注文ステータス, ステータス, статус
    """,
    "language": """
        language, language code, lang, locale, sprache, idioma, langue
    """,
    "country": """
        country, country code, land, pays, pais, nation, paese
    """,
    "title": """
        nazwa, nazwa produktu, tytuł, ürün adı, 商品名, designation, název, title, product title,
        product name, item name, name, prod name, product, titel, bezeichnung, produktname,
        artikelbezeichnung, nombre, nom, titre, nome, naam, lineitem name, movie title, label,
        item title, headline, short description, description,
        宝贝标题, 商品名称, produit, producto, prodotto, nombre producto, artikelname,
        商品标题, 产品名称, 标题, 评价标题, タイトル
    """,
    "description": """
        description, long description, body html, body, detail desc, details,
        product description, beschreibung, langtext, descripcion, beschrijving, descrizione,
        text, about product, features,
        商品描述, 产品描述, 描述, 商品详情, 详情, 商品说明, 商品説明, 説明
    """,
    "brand": """
        brand, brand name, manufacturer, vendor, maker, marke, hersteller, marca, marque, merk,
        publisher, store, label,
        品牌, 品牌名称, 商标, ブランド, メーカー
    """,
    "categories": """
        categories, category, category path, product category, product type, genres,
        category name, main category, warengruppe, kategorie, kategorien, categoria, categorie,
        catégorie, department, product group, type, section, tags, product group name,
        product type name,
        类目, 商品类目, 商品分类, 分类, 类别, 品类, カテゴリ, カテゴリー
    """,
    "currency": """
        currency, currency code, währung, waehrung, moneda, devise, valuta,
        币种, 货币, 通貨
    """,
    "available": """
        available, availability, in stock, is available, stock, stock status, status, active,
        is active, enabled, published, inventory, stock quantity, qty, verfügbar, verfuegbar,
        lagerbestand, bestand, auf lager, lieferbar, disponible, disponibilite, voorraad,
        variant inventory qty,
        verfügbarkeit, verfuegbarkeit, disponibilité, disponibilidad, disponibilità,
        beschikbaarheid, dostępność, 库存, 在庫, availability status, stock level, lagerstand
    """,
    "image": """
        image, image url, image link, image src, image source, variant image, images, main image,
        picture, picture url, photo, photo url, thumbnail, thumbnail url, img, img url, bild,
        bild url, bildlink, foto, imagen, immagine, afbeelding, obraz, zdjęcie, resim, görsel,
        图片, 主图, 商品图片, 商品画像, 画像, изображение, картинка
    """,
    "url": """
        url, product url, item url, page url, link, product link, item link, permalink, deeplink,
        deep link, web url, produkt url, produktlink, lien, enlace, collegamento, 链接, 商品链接,
        商品url, ссылка
    """,
    "text": """
        text, review text, review, review body, body, comment, content, reviewtext,
        review content, review comment message, kommentar, bewertungstext, comentario,
        commentaire, message, opinion,
        评价内容, 评论内容, 评价, 评论, 内容, レビュー, 本文, コメント
    """,
    "category": """
        category, class name, product category, department name
    """,
}
NAMES = _listed(_NAMES)
"""Names of columns by the field of the contract."""

_TABLES = {
    "interactions": """
        orders, sales, events, interactions, transactions, purchases, invoices, lines, clicks,
        views, baskets, positions, bestellungen, aufträge, verkäufe, umsätze, rechnungen,
        commandes, ventes, pedidos, ventas, vendite, ordini, zamówienia, siparişler,
        bestellingen,
        订单, 行为, 交易, 销售, 注文, 売上
    """,
    "items": """
        items, products, catalogue, catalog, articles, skus, stock, artikel, produkte, katalog,
        sortiment, produits, productos, artículos, prodotti, articoli, produkty, ürünler,
        producten,
        商品, 产品, 商品信息, 製品
    """,
    "users": """
        users, customers, clients, members, accounts, kunden, klanten, clientes, clienti,
        klienci, müşteriler,
        用户, 会员, 客户, 顧客
    """,
    "reviews": """
        reviews, ratings, comments, bewertungen, rezensionen, avis, opiniones, recensioni,
        opinie, beoordelingen,
        评价, 评论, レビュー
    """,
}
TABLES = _listed(_TABLES)
"""Names of sheets and tables by the table of the contract."""

_GENERIC = "id code name type text label data count amount value note number status state date time"
GENERIC = frozenset((_GENERIC + " day body content title store").split())
"""Words that say nothing in a longer name: an order id is no item id."""

FILLERS = {"is", "has", "was", "been", "of", "order", "item", "product", "flag", "line"}
"""Words in the name of a column of yes and no besides the one that it is about."""

_MINOR_UNITS = (
    "cent cents ct cts minor pence penny rappen centimes centime centavos centavo centesimi "
    "grosz groszy ore öre øre haleru kopeken kopecks paise paisa kurus subunits"
)
MINOR_UNITS = frozenset(_MINOR_UNITS.split())
"""Words in the name of a column of prices in hundredths."""
_COMMON = "EUR USD GBP CHF PLN CZK SEK NOK DKK HUF RON BGN JPY CNY INR AUD CAD NZD BRL MXN ZAR KRW"
_CURRENCIES = frozenset(_COMMON.lower().split())
"""Codes of currencies that are no words of another meaning."""

OTHER_THINGS = {
    "user_id": "name type since group segment country city birth count address phone agent",
    "item_id": (
        "order customer user name type count group category row invoice session event parent"
    ),
    "timestamp": "birth birthday since dob modified shipped shipping delivery delivered due",
    "quantity": "discount stock min max refunded returned cancelled price tax total weight",
    "price": (
        "shipping discount tax order total cost compare old minimum freight refund purchase "
        "buying wholesale msrp ek einkauf einkaufspreis " + _MINOR_UNITS
    ),
    "available": "not out un min max reserved ordered incoming order managed manage tracked",
    "rating": "count helpful votes",
    "title": "seo meta review",
    "image": "alt text name id position width height count type",
    "url": "image picture photo img bild thumbnail video review key",
}
"""Words of a name that make it another thing, by field."""

EXACT = 1.0
PART = 0.5
"""Score of a name that has all words of a known one and others."""
_STEP = 0.004  # so that the first of two names of a field wins


def words(name: str) -> tuple[str, ...]:
    """Return the words of a column's name, in small letters without accents.

    >>> words("CustomerID"), words("order_purchase-timestamp"), words("Référence")
    (('customer', 'id'), ('order', 'purchase', 'timestamp'), ('reference',))
    """
    parts = re.sub(r"([a-zà-þß-ÿ0-9])([A-Z])", r"\1 \2", name)
    plain = unicodedata.normalize("NFKD", parts.lower().replace("ł", "l").replace("ı", "i"))
    return tuple(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c))))


KNOWN = frozenset("".join(words(name)) for names in NAMES.values() for name in names)
"""All names, their words joined."""
STATES = {state: frozenset(words(WORDS[state])) for state in (CANCELLED, RETURNED)}
"""Words in the name of a column or file that may say that purchases do not stand, by state."""


def currency_of(column: str) -> str:
    """Return the code of the currency that a column's name has, "" for none or several.

    >>> currency_of("Price (USD)"), currency_of("price_eur"), currency_of("price")
    ('USD', 'EUR', '')
    """
    found = _CURRENCIES & set(words(column))
    return next(iter(found)).upper() if len(found) == 1 else ""


def likeness(field: str, column: str) -> float:
    """Return how well a column's name says that it is ``field``: 0 (not) to 1.

    >>> likeness("user_id", "Customer ID") > likeness("user_id", "session") > 0
    True
    >>> likeness("user_id", "price"), likeness("price", "shipping price")
    (0.0, 0.0)
    """
    own = words(column)
    joined = "".join(own)
    best = 0.0
    for rank, name in enumerate(NAMES.get(field, ())):
        known = words(name)
        if joined in ("".join(known), "".join(reversed(known))):
            return EXACT - rank * _STEP
        part = set(known) <= set(own) or "".join(known) in own
        if part and not set(known) <= GENERIC:
            best = max(best, PART - rank * _STEP)
    others = set(OTHER_THINGS.get(field, "").split())
    return 0.0 if others & set(own) else best
