"""Presets of public data sets on small files of their exact shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.settings import Settings
from tests.components.project.preset_runs import Files, as_lines, at, parquet, run, table

# Amazon Reviews 2023


def amazon() -> Files:
    def review(user: str, asin: str, parent: str, rating: float, when: int) -> dict[str, Any]:
        image = {"small_image_url": "https://m.example/1.jpg", "attachment_type": "IMAGE"}
        return {
            "rating": rating,
            "title": "Such a lovely scent",
            "text": f"Of {parent} by {user}.",
            "images": [image],
            "asin": asin,
            "parent_asin": parent,
            "user_id": user,
            "timestamp": when,
            "helpful_vote": 0,
            "verified_purchase": True,
        }

    def meta(parent: str, title: str, price: Any, **more: Any) -> dict[str, Any]:
        return {
            "main_category": "All Beauty",
            "title": title,
            "average_rating": 4.8,
            "rating_number": 10,
            "features": [],
            "description": [],
            "price": price,
            "images": [{"thumb": "https://m.example/t.jpg", "variant": "MAIN"}],
            "videos": [],
            "store": "Howard Products",
            "categories": [],
            "details": {"Package Dimensions": "7 x 2"},
            "parent_asin": parent,
            "bought_together": None,
            **more,
        }

    reviews = [
        review("AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8EO", "B00YQ6X8EO", 5.0, 1588687728923),
        review("AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B081TJ8YS3", "B0PARENT", 4.0, 1588615855070),
        review("AE74DYR3QUGVPZJ3P7RFWBGIX7XQ", "B081TJ8YS4", "B0PARENT", 1.0, 1589665266052),
        review("AE74DYR3QUGVPZJ3P7RFWBGIX7XQ", "B01CUPMQZE", "B01CUPMQZE", 3.0, 1589665266052),
    ]
    metadata = [
        meta(
            "B00YQ6X8EO",
            "Herbacin Spray",
            12.5,
            features=["Vegan", "Mild"],
            description=["One.", "Two."],
        ),
        meta(
            "B0PARENT",
            "Hair Band",
            "from 12.99",
            categories=["Beauty", "Hair Care"],
            details={"Brand": "Bandy", "Item Weight": "1 ounce"},
        ),
        meta("B01CUPMQZE", "Howard Cleaner", "—", store=None),
        meta("B0EXPENSIVE", "Machine", "1,299.00"),
        meta("B0NOPRICE", "Free", None),
    ]
    return {
        "All_Beauty.jsonl": as_lines(reviews),
        "meta_All_Beauty.jsonl": as_lines(metadata),
    }


def test_amazon_reviews_2023(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "amazon-reviews-2023", amazon())
    first, second = "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "AE74DYR3QUGVPZJ3P7RFWBGIX7XQ"
    assert shop.events("user_id", "item_id", "timestamp", "event", "rating") == [
        (first, "B0PARENT", at("2020-05-04 18:10:55.070"), "rating", 4),
        (first, "B00YQ6X8EO", at("2020-05-05 14:08:48.923"), "rating", 5),
        (second, "B01CUPMQZE", at("2020-05-16 21:41:06.052"), "rating", 3),
        (second, "B0PARENT", at("2020-05-16 21:41:06.052"), "rating", 1),
    ]
    prices = shop.valid["items"].set_index("item_id")["price"].round(2)
    assert prices["B00YQ6X8EO"] == 12.5
    assert prices["B0PARENT"] == pytest.approx(12.99)
    assert prices["B0EXPENSIVE"] == 1299
    assert prices[["B01CUPMQZE", "B0NOPRICE"]].isna().all()
    spray, band = shop.item("B00YQ6X8EO"), shop.item("B0PARENT")
    assert spray["description"] == "Vegan\nMild\nOne.\nTwo."
    assert (spray["brand"], spray["categories"]) == ("Howard Products", ["All Beauty"])
    assert (band["brand"], band["categories"]) == ("Bandy", ["Beauty", "Hair Care"])
    assert shop.item("B01CUPMQZE")["brand"] is None
    reviews = shop.valid["reviews"]
    assert len(reviews) == 4
    assert reviews["text"][0] == "Of B00YQ6X8EO by AGKHLEW2SOWHNMFQIJGBECAF7INQ."


# MovieLens


@pytest.mark.slow
def test_movielens_1m(settings: Settings, tmp_path: Path) -> None:
    ratings = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::1::978298413\n"
    movies = (
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        '1193::One "Flew" Over the Cuckoo\'s Nest (1975)::Drama\n'
        "3793::Misérables, Les (1998)::Drama\n"
    )
    users = "1::F::1::10::48067\n2::M::56::16::70072\n"
    files = {"ratings.dat": ratings, "movies.dat": movies.encode("latin-1"), "users.dat": users}
    shop = run(settings, tmp_path, "movielens-1m", {f"ml-1m/{k}": v for k, v in files.items()})
    assert shop.events("user_id", "item_id", "timestamp", "event", "rating") == [
        ("2", "1193", at("2000-12-31 21:33:33"), "rating", 1),
        ("1", "1193", at("2000-12-31 22:12:40"), "rating", 5),
        ("1", "661", at("2000-12-31 22:35:09"), "rating", 3),
    ]
    assert shop.item("3793")["title"] == "Misérables, Les (1998)"
    assert shop.item("1193")["title"] == 'One "Flew" Over the Cuckoo\'s Nest (1975)'
    assert shop.item("661")["categories"] == ["Animation", "Children's", "Musical"]
    assert shop.item("661")["categories_set"]


@pytest.mark.slow
def test_movielens_32m(settings: Settings, tmp_path: Path) -> None:
    files: Files = {
        "ratings.csv": (
            "userId,movieId,rating,timestamp\n"
            "1,17,4.0,944249077\n1,25,0.5,944250228\n2,17,3.5,943230976\n"
        ),
        "movies.csv": (
            "movieId,title,genres\n17,Sense and Sensibility (1995),Drama|Romance\n"
            '25,"Leaving Las Vegas, or not (1995)",(no genres listed)\n'
        ),
        "tags.csv": "userId,movieId,tag,timestamp\n22,26479,Kevin Kline,1583038886\n",
        "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n",
    }
    shop = run(settings, tmp_path, "movielens-32m", files)
    assert shop.events("user_id", "item_id", "timestamp", "rating") == [
        ("2", "17", at("1999-11-22 00:36:16"), 3.5),
        ("1", "17", at("1999-12-03 19:24:37"), 4),
        ("1", "25", at("1999-12-03 19:43:48"), 1),  # half a star is the lowest, too
    ]
    assert shop.item("17")["categories"] == ["Drama", "Romance"]
    other = shop.item("25")
    assert other["title"] == "Leaving Las Vegas, or not (1995)"
    assert other["categories"] == []


# RetailRocket


def retailrocket() -> Files:
    day = 86_400_000
    start = 1_433_221_332_117  # 2015-06-02 05:02:12.117
    events = [
        {"timestamp": start, "visitorid": 257597, "event": "view", "itemid": 355908},
        {"timestamp": start + 8 * day, "visitorid": 257597, "event": "view", "itemid": 355908},
        {
            "timestamp": start + 8 * day + 1,
            "visitorid": 257597,
            "event": "addtocart",
            "itemid": 355908,
        },
        {
            "timestamp": start + 8 * day + 2,
            "visitorid": 257597,
            "event": "transaction",
            "itemid": 355908,
            "transactionid": 4000,
        },
        {"timestamp": start, "visitorid": 7, "event": "view", "itemid": 99},
    ]
    snapshots = [
        (start - day, 355908, "categoryid", "1338"),
        (start - day, 355908, "790", "n12000.000"),
        (start - day, 355908, "available", "1"),
        (start - day, 355908, "888", "1116713 960601 n277.200"),
        (start + 6 * day, 355908, "790", "n9600.000"),
        (start + 6 * day, 355908, "categoryid", "1114"),
        (start + 20 * day, 355908, "available", "0"),
        (start + 20 * day, 206783, "categoryid", "5"),
        (start + 20 * day, 206783, "available", "1"),
        (start, 11, "888", "n1.000"),
    ]
    properties = [
        dict(zip(("timestamp", "itemid", "property", "value"), row, strict=True))
        for row in snapshots
    ]
    header = "timestamp,itemid,property,value"
    return {
        "events.csv": table("timestamp,visitorid,event,itemid,transactionid", events),
        "item_properties_part1.csv": table(header, properties[:5]),
        "item_properties_part2.csv": table(header, properties[5:]),
        "category_tree.csv": "categoryid,parentid\n1338,213\n213,140\n140,\n1114,140\n",
    }


@pytest.mark.slow
def test_retailrocket(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "retailrocket", retailrocket())
    first, later = at("2015-06-02 05:02:12.117"), at("2015-06-10 05:02:12.117")
    found = shop.events("user_id", "item_id", "timestamp", "event", "order_id")
    assert found == [
        ("257597", "355908", first, "view", None),
        ("7", "99", first, "view", None),
        ("257597", "355908", later, "view", None),
        ("257597", "355908", later + pd.Timedelta(milliseconds=1), "cart", None),
        ("257597", "355908", later + pd.Timedelta(milliseconds=2), "purchase", "4000"),
    ]
    prices = [price for (price,) in shop.events("price")]
    assert prices[0] == 12000  # known at the time
    assert pd.isna(prices[1])
    assert prices[2:] == [9600, 9600, 9600]
    item = shop.item("355908")
    assert item["categories"] == ["140", "1114"]  # the newest
    assert item["price"] == 9600
    assert not item["available"]
    assert shop.item("206783")["categories"] == ["5"]  # not in the tree
    assert shop.item("11")["available"]
    assert set(shop.valid["items"]["item_id"]) == {"355908", "206783", "11", "99"}


# H&M


@pytest.mark.slow
def test_hm(settings: Settings, tmp_path: Path) -> None:
    transactions = (
        "t_dat,customer_id,article_id,price,sales_channel_id\n"
        "2018-09-20,000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318,0663713001,0.050830508474576264,2\n"
        "2018-09-20,000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318,0663713001,0.050830508474576264,2\n"
        "2018-09-20,00007d2de826758b65a93dd24ce629ed66842531df6699338c5570910a014cc2,0108775015,0.01694915254237288,1\n"
    )
    articles = (
        "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
        "graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,"
        "perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
        "perceived_colour_master_name,department_no,department_name,index_code,index_name,"
        "index_group_no,index_group_name,section_no,section_name,garment_group_no,"
        "garment_group_name,detail_desc\n"
        "0108775015,0108775,Strap top,253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,"
        "Dark,5,Black,1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Womens Everyday Basics,1002,"
        "Jersey Basic,Jersey top with narrow shoulder straps.\n"
        "0663713001,0663713,Atlanta Push Body Harlow,283,Underwear body,Underwear,1010016,Solid,09,"
        "Black,4,Dark,5,Black,1338,Expressive Lingerie,B,Lingeries/Tights,1,Ladieswear,61,"
        'Womens Lingerie,1017,"Under-, Nightwear",\n'
    )
    customers = (
        "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code\n"
        "000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318,,,ACTIVE,NONE,49.0,52043ee2\n"
    )
    files: Files = {
        "transactions_train.csv": transactions,
        "articles.csv": articles,
        "customers.csv": customers,
        "sample_submission.csv": "customer_id,prediction\n",
    }
    shop = run(settings, tmp_path, "hm", files)
    found = shop.events("user_id", "item_id", "timestamp", "quantity")
    assert [(user[:6], *rest) for user, *rest in found] == [
        ("000058", "0663713001", at("2018-09-20"), 2),
        ("00007d", "0108775015", at("2018-09-20"), 1),
    ]
    assert shop.valid["interactions"]["price"].tolist() == pytest.approx([0.0508, 0.0169], abs=1e-4)
    top, body = shop.item("0108775015"), shop.item("0663713001")
    assert top["title"] == "Strap top"
    assert top["price"] == pytest.approx(0.0169, abs=1e-4)
    assert top["description"] == "Vest top. Black. Solid. Jersey top with narrow shoulder straps."
    assert top["categories"] == ["Ladieswear", "Garment Upper body", "Vest top"]
    assert body["description"] == "Underwear body. Black. Solid"
    assert len(shop.valid["users"]) == 2


# Olist


def olist() -> Files:
    orders = [
        {
            "order_id": f"o{n}",
            "customer_id": f"c{n}",
            "order_status": status,
            "order_purchase_timestamp": f"2017-10-0{n} 10:56:33",
            "order_estimated_delivery_date": "2017-10-18 00:00:00",
        }
        for n, status in [
            (1, "delivered"),
            (2, "delivered"),
            (3, "canceled"),
            (4, "unavailable"),
            (5, "shipped"),
        ]
    ]
    lines = [
        {
            "order_id": order_id,
            "order_item_id": n,
            "product_id": product,
            "seller_id": "s1",
            "shipping_limit_date": "2017-10-06 11:07:15",
            "price": price,
            "freight_value": "8.72",
        }
        for order_id, n, product, price in [
            ("o1", 1, "p1", "29.99"),
            ("o1", 2, "p1", "29.99"),
            ("o2", 1, "p1", "30.00"),
            ("o2", 2, "p2", "5.50"),
            ("o3", 1, "p2", "5.50"),
            ("o5", 1, "p3", "7.00"),
        ]
    ]
    customers = [
        {
            "customer_id": f"c{n}",
            "customer_unique_id": unique,
            "customer_zip_code_prefix": "03149",
            "customer_city": "são paulo",
            "customer_state": "SP",
        }
        for n, unique in enumerate(["ann", "bob", "bob", "bob", "ann"], start=1)
    ]
    products = [
        {"product_id": "p1", "product_category_name": "beleza_saude", "product_name_lenght": 40},
        {"product_id": "p2", "product_category_name": "portateis_cozinha"},  # has no translation
        {"product_id": "p3"},
    ]
    reviews = [
        {
            "review_id": "r1",
            "order_id": "o1",
            "review_score": 5,
            "review_comment_title": "recomendo",
            "review_comment_message": 'Aparelho eficiente.\nRecomendo, "muito".',
            "review_creation_date": "2017-10-10 00:00:00",
        },
        {
            "review_id": "r2",
            "order_id": "o2",
            "review_score": 1,
            "review_comment_message": "Faltou um.",
        },
        {"review_id": "r3", "order_id": "o5", "review_score": 4},
    ]
    return {
        "olist_orders_dataset.csv": table(
            "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
            "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date",
            orders,
        ),
        "olist_order_items_dataset.csv": table(
            "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value",
            lines,
        ),
        "olist_customers_dataset.csv": table(
            "customer_id,customer_unique_id,customer_zip_code_prefix,customer_city,customer_state",
            customers,
        ),
        "olist_products_dataset.csv": table(
            "product_id,product_category_name,product_name_lenght,product_description_lenght,"
            "product_photos_qty,product_weight_g,product_length_cm,product_height_cm,product_width_cm",
            products,
        ),
        "olist_order_reviews_dataset.csv": table(
            "review_id,order_id,review_score,review_comment_title,review_comment_message,"
            "review_creation_date,review_answer_timestamp",
            reviews,
        ),
        "product_category_name_translation.csv": (
            "\ufeffproduct_category_name,product_category_name_english\nbeleza_saude,health_beauty\n"
        ),
    }


@pytest.mark.slow
def test_olist(settings: Settings, tmp_path: Path) -> None:
    shop = run(settings, tmp_path, "olist", olist())
    assert shop.events("user_id", "item_id", "timestamp", "order_id", "quantity") == [
        ("ann", "p1", at("2017-10-01 13:56:33"), "o1", 2),  # Brazil: UTC-3
        ("bob", "p1", at("2017-10-02 13:56:33"), "o2", 1),
        ("bob", "p2", at("2017-10-02 13:56:33"), "o2", 1),
        ("ann", "p3", at("2017-10-05 13:56:33"), "o5", 1),
    ]
    assert shop.reasons() == {"cancelled": 1}
    assert shop.valid["items"].set_index("item_id")["categories"].map(list).to_dict() == {
        "p1": ["health beauty"],
        "p2": ["portateis cozinha"],
        "p3": [],
    }
    assert shop.item("p1")["price"] == pytest.approx(29.99)
    assert shop.item("p1")["currency"] == "BRL"
    assert shop.valid["users"].sort_values("user_id")[
        ["user_id", "country"]
    ].to_numpy().tolist() == [["ann", "BR"], ["bob", "BR"]]
    (review,) = shop.valid["reviews"].to_dict("records")
    assert (review["user_id"], review["item_id"], review["rating"]) == ("ann", "p1", 5)
    assert review["title"] == "recomendo"
    assert review["text"] == 'Aparelho eficiente.\nRecomendo, "muito".'
    assert review["timestamp"] == at("2017-10-10 03:00")


@pytest.mark.slow
def test_olist_without_reviews(settings: Settings, tmp_path: Path) -> None:
    files = olist()
    del files["olist_order_reviews_dataset.csv"]
    assert run(settings, tmp_path, "olist", files).valid["reviews"].empty


# Taobao


@pytest.mark.slow
def test_taobao(settings: Settings, tmp_path: Path) -> None:
    rows = (
        "1,2268318,2520377,pv,1511544070\n"
        "1,2333346,2520771,pv,1511561733\n"
        "1,2576651,149192,cart,1511572885\n"
        "100,598929,2429887,buy,1511742899\n"
        "100,1603476,2951233,fav,1511579908\n"
        "9,1603476,2951233,pv,-1506192\n"
        "9,1603476,2951233,pv,1506192000\n"
    )
    shop = run(settings, tmp_path, "taobao", {"UserBehavior.csv": rows}, max_bad_share=0.5)
    assert shop.events("user_id", "item_id", "timestamp", "event") == [
        ("1", "2268318", at("2017-11-24 17:21:10"), "view"),  # 25 November in Beijing
        ("1", "2333346", at("2017-11-24 22:15:33"), "view"),
        ("1", "2576651", at("2017-11-25 01:21:25"), "cart"),
        ("100", "1603476", at("2017-11-25 03:18:28"), "cart"),
        ("100", "598929", at("2017-11-27 00:34:59"), "purchase"),
    ]
    assert shop.reasons() == {"impossible time": 2}
    assert shop.item("2333346")["categories"] == ["2520771"]


# Diginetica


@pytest.mark.slow
def test_diginetica(settings: Settings, tmp_path: Path) -> None:
    files: Files = {
        "train-item-views.csv": (
            "sessionId;userId;itemId;timeframe;eventdate\n"
            "1;NA;81766;526309;2016-05-09\n"
            "1;NA;31331;1031018;2016-05-09\n"
            "2;17;32118;243569;2016-05-09\n"
        ),
        "train-purchases.csv": (
            "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n"
            "150;18278;17100868;2016-05-06;16421;25911\n"
            "151;NA;100;2016-05-06;16422;32118\n"
        ),
        "products.csv": (
            "itemId;pricelog2;product.name.tokens\n"
            "25911;9;4875,776,56689,18212\n"
            "32118;10;4875\n81766;11;1,2\n31331;0;3\n"
        ),
        "product-categories.csv": "itemId;categoryId\n25911;1096\n32118;800\n81766;800\n",
    }
    shop = run(settings, tmp_path, "diginetica", files)
    assert shop.events("user_id", "item_id", "timestamp", "event", "order_id") == [
        ("session-151", "32118", at("2016-05-06 00:00:00.100"), "purchase", "16422"),
        ("18278", "25911", at("2016-05-06 04:45:00.868"), "purchase", "16421"),
        ("17", "32118", at("2016-05-09 00:04:03.569"), "view", None),
        ("session-1", "81766", at("2016-05-09 00:08:46.309"), "view", None),
        ("session-1", "31331", at("2016-05-09 00:17:11.018"), "view", None),
    ]
    prices = shop.valid["interactions"].set_index("order_id")["price"]
    assert (prices["16421"], prices["16422"]) == (512, 1024)
    item = shop.item("25911")
    assert (item["title"], item["categories"], item["price"]) == (
        "4875 776 56689 18212",
        ["1096"],
        512,
    )
    assert shop.item("31331")["categories"] == []


# Yoochoose


@pytest.mark.slow
def test_yoochoose(settings: Settings, tmp_path: Path) -> None:
    clicks = (
        "1,2014-04-07T10:51:09.277Z,214536502,0\n"
        "1,2014-04-07T10:54:09.868Z,214536500,3\n"
        "2,2014-04-07T13:56:37.614Z,214662742,S\n"
        "2,2014-04-07T13:57:19.373Z,214825110,2089046104\n"
    )
    buys = (
        "420374,2014-04-06T18:44:58.314Z,214537888,12462,1\n"
        "420374,2014-04-06T18:44:58.325Z,214537850,0,0\n"
    )
    files: Files = {
        "yoochoose-clicks.dat": clicks,
        "yoochoose-buys.dat": buys,
        "yoochoose-test.dat": clicks,
    }
    shop = run(settings, tmp_path, "yoochoose", files)
    assert shop.events("user_id", "item_id", "timestamp", "event", "quantity") == [
        ("420374", "214537888", at("2014-04-06 18:44:58.314"), "purchase", 1),
        ("420374", "214537850", at("2014-04-06 18:44:58.325"), "purchase", 1),
        ("1", "214536502", at("2014-04-07 10:51:09.277"), "view", 1),
        ("1", "214536500", at("2014-04-07 10:54:09.868"), "view", 1),
        ("2", "214662742", at("2014-04-07 13:56:37.614"), "view", 1),
        ("2", "214825110", at("2014-04-07 13:57:19.373"), "view", 1),
    ]
    prices = [price for (price,) in shop.events("price")]
    assert prices[0] == 12462
    assert pd.isna(prices[1])
    assert shop.item("214536500")["categories"] == ["3"]
    assert shop.item("214662742")["categories"] == []
    assert shop.item("214825110")["brand"] == "2089046104"


# Instacart


@pytest.mark.slow
def test_instacart(settings: Settings, tmp_path: Path) -> None:
    files: Files = {
        "orders.csv": (
            "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order\n"
            "2539329,1,prior,1,2,08,\n"
            "2398795,1,prior,2,3,07,15.0\n"
            "473747,1,prior,10,3,12,21.0\n"
            "1187899,1,train,11,3,12,0.0\n"
            "774958,2,test,1,0,11,\n"
        ),
        "order_products__prior.csv": (
            "order_id,product_id,add_to_cart_order,reordered\n"
            "2539329,196,1,0\n2398795,196,1,1\n473747,196,1,1\n"
        ),
        "order_products__train.csv": (
            "order_id,product_id,add_to_cart_order,reordered\n1187899,10258,1,0\n"
        ),
        "products.csv": (
            "product_id,product_name,aisle_id,department_id\n"
            '196,Soda,77,7\n10258,"Pistachios, ""salted""",117,19\n'
        ),
        "aisles.csv": "aisle_id,aisle\n77,soft drinks\n117,nuts seeds dried fruit\n",
        "departments.csv": "department_id,department\n7,beverages\n19,snacks\n",
    }
    shop = run(settings, tmp_path, "instacart", files)
    assert shop.events("user_id", "item_id", "timestamp", "order_id") == [
        ("1", "196", at("2017-01-03 08:00:01"), "2539329"),  # a Tuesday
        ("1", "196", at("2017-01-18 07:00:02"), "2398795"),
        ("1", "196", at("2017-02-08 12:00:10"), "473747"),
        ("1", "10258", at("2017-02-08 12:00:11"), "1187899"),  # after the order of the same hour
    ]
    item = shop.item("10258")
    assert item["title"] == 'Pistachios, "salted"'
    assert item["categories"] == ["snacks", "nuts seeds dried fruit"]


