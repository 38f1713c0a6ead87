"""Presets of shop systems on small files of the exact shapes of their exports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.settings import Settings
from tests.components.project.preset_runs import (
    Files,
    as_lines,
    at,
    gzipped,
    hashed,
    parquet,
    run,
    table,
)

# Shopify

SHOPIFY_ORDERS = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,"
    "Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,"
    "Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem compare at price,"
    "Lineitem sku,"
    "Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,Billing Name,"
    "Billing Street,Billing Address1,Billing Address2,Billing Company,Billing City,Billing Zip,"
    "Billing Province,Billing Country,Billing Phone,Shipping Name,Shipping Street,"
    "Shipping Address1,Shipping Address2,Shipping Company,Shipping City,Shipping Zip,"
    "Shipping Province,Shipping Country,Shipping Phone,Notes,Note Attributes,Cancelled at,"
    "Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,Employee,Location,"
    "Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax 1 Name,Tax 1 Value,Tax 2 Name,"
    "Tax 2 Value,Tax 3 Name,Tax 3 Value,Tax 4 Name,Tax 4 Value,Tax 5 Name,Tax 5 Value,Phone,"
    "Receipt Number,Duties,Billing Province Name,Shipping Province Name,Payment ID,"
    "Payment Terms Name,Next Payment Due At,Payment References"
)
SHOPIFY_PRODUCTS = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,"
    "Option1 Value,Option1 Linked To,Option2 Name,Option2 Value,Option2 Linked To,Option3 Name,"
    "Option3 Value,Option3 Linked To,Variant SKU,Variant Grams,Variant Inventory Tracker,"
    "Variant Inventory Qty,Variant Inventory Policy,Variant Fulfillment Service,Variant Price,"
    "Variant Compare At Price,Variant Requires Shipping,Variant Taxable,Variant Barcode,Image Src,"
    "Image Position,Image Alt Text,Gift Card,SEO Title,SEO Description,Variant Image,"
    "Variant Weight Unit,Variant Tax Code,Cost per item,Status"
)


def order(name: str, email: str, created: str, status: str = "paid", **more: Any) -> dict[str, Any]:
    """Return what only the first line of a Shopify order has."""
    return {
        "Name": name,
        "Email": email,
        "Financial Status": status,
        "Created at": created,
        "Currency": "EUR",
        "Shipping Country": "DE",
        "Source": "web",
        **more,
    }


def line(name: str, sku: str = "", quantity: int = 1, price: str = "10.00") -> dict[str, Any]:
    """Return what every line of a Shopify order has."""
    return {
        "Lineitem quantity": quantity,
        "Lineitem name": name,
        "Lineitem price": price,
        "Lineitem sku": sku,
        "Lineitem requires shipping": "true",
    }


def shopify() -> Files:
    berlin = "2024-05-01 10:00:00 +0200"
    orders = [
        order("#1001", "Ann@Shop.example", berlin) | line("Tea Mug - Large / Red", "MUG-L-R", 2),
        # continuation lines: only the name and the email are repeated …
        {"Name": "#1001", "Email": "Ann@Shop.example"}
        | line("Tea Mug - Small / Red", "MUG-S-R", 1, "7.00"),
        {"Name": "#1001", "Email": "Ann@Shop.example"} | line("Green Tea", "", 3, "4.50"),
        # … or not even these
        order("#1002", "bob@shop.example", "2024-05-02 23:30:00 -0400") | line("Green Tea"),
        line("Tea Mug - Huge / Blue", "GONE-1", 1, "12.00"),
        line("Tip", "", 1, "1.00"),
        order("#1003", "ann@shop.example", berlin, "refunded") | line("Green Tea"),
        order("#1004", "ann@shop.example", berlin, "voided") | line("Green Tea"),
        order("#1005", "ann@shop.example", berlin, **{"Cancelled at": berlin}) | line("Green Tea"),
        order(
            "#1006",
            "cat@shop.example",
            "2024-05-03 08:00:00 +0200",
            "partially_refunded",
            **{"Refunded Amount": "4.50"},
        )
        | line("Old Pot", "POT"),
        order("#1007", "", "2024-05-04 08:00:00 +0200", **{"Phone": "+49 30 1"})
        | line("Green Tea"),
        order("#1008", "", "2024-05-05 08:00:00 +0200", **{"Source": "pos"}) | line("Green Tea"),
    ]
    mug = {"Handle": "tea-mug"}
    products = [
        mug
        | {
            "Title": "Tea Mug",
            "Body (HTML)": '<p class="x">Stoneware &amp; glaze.</p>\n<ul><li>Dishwasher</li></ul>',
            "Vendor": "Kiln & Co",
            "Product Category": "Home & Garden > Kitchen & Dining > Tableware",
            "Type": "Mugs",
            "Tags": "mug, stoneware",
            "Published": "true",
            "Option1 Name": "Size",
            "Option1 Value": "Large",
            "Option2 Name": "Colour",
            "Option2 Value": "Red",
            "Variant SKU": "MUG-L-R",
            "Variant Price": "10.00",
            "Variant Inventory Tracker": "shopify",
            "Variant Inventory Qty": "0",
            "Variant Inventory Policy": "deny",
            "Image Src": "https://cdn.example/1.jpg",
            "Image Position": "1",
            "Gift Card": "false",
            "Status": "active",
        },
        mug
        | {
            "Option1 Value": "Small",
            "Option2 Value": "Red",
            "Variant SKU": "MUG-S-R",
            "Variant Price": "7.00",
            "Variant Inventory Tracker": "shopify",
            "Variant Inventory Qty": "5",
            "Variant Inventory Policy": "deny",
        },
        mug | {"Image Src": "https://cdn.example/2.jpg", "Image Position": "2"},
        *[
            {
                "Handle": handle,
                "Title": title,
                "Vendor": "Leaf",
                "Type": "Tea",
                "Published": published,
                "Option1 Name": "Title",
                "Option1 Value": "Default Title",
                "Variant SKU": sku,
                "Variant Price": price,
                "Variant Inventory Tracker": tracker,
                "Variant Inventory Qty": quantity,
                "Variant Inventory Policy": "deny",
                "Status": status,
            }
            for handle, title, sku, price, published, status, tracker, quantity in [
                ("green-tea", "Green Tea", "", "4.50", "true", "active", "", ""),
                ("old-pot", "Old Pot", "POT", "30.00", "true", "archived", "", ""),
                ("new-pot", "New Pot", "POT-2", "35.00", "false", "draft", "", ""),
                ("black-tea", "Black Tea", "BT", "5.00", "true", "active", "shopify", "0"),
            ]
        ],
    ]
    return {
        "orders_export_1.csv": table(SHOPIFY_ORDERS, orders),
        "products_export_1.csv": table(SHOPIFY_PRODUCTS, products),
    }


def test_shopify(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "shopify", shopify(), max_bad_share=0.3)
    ann, bob, cat = (hashed(f"{name}@shop.example") for name in ("ann", "bob", "cat"))
    may1, may3 = at("2024-05-01 08:00"), at("2024-05-03 03:30")
    assert shop.events("user_id", "item_id", "timestamp", "order_id", "quantity", "price") == [
        (ann, "green-tea", may1, "#1001", 3, 4.5),
        (ann, "tea-mug", may1, "#1001", 3, 9),  # two variants: (2 * 10 + 7) / 3
        (bob, "green-tea", may3, "#1002", 1, 10),
        (bob, "tea-mug", may3, "#1002", 1, 12),  # a variant that is gone
        (cat, "old-pot", at("2024-05-03 06:00"), "#1006", 1, 10),
        (hashed("+49 30 1"), "green-tea", at("2024-05-04 06:00"), "#1007", 1, 10),
    ]
    assert shop.reasons() == {
        "cancelled": 2,
        "returned": 1,
        "not in the catalogue": 1,
        "no customer": 1,
    }
    assert set(shop.valid["users"]["country"]) == {"DE"}
    mug = shop.item("tea-mug")
    assert mug["title"] == "Tea Mug"
    assert mug["brand"] == "Kiln & Co"
    assert mug["description"].startswith("Stoneware & glaze.")
    assert "<" not in mug["description"]
    assert mug["description"].endswith("mug, stoneware")
    assert mug["categories"] == ["Home & Garden", "Kitchen & Dining", "Tableware"]
    assert mug["price"] == 7
    assert mug["available"]  # the small one
    assert shop.item("green-tea")["categories"] == ["Tea"]
    available = shop.valid["items"].set_index("item_id")["available"].to_dict()
    assert available == {
        "tea-mug": True,
        "green-tea": True,
        "old-pot": False,
        "new-pot": False,
        "black-tea": False,
    }
    assert shop.report["items"]["quarantined"] == 0


@pytest.mark.slow
def test_shopify_newer_names_of_the_products_columns(settings: Settings, tmp_path: Path) -> None:
    header = (
        "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,"
        "Status,SKU,Barcode,Option1 name,Option1 value,Option1 Linked To,Option2 name,"
        "Option2 value,Option2 Linked To,Option3 name,Option3 value,Option3 Linked To,"
        "Price,Compare-at price,Cost per item,Charge tax,Tax code,Inventory tracker,"
        "Inventory quantity,"
        "Continue selling when out of stock,Weight value (grams),Weight unit for display,"
        "Requires shipping,Fulfillment service,Product image URL,Image position,Image alt text,"
        "Variant image URL,Gift card,SEO title,SEO description"
    )
    rows = [
        {
            "URL handle": "tea-mug",
            "Title": "Tea Mug",
            "Description": "<p>Stoneware</p>",
            "Published on online store": "TRUE",
            "Status": "Active",
            "SKU": "MUG-L-R",
            "Option1 name": "Size",
            "Option1 value": "Large",
            "Price": "10.00",
            "Inventory tracker": "shopify",
            "Inventory quantity": "3",
            "Continue selling when out of stock": "DENY",
        }
    ]
    files = shopify() | {"products_export_1.csv": table(header, rows)}
    shop = run(settings, tmp_path, "shopify", files, max_bad_share=0.3, min_known_items=0.1)
    assert shop.item("tea-mug")["available"]
    assert [item for (item,) in shop.events("item_id")] == ["tea-mug", "tea-mug"]


@pytest.mark.slow
def test_shopify_takes_an_order_from_the_last_file_that_has_it(
    settings: Settings, tmp_path: Path
) -> None:
    berlin = "2024-05-01 10:00:00 +0200"
    later = [
        order("#1001", "ann@shop.example", berlin, "refunded") | line("Green Tea"),
        order("#1009", "ann@shop.example", berlin) | line("Green Tea"),
    ]
    files = shopify() | {"orders_export_2.csv": table(SHOPIFY_ORDERS, later)}
    shop = run(settings, tmp_path, "shopify", files, max_bad_share=0.3)
    orders = {order_id for (order_id,) in shop.events("order_id")}
    assert orders == {"#1002", "#1006", "#1007", "#1009"}


@pytest.mark.slow
def test_shopify_takes_products_from_the_last_file_and_knows_a_second_download(
    settings: Settings, tmp_path: Path
) -> None:
    berlin = "2024-05-01 10:00:00 +0200"

    def orders(n: int, status: str) -> str:
        return table(
            SHOPIFY_ORDERS,
            [order("#1001", f"n{n}@shop.example", berlin, status) | line("Old Tea")],
        )

    def products(title: str, price: str, *skus: str) -> str:
        first = {"Title": title, "Vendor": "Leaf", "Published": "true", "Status": "active"}
        rows = [
            {"Handle": "tea", "Variant SKU": sku, "Variant Price": price, "Option1 Value": sku}
            for sku in skus
        ]
        return table(SHOPIFY_PRODUCTS, [rows[0] | first, *rows[1:]])

    files: Files = {
        "orders_export.csv": orders(0, "refunded"),
        "orders_export (2).csv": orders(2, "refunded"),
        "orders_export (10).csv": orders(10, "paid"),
        "products_export_9.csv": products("Old Tea", "1.00", "A", "B"),
        "products_export_10.csv": products("New Tea", "4.00", "A"),
    }
    shop = run(settings, tmp_path, "shopify", files)
    assert shop.events("user_id", "item_id") == [(hashed("n10@shop.example"), "tea")]
    assert (shop.item("tea")["title"], shop.item("tea")["price"]) == ("New Tea", 4)


@pytest.mark.slow
def test_shopify_orders_in_another_currency_need_rates(settings: Settings, tmp_path: Path) -> None:
    files = shopify()
    header, first, rest = str(files["orders_export_1.csv"]).split("\n", 2)
    dollars = first.replace(",EUR,", ",USD,")
    assert dollars != first
    files["orders_export_1.csv"] = "\n".join([header, dollars, rest])
    with pytest.raises(ValueError, match=r"USD.*currency_rates"):
        run(settings, tmp_path, "shopify", files)


# WooCommerce

WOO_PRODUCTS = (
    'ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Published,"Is featured?","Visibility in catalog",'
    '"Short description",Description,"Date sale price starts","Date sale price ends","Tax status",'
    '"Tax class","In stock?",Stock,"Low stock amount","Backorders allowed?","Sold individually?",'
    '"Weight (kg)","Length (cm)","Width (cm)","Height (cm)","Allow customer reviews?",'
    '"Purchase note","Sale price","Regular price",Categories,Tags,"Shipping class",Images,'
    '"Download limit","Download expiry days",Parent,"Grouped products",Upsells,Cross-sells,'
    '"External URL","Button text",Position,Brands'
)


def woo_order(number: int, customer: int, status: str, *lines: dict[str, Any], **more: Any) -> Any:
    """Return an order as GET /wp-json/wc/v3/orders has it."""
    return {
        "id": number,
        "parent_id": 0,
        "number": str(number),
        "order_key": f"wc_order_{number}",
        "created_via": "checkout",
        "status": status,
        "currency": "EUR",
        "date_created": "2024-03-22T17:28:02",
        "date_created_gmt": "2024-03-22T16:28:02",
        "date_modified_gmt": "2024-03-22T16:28:08",
        "discount_total": "0.00",
        "total": "29.35",
        "prices_include_tax": False,
        "customer_id": customer,
        "billing": {
            "first_name": "Ann",
            "country": "AT",
            "email": "Ann@shop.example",
            "phone": "1",
        },
        "shipping": {"first_name": "Ann", "country": "AT"},
        "payment_method": "bacs",
        "date_paid_gmt": None,
        "meta_data": [{"id": 1, "key": "_x", "value": {"a": 1}}],
        "line_items": list(lines),
        "tax_lines": [],
        "shipping_lines": [{"id": 9, "method_title": "Flat Rate", "total": "10.00"}],
        "coupon_lines": [],
        "refunds": [],
        **more,
    }


def woo_line(product: int, quantity: int, total: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 315,
        "name": "Woo Single #1",
        "product_id": product,
        "variation_id": 0,
        "quantity": quantity,
        "tax_class": "",
        "subtotal": total,
        "total": total,
        "total_tax": "1.35",
        "taxes": [{"id": 75, "total": "1.35", "subtotal": "1.35"}],
        "meta_data": [],
        "sku": "",
        "price": 3,
        **more,
    }


def woocommerce() -> Files:
    orders = [
        woo_order(
            727,
            5,
            "completed",
            woo_line(93, 2, "6.00"),
            woo_line(22, 1, "12.00", variation_id=23),
            woo_line(22, 1, "14.00", variation_id=24),
        ),
        woo_order(728, 0, "processing", woo_line(93, 1, "3.00")),
        woo_order(729, 5, "cancelled", woo_line(93, 1, "3.00")),
        woo_order(730, 5, "refunded", woo_line(93, 1, "3.00")),
        woo_order(731, 6, "on-hold", woo_line(0, 1, "3.00", sku="OLD", name="Old")),
        woo_order(732, 6, "pending", woo_line(93, 1, "3.00")),
        woo_order(733, 6, "completed", woo_line(93, 1, "3.00")),
    ]
    newer = [
        woo_order(
            733, 6, "refunded", woo_line(93, 1, "3.00"), date_modified_gmt="2024-04-01T00:00:00"
        )
    ]
    products = [
        {
            "ID": 93,
            "Type": "simple",
            "SKU": "SINGLE",
            "Name": "Woo Single #1",
            "Published": 1,
            "Visibility in catalog": "visible",
            "Short description": "<p>One</p>\\nline",
            "Description": "A single.",
            "In stock?": 1,
            "Stock": 7,
            "Regular price": "3,50",
            "Sale price": "3,00",
            "Categories": "Music, Music > Singles, Sale",
            "Tags": "vinyl",
        },
        {
            "ID": 22,
            "Type": "variable",
            "SKU": "SHIRT",
            "Name": "Ship Your Idea",
            "Published": 1,
            "Visibility in catalog": "visible",
            "In stock?": 1,
            "Categories": "Clothing > Shirts\\, Tops",
        },
        {
            "ID": 23,
            "Type": "variation",
            "SKU": "SHIRT-S",
            "Name": "Ship Your Idea - S",
            "Published": 1,
            "Visibility in catalog": "visible",
            "In stock?": 0,
            "Regular price": "12,00",
            "Parent": "id:22",
        },
        {
            "ID": 24,
            "Type": "variation, virtual",
            "SKU": "SHIRT-L",
            "Name": "Ship Your Idea - L",
            "Published": 1,
            "Visibility in catalog": "visible",
            "In stock?": 1,
            "Regular price": "14,00",
            "Parent": "SHIRT",
        },
        {
            "ID": 25,
            "Type": "simple",
            "Name": "Draft",
            "Published": -1,
            "Visibility in catalog": "visible",
            "In stock?": 1,
            "Regular price": "9",
        },
        {
            "ID": 26,
            "Type": "simple, downloadable, virtual",
            "Name": "Back soon",
            "Published": 1,
            "Visibility in catalog": "visible",
            "In stock?": "backorder",
            "Regular price": "9",
        },
    ]
    bom = "\ufeff"
    return {
        "orders-1.json": json.dumps(orders),
        "orders-2.json": json.dumps(newer, indent=2),
        "wc-product-export-1-5-2024-1714560000000.csv": bom + table(WOO_PRODUCTS, products),
    }


@pytest.mark.slow
def test_woocommerce(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "woocommerce", woocommerce(), max_bad_share=0.3)
    guest, time = f"guest-{hashed('ann@shop.example')}", at("2024-03-22 16:28:02")
    assert shop.events("user_id", "item_id", "timestamp", "order_id", "quantity", "price") == [
        ("5", "22", time, "727", 2, 13),
        ("5", "93", time, "727", 2, 3),
        (guest, "93", time, "728", 1, 3),
    ]
    assert shop.reasons() == {"returned": 2, "cancelled": 2, "not in the catalogue": 1}
    assert "OLD" in set(shop.quarantine["interactions"]["item_id"])
    single, shirt = shop.item("93"), shop.item("22")
    assert single["categories"] == ["Music", "Singles"]
    assert single["price"] == 3
    assert "A single." in single["description"]
    assert shirt["categories"] == ["Clothing", "Shirts, Tops"]
    assert shirt["price"] == 12
    available = shop.valid["items"].set_index("item_id")["available"].to_dict()
    assert available == {"93": True, "22": True, "25": False, "26": True}


@pytest.mark.slow
def test_woocommerce_variations_find_their_parent_by_id_or_by_sku(
    settings: Settings, tmp_path: Path
) -> None:
    def product(number: int, sku: str, kind: str, **more: Any) -> dict[str, Any]:
        visible = {"Published": 1, "Visibility in catalog": "visible", "In stock?": 1}
        return {"ID": number, "SKU": sku, "Type": kind, "Name": f"N{number}", **visible, **more}

    products = [
        product(50, "1001", "variable"),
        product(51, "", "variation", **{"Parent": "1001", "Regular price": "5"}),
        product(1001, "", "variable"),
        product(1002, "", "variation", **{"Parent": "id:1001", "Regular price": "80"}),
    ]
    orders = [woo_order(1, 5, "completed", woo_line(50, 1, "5"), woo_line(1001, 1, "80"))]
    files = {"orders.json": json.dumps(orders), "product.csv": table(WOO_PRODUCTS, products)}
    shop = run(settings, tmp_path, "woocommerce", files)
    assert {item: shop.item(item)["price"] for item in ("50", "1001")} == {"50": 5, "1001": 80}


AOE_ORDERS = (
    "Order Number,Order Status,Order Date,Customer Note,First Name (Billing),Last Name (Billing),"
    "Company (Billing),Address 1&2 (Billing),City (Billing),State Code (Billing),"
    "Postcode (Billing),Country Code (Billing),Email (Billing),Phone (Billing),"
    "First Name (Shipping),Last Name (Shipping),Address 1&2 (Shipping),City (Shipping),"
    "State Code (Shipping),Postcode (Shipping),Country Code (Shipping),Payment Method Title,"
    "Cart Discount Amount,Order Subtotal Amount,Shipping Method Title,Order Shipping Amount,"
    "Order Refund Amount,Order Total Amount,Order Total Tax Amount,SKU,Item #,Item Name,"
    "Quantity (- Refund),Item Cost,Coupon Code,Discount Amount,Discount Amount Tax"
)


@pytest.mark.slow
def test_woocommerce_orders_as_csv(settings: Settings, tmp_path: Path) -> None:
    def head(number: int, status: str) -> dict[str, Any]:
        return {
            "Order Number": number,
            "Order Status": status,
            "Order Date": "2024-03-22 17:28",
            "Email (Billing)": "Ann@shop.example",
            "Country Code (Billing)": "AT",
        }

    def bought(sku: str, name: str, quantity: int, cost: str) -> dict[str, Any]:
        return {"SKU": sku, "Item Name": name, "Quantity (- Refund)": quantity, "Item Cost": cost}

    orders = [
        head(727, "Completed") | bought("SINGLE", "Woo Single #1", 2, "3"),
        bought("SHIRT-S", "Ship Your Idea - S", 1, "12"),  # on the first line only
        bought("", "Ship Your Idea - L", 1, "14"),
        head(728, "Processing") | bought("SINGLE", "Woo Single #1", 0, "3"),  # refunded
        head(729, "Cancelled") | bought("SINGLE", "Woo Single #1", 1, "3"),
        head(730, "On hold") | bought("", "Old", 1, "3"),
    ]
    files = {"orders-2024.csv": table(AOE_ORDERS, orders)}
    files |= {name: text for name, text in woocommerce().items() if name.endswith(".csv")}
    shop = run(settings, tmp_path, "woocommerce-csv", files, max_bad_share=0.3)
    ann, time = hashed("ann@shop.example"), at("2024-03-22 17:28")
    assert shop.events("user_id", "item_id", "timestamp", "order_id", "quantity", "price") == [
        (ann, "22", time, "727", 2, 13),
        (ann, "93", time, "727", 2, 3),
    ]
    assert shop.reasons() == {"cancelled": 1, "not in the catalogue": 1}
    assert shop.item("93")["categories"] == ["Music", "Singles"]


@pytest.mark.slow
def test_woocommerce_orders_as_csv_are_taken_from_the_last_download(
    settings: Settings, tmp_path: Path
) -> None:
    def orders(status: str) -> str:
        row = {
            "Order Number": 727,
            "Order Status": status,
            "Order Date": "2024-03-22 17:28",
            "Email (Billing)": "ann@shop.example",
            "SKU": "SINGLE",
            "Quantity (- Refund)": 1,
            "Item Cost": "3",
        }
        return table(AOE_ORDERS, [row])

    files: Files = {"orders.csv": orders("Cancelled"), "orders (1).csv": orders("Completed")}
    files |= {name: text for name, text in woocommerce().items() if name.endswith(".csv")}
    shop = run(settings, tmp_path, "woocommerce-csv", files)
    assert shop.events("item_id", "order_id") == [("93", "727")]
    assert shop.reasons() == {}


# Magento

MAGENTO_PRODUCTS = (
    "sku,store_view_code,attribute_set_code,product_type,categories,product_websites,name,"
    "description,short_description,weight,product_online,tax_class_name,visibility,price,"
    "special_price,special_price_from_date,special_price_to_date,url_key,meta_title,meta_keywords,"
    "meta_description,base_image,base_image_label,small_image,small_image_label,thumbnail_image,"
    "thumbnail_image_label,swatch_image,swatch_image_label,created_at,updated_at,new_from_date,"
    "new_to_date,display_product_options_in,map_price,msrp_price,map_enabled,"
    "gift_message_available,custom_design,custom_design_from,custom_design_to,custom_layout_update,"
    "page_layout,product_options_container,msrp_display_actual_price_type,country_of_manufacture,"
    "additional_attributes,qty,out_of_stock_qty,use_config_min_qty,is_qty_decimal,"
    "allow_backorders,use_config_backorders,min_cart_qty,use_config_min_sale_qty,max_cart_qty,"
    "use_config_max_sale_qty,is_in_stock,notify_on_stock_below,use_config_notify_stock_qty,"
    "manage_stock,use_config_manage_stock,use_config_qty_increments,qty_increments,"
    "use_config_enable_qty_inc,enable_qty_increments,is_decimal_divided,website_id,related_skus,"
    "related_position,crosssell_skus,crosssell_position,upsell_skus,upsell_position,"
    "additional_images,additional_image_labels,hide_from_product_page,custom_options,"
    "bundle_price_type,bundle_sku_type,bundle_price_view,bundle_weight_type,bundle_values,"
    "bundle_shipment_type,associated_skus,downloadable_links,downloadable_samples,"
    "configurable_variations,configurable_variation_labels"
)
MAGENTO_ORDERS = (
    "entity_id,state,status,protect_code,store_id,customer_id,base_grand_total,grand_total,"
    "customer_is_guest,customer_email,increment_id,base_currency_code,order_currency_code,"
    "created_at,updated_at"
)
MAGENTO_LINES = (
    "item_id,order_id,parent_item_id,quote_item_id,store_id,created_at,updated_at,product_id,"
    "product_type,product_options,sku,name,qty_canceled,qty_invoiced,qty_ordered,qty_refunded,"
    "qty_shipped,price,base_price,original_price,row_total,base_row_total"
)


def magento() -> Files:
    def product(sku: str, name: str, kind: str = "simple", **more: Any) -> dict[str, Any]:
        return {
            "sku": sku,
            "name": name,
            "product_type": kind,
            "attribute_set_code": "Top",
            "product_online": 1,
            "visibility": "Catalog, Search",
            "is_in_stock": 1,
            **more,
        }

    hidden = {"visibility": "Not Visible Individually"}
    variations = "sku=WS12-XS-Blue,size=XS,color=Blue|sku=WS12-S-Blue,size=S,color=Blue"
    products = [
        product("WS12-XS-Blue", "Radiant Tee-XS-Blue", price="22.0000", **hidden),
        product("WS12-S-Blue", "Radiant Tee-S-Blue", price="24.0000", **hidden),
        product(
            "WS12",
            "Radiant Tee",
            "configurable",
            configurable_variations=variations,
            description="<p>So soft.</p>",
            categories=(
                "Default Category/Women,Default Category/Women/Tops/Tees,Default Category/Sale"
            ),
            additional_attributes="eco_collection=No,manufacturer=Luma,pattern=Solid",
        ),
        {"sku": "WS12", "store_view_code": "de", "name": "Strahlendes Shirt"},
        product(
            "24-MB01",
            "Joust Duffle Bag",
            price="34.0000",
            special_price="30.0000",
            categories="Default Category/Gear/Bags",
        ),
        product("24-WG080", "Yoga Kit", "bundle", categories="Default Category/Gear"),
        product("OFF", "Disabled", price="1", product_online=2),
        product("OUT", "Sold out", price="1", is_in_stock=0),
    ]
    orders = [
        {
            "entity_id": n,
            "state": state,
            "status": state,
            "customer_id": customer,
            "customer_is_guest": int(not customer),
            "customer_email": "Guest@shop.example",
            "increment_id": f"{n:09}",
            "base_currency_code": "EUR",
            "created_at": "2024-05-01 10:00:00",
        }
        for n, state, customer in [
            (1, "complete", 7),
            (2, "processing", ""),
            (3, "canceled", 7),
            (4, "closed", 7),
        ]
    ]

    def item(n: int, of: int, sku: str, kind: str = "simple", qty: int = 1, **more: Any) -> Any:
        return {
            "item_id": n,
            "order_id": of,
            "product_type": kind,
            "sku": sku,
            "qty_ordered": qty,
            "qty_canceled": "0.0000",
            "qty_refunded": "0.0000",
            "base_price": "20.0000",
            "price": "20.0000",
            "product_id": n,
            **more,
        }

    lines = [
        item(1, 1, "WS12-S-Blue", "configurable", 2),
        item(2, 1, "WS12-S-Blue", "simple", 2, parent_item_id=1, base_price="0.0000"),
        item(3, 1, "24-MB01", qty=3, qty_refunded="1.0000"),
        item(4, 2, "24-WG080-24-MB01", "bundle"),
        item(5, 2, "24-MB01", parent_item_id=4, base_price="0.0000"),
        item(6, 2, "OUT", qty_refunded="1.0000"),
        item(7, 3, "24-MB01"),
        item(8, 4, "24-MB01"),
        item(9, 1, "24-MB01", "", base_price="80.0000"),  # a type that is not there
    ]
    return {
        "sales_order.csv": table(MAGENTO_ORDERS, orders),
        "sales_order_item.csv": table(MAGENTO_LINES, lines),
        "export_catalog_product_20240501_101500.csv": table(MAGENTO_PRODUCTS, products),
    }


@pytest.mark.slow
def test_magento(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "magento", magento())
    guest, time = f"guest-{hashed('guest@shop.example')}", at("2024-05-01 10:00")
    events = shop.events("user_id", "item_id", "timestamp", "order_id", "quantity")
    assert events == [
        ("7", "24-MB01", time, "000000001", 3),
        ("7", "WS12", time, "000000001", 2),
        (guest, "24-MB01", time, "000000002", 1),
    ]
    prices = shop.valid["interactions"].set_index(["user_id", "item_id"])["price"]
    assert prices["7", "WS12"] == 20
    assert prices["7", "24-MB01"] == 40  # of two pieces at 20 and one at 80
    assert pd.isna(prices[guest, "24-MB01"])  # part of a bundle
    assert shop.reasons() == {"cancelled": 1, "returned": 1}
    tee = shop.item("WS12")
    assert (tee["title"], tee["brand"], tee["price"]) == ("Radiant Tee", "Luma", 22)
    assert tee["categories"] == ["Women", "Tops", "Tees"]
    assert shop.item("24-MB01")["price"] == 30
    available = shop.valid["items"].set_index("item_id")["available"].to_dict()
    assert available == {
        "WS12": True,
        "24-MB01": True,
        "24-WG080": True,
        "OFF": False,
        "OUT": False,
    }


@pytest.mark.slow
def test_magento_orders_of_the_rest_api(settings: Settings, tmp_path: Path) -> None:
    files = magento()
    orders, lines = (
        pd.read_csv(io.StringIO(str(files.pop(name))), dtype=str)
        for name in ("sales_order.csv", "sales_order_item.csv")
    )

    def as_json(frame: pd.DataFrame) -> list[dict[str, Any]]:
        return [row.dropna().to_dict() for _, row in frame.iterrows()]

    answers = [
        {**order_, "items": as_json(lines[lines["order_id"] == order_["entity_id"]])}
        for order_ in as_json(orders)
    ]
    older = [{**answers[0], "state": "canceled", "updated_at": "2024-05-01 10:00:00"}]
    answers[0]["updated_at"] = "2024-05-02 10:00:00"
    pages = [
        {"items": page, "search_criteria": {"filter_groups": []}, "total_count": 4}
        for page in (answers[:2], answers[2:], older)
    ]
    shop = run(
        settings,
        tmp_path,
        "magento-rest",
        {**files, **{f"orders-{n}.json": json.dumps(page) for n, page in enumerate(pages)}},
    )
    assert shop.events("user_id", "item_id", "order_id", "quantity") == [
        ("7", "24-MB01", "000000001", 3),
        ("7", "WS12", "000000001", 2),
        (f"guest-{hashed('guest@shop.example')}", "24-MB01", "000000002", 1),
    ]
    prices = [price for (price,) in shop.events("price")]
    assert prices[:2] == [40, 20]
    assert pd.isna(prices[2])


# Google Analytics 4


def ga4_events() -> list[dict[str, Any]]:
    """Return events as BigQuery has them: micros, nested items, parameters."""
    micros = 1_714_557_600_000_000  # 2024-05-01 10:00

    def item(item_id: str, name: str, **more: Any) -> dict[str, Any]:
        return {
            "item_id": item_id,
            "item_name": name,
            "item_brand": "(not set)",
            "item_variant": "(not set)",
            "item_category": "Apparel",
            "item_category2": "Shirts",
            "item_category3": "(not set)",
            "item_category4": "",
            "item_category5": "",
            "price_in_usd": 15.0,
            "price": 14.0,
            "quantity": 1,
            "item_revenue": None,
            **more,
        }

    def event(name: str, minute: int, items: list[Any], **more: Any) -> dict[str, Any]:
        return {
            "event_date": "20240501",
            "event_timestamp": micros + minute * 60_000_000,
            "event_name": name,
            "event_params": [
                {
                    "key": "ga_session_id",
                    "value": {
                        "string_value": None,
                        "int_value": 1714557600,
                        "float_value": None,
                        "double_value": None,
                    },
                },
                {
                    "key": "currency",
                    "value": {
                        "string_value": "EUR",
                        "int_value": None,
                        "float_value": None,
                        "double_value": None,
                    },
                },
            ],
            "user_id": None,
            "user_pseudo_id": "1026454.4271112504",
            "geo": {"continent": "Europe", "country": "Germany"},
            "ecommerce": {
                "transaction_id": None,
                "purchase_revenue": None,
                "total_item_quantity": 1,
            },
            "items": items,
            **more,
        }

    shirt = item("GGOEGA", "Google Tee", item_brand="Google")
    cap = item("GGOECAP", "Google Cap", item_category2="Hats", price=9.0, quantity=2)

    def bought(number: str) -> dict[str, Any]:
        return {"transaction_id": number, "purchase_revenue": 32.0, "total_item_quantity": 3}

    return [
        event("session_start", 0, []),
        event("view_item_list", 1, [shirt, cap]),
        event("select_item", 2, [shirt]),
        event("view_item", 3, [shirt]),
        event("add_to_cart", 4, [cap], user_id="C7"),
        event("begin_checkout", 5, [shirt, cap]),
        event("purchase", 6, [shirt, cap], ecommerce=bought("T1")),
        event("purchase", 8, [shirt, cap], ecommerce=bought("T1")),  # loaded again
        event("purchase", 9, [shirt, cap], ecommerce=bought("T2"), user_id="C7"),
        event("refund", 20, [cap], ecommerce=bought("T2"), user_id="C7"),
        event("purchase", 10, [shirt], ecommerce=bought("T3"), user_id="C8"),
        event("refund", 30, [], ecommerce=bought("T3"), user_id="C8"),
        event("purchase", 11, [cap], ecommerce=bought("(not set)"), user_id="C9"),
    ]


def without_nulls(value: Any) -> Any:
    """Return JSON as BigQuery writes it: no key without a value, whole numbers as texts."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return str(value) if isinstance(value, int) else value