# Complete Journey


@pytest.mark.slow
def test_complete_journey(settings: Settings, tmp_path: Path) -> None:
    def bought(product: int, quantity: int, value: float) -> dict[str, Any]:
        return {
            "household_id": 900,
            "store_id": 330,
            "basket_id": 31198570044,
            "product_id": product,
            "quantity": quantity,
            "sales_value": value,
            "retail_disc": 0.0,
            "coupon_disc": 0.0,
            "coupon_match_disc": 0.0,
            "week": 1,
            "transaction_timestamp": pd.Timestamp("2017-01-01 11:53:26"),
        }

    transactions = [
        bought(25671, 2, 3.0),
        bought(26190, 1, 0.0),
        bought(25671, 0, 0.0),
        bought(6534178, 14000, 25.0),
        bought(1, 1, 1.0),
        bought(9, 1, 4.0),
    ]
    products = pd.DataFrame(
        [
            (25671, 2, "GROCERY", "National", "FRZN ICE", "ICE - CRUSHED/CUBED", "22 LB"),
            (26190, 69, "GROCERY", "Private", "FRUIT - SHELF STABLE", "APPLE SAUCE", "50 OZ"),
            (26081, 2, "MISCELLANEOUS", "National", None, None, None),
            (9, 2, None, "National", None, "CANDLES", None),
            (6534178, 69, "FUEL", "Private", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED", None),
        ],
        columns=[
            "product_id",
            "manufacturer_id",
            "department",
            "brand",
            "product_category",
            "product_type",
            "package_size",
        ],
    )
    household = {"age": "35-44", "income": "35-49K", "home_ownership": None, "marital_status": None}
    household |= {"household_size": "2", "household_comp": "2 Adults No Kids", "kids_count": "0"}
    demographics = pd.DataFrame([{"household_id": 900, **household}])
    files: Files = {
        "transactions.parquet": parquet(pd.DataFrame(transactions), tmp_path),
        "products.parquet": parquet(products, tmp_path),
        "demographics.parquet": parquet(demographics, tmp_path),
    }
    shop = run(settings, tmp_path, "complete-journey", files, max_bad_share=0.5)
    time = at("2017-01-01 11:53:26")
    assert shop.events("user_id", "item_id", "timestamp", "order_id", "quantity") == [
        ("900", "25671", time, "31198570044", 2),
        ("900", "26190", time, "31198570044", 1),
        ("900", "9", time, "31198570044", 1),
    ]
    prices = shop.valid["interactions"].set_index("item_id")["price"]
    assert prices["25671"] == 1.5
    assert pd.isna(prices["26190"])  # paid by a coupon
    assert shop.reasons() == {"not in the catalogue": 2, "quantity not positive": 1}
    ice, other = shop.item("25671"), shop.item("26081")
    assert ice["title"] == "ICE - CRUSHED/CUBED 22 LB"
    assert ice["price"] == 1.5
    assert ice["categories"] == ["GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED"]
    assert other["title"] == "MISCELLANEOUS"
    assert shop.item("26190")["brand"] == "Private label"
    assert (ice["category:manufacturer"], ice["category:package_size"]) == ("2", "22 LB")
    customer = shop.valid["users"].set_index("user_id").loc["900"]
    assert {name: customer[f"category:{name}"] for name in household} == household