def ga4_files(kind: str, folder: Path) -> Files:
    if kind == "parquet":
        return {"events_20240501.parquet": parquet(pd.DataFrame(ga4_events()), folder)}
    return {"events_20240501.json": as_lines([without_nulls(one) for one in ga4_events()])}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_ga4(settings: Settings, tmp_path: Path, kind: str) -> None:
    shop = run(settings, tmp_path, "ga4", ga4_files(kind, tmp_path))
    browser = "1026454.4271112504"
    minutes = [at("2024-05-01 10:00") + pd.Timedelta(minutes=n) for n in range(12)]
    found = shop.events("user_id", "item_id", "timestamp", "event", "order_id", "quantity", "price")
    assert found == [
        (browser, "GGOEGA", minutes[2], "click", None, 1, 14),
        (browser, "GGOEGA", minutes[3], "view", None, 1, 14),
        ("C7", "GGOECAP", minutes[4], "cart", None, 2, 9),
        (browser, "GGOECAP", minutes[6], "purchase", "T1", 2, 9),
        (browser, "GGOEGA", minutes[6], "purchase", "T1", 1, 14),
        ("C7", "GGOEGA", minutes[9], "purchase", "T2", 1, 14),
        ("C9", "GGOECAP", minutes[11], "purchase", None, 2, 9),
    ]
    assert shop.report["interactions"]["quarantined"] == 0
    tee, cap = shop.item("GGOEGA"), shop.item("GGOECAP")
    assert (tee["title"], tee["brand"], tee["categories"]) == (
        "Google Tee",
        "Google",
        ["Apparel", "Shirts"],
    )
    assert (cap["brand"], cap["categories"], cap["price"]) == (None, ["Apparel", "Hats"], 9)
    assert set(shop.valid["users"]["country"]) == {"Germany"}


@pytest.mark.slow
def test_ga4_refunds_find_products_by_their_names(settings: Settings, tmp_path: Path) -> None:
    """Items have a name, or nothing, instead of an id."""
    template = {event["event_name"]: event for event in ga4_events()}

    def event(kind: str, minute: int, number: str, *items: dict[str, Any]) -> dict[str, Any]:
        moment = 1_714_557_600_000_000 + minute * 60_000_000
        sale = {"transaction_id": number}
        return template[kind] | {"event_timestamp": moment, "ecommerce": sale, "items": list(items)}

    def item(name: str | None, item_id: str | None = None) -> dict[str, Any]:
        return {"item_id": item_id, "item_name": name, "price": 5.0, "quantity": 1}

    unset = item("(not set)", "(not set)")
    events = [
        event("purchase", 0, "T1", item("Cup"), item("Pot")),
        event("refund", 5, "T1", item("Cup")),
        event("purchase", 1, "T2", item("Cup", "(not set)"), item("Pot", "(not set)")),
        event("refund", 6, "T2", item("Cup", "(not set)")),
        event("purchase", 2, "T3", item("Cup")),
        event("refund", 7, "T3", unset),  # of no known product
        event("purchase", 3, "T4", item("Cup")),
        event("refund", 8, "T4"),  # of all
    ]
    text = as_lines([without_nulls(one) for one in events])
    shop = run(settings, tmp_path, "ga4", {"events_20240501.json": text})
    found = shop.events("order_id", "item_id")
    assert found == [("T1", "Pot"), ("T2", "Pot"), ("T3", "Cup")]


@pytest.mark.slow
def test_ga4_without_any_user_id(settings: Settings, tmp_path: Path) -> None:
    lines = as_lines([without_nulls(one) for one in ga4_events() if one["user_id"] is None])
    shop = run(settings, tmp_path, "ga4", {"events_20240501.json.gz": gzipped(lines)})
    assert set(shop.valid["interactions"]["user_id"]) == {"1026454.4271112504"}
