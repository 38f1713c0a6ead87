"""Validate on Spark: the files and the report of DuckDB, whatever ids, texts and numbers are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import shilling
from components.data import validation
from components.data.attributes import with_attributes
from components.data.engine import open_engine, staging
from components.data.false_profiles import false_profiles
from components.data.held_days import hold_days
from components.data.java_patterns import java
from components.data.schema import EVENTS, RAW, TABLES
from components.settings import Settings, Validate
from tests.components.data.test_spark import assert_equal, with_engine
from tests.spark import INTERPRETED, local_spark

PLACES = ("valid", "quarantine")
START = pd.Timestamp("2026-03-01", tz="UTC").value // 1000
HOUR = 3600 * 10**6
USERS = [None, "17", "17.0", "f", "v", " v", "é", "e\u0301", "É", "ß", "ẞ", "017"]
FINE = ["85123", "85123.0", "85123v", "85123f", "f", "v", "V", "0", "00", "é", "É", "$1", "a\u2028"]
PRODUCTS = [
    *(*FINE, None, "POST", "post", "post\n", "post\n\n", "poſt", "P\vST", "P ST", "P\u00a0ST"),
    *("m", "M", "Kg", "\u212ag", "gift_1_2", "a.b", "a\nb", "a\rb", "a\u2028b", "[x]", "x&&y"),
    *("x$", "\\1", "٣", "3"),
]
ORDERS = [None, "C1", "C2", "C3", "C1\n", "c1", "C", "C٣", *map(str, range(60))]
STATES = [*[None] * 20, "cancelled", "returned", "older version"]
FILES = ["shop.csv", "it's.csv", "events-2026-03-02.parquet", "events-2026-13-45.parquet"]
LIMITS = {
    "non_product_codes": [
        *("post", r"p\sst", "M", "kg", r"gift_\d+_\d", "a.b", r"[\]\[]x[\]\[]", r"x[&]&y"),
        *(r"x\$", r"[^\s\w]1", r"É", "f$"),
    ],
    "cancelled_orders": r"C(\d*)",
    "returns": "take_back",
    "min_timestamp": "2026-03-01T05:00:00.000001+00:00",
    "max_bad_share": 0.8,
    "min_known_items": 0,
    "min_known_users": 0,
    "max_user_item_day": 2,
    "max_client_item_day": 2,
    "max_client_day": 20,
    "min_client_rows": 30,
}
"""Settings by which every reason has rows."""


def written(file: Path, table: str, columns: dict[str, list[Any]]) -> None:
    """Write a raw table; columns that are not given are null."""
    schema = with_attributes(RAW[table], columns)
    n = len(next(iter(columns.values())))
    arrays = [
        pa.array(columns[one.name], one.type) if one.name in columns else pa.nulls(n, one.type)
        for one in schema
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=schema), file, row_group_size=700)


def hostile_shop(root: Path, rows: int = 4000) -> None:
    """Write raw tables whose values engines are known to read differently, and hold a day."""
    random = np.random.default_rng(7)

    def some(values: list[Any], n: int = rows) -> list[Any]:
        return [values[at] for at in random.integers(0, len(values), n)]

    nan, raw = float("nan"), root / "data/raw"
    times = START + random.integers(0, 72, rows) * HOUR + random.integers(-1, 2, rows)
    stamps: list[Any] = times.tolist()
    stamps[::50] = some([None, 0, 4 * 10**15], len(stamps[::50]))
    feedback = random.random(rows) < 0.4
    senders = some(["shop", "session", "none"])
    interactions = {
        "user_id": some(USERS),
        "item_id": some([*FINE * 9, *PRODUCTS]),
        "event": some([*EVENTS, *["purchase"] * 20, "Purchase", None]),
        "rating": some([*[None] * 20, 4.5, 5.0, nan, 0.0, 6.0]),
        "quantity": some([*[1.0, 2.0, 3.0] * 6, None, nan, -3.0, -1.0, -0.0, 0.0, 0.1, 16777216.0]),
        "price": some([*[0.1, 2.95, 19.99] * 6, None, nan, -1.0, -0.0, 0.0, 1e-30, 16777216.0]),
        "timestamp": stamps,
        "order_id": some(ORDERS),
        "impression_id": some([None, "one", "two"]),
        "list_source": some([None, "hybrid"]),
        "position": some([None, 1, 7]),
        "client": some([None, "x", "y", "z"]),
        "authentication": [
            one if sent else None for one, sent in zip(senders, feedback, strict=True)
        ],
        "source": some(FILES),
        "source_row": list(range(rows)),
        "piece": some([0, 0, 0, 1]),
        "status": [None if sent else one for one, sent in zip(some(STATES), feedback, strict=True)],
        "version": some([None, nan, 1.0, 2.0]),
        "unreadable": some([None] * 90 + ["price: '1,5'", "timestamp: 'f'; quantity: 'v'", "x"]),
    }
    for row, stars in enumerate(interactions["rating"]):
        if stars in (0.0, 6.0) or row % 60 == 0:
            interactions["client"][row] = "bad"
    same = random.integers(0, rows, rows // 8)  # equal rows, one of them of another place
    for name, values in interactions.items():
        interactions[name] = values + [values[at] for at in same]
    interactions["source_row"] = list(range(rows + len(same)))
    written(raw / "interactions.parquet", "interactions", interactions)
    products = [*PRODUCTS[:-3], *PRODUCTS[:5]]
    n = len(products)
    items = {
        "item_id": products,
        "title": some(["Versand", "VERSAND\v", " gift card ", "mug", None, "é", "f"], n),
        "price": some([None, nan, -1.0, -0.0, 0.0, *[2.95] * 9], n),
        "source": some(["lines", "items.csv"], n),
        "source_row": some([None, 3], n),
        "unreadable": some([None] * 9 + ["weight: 'f'; price: 'v'"], n),
        "number:weight": some([None, 0.1], n),
        "date:since": some([None, 0, START], n),
    }
    written(raw / "items.parquet", "items", items)
    users = {"user_id": [*USERS[:6], *USERS[:2]], "source": ["users.csv"] * 8}
    written(raw / "users.parquet", "users", users)
    reviews = {
        "user_id": some(USERS, 300),
        "item_id": some(PRODUCTS[:4], 300),
        "rating": some([None, nan, 0.0, 5.0], 300),
        "title": some([None, "f"], 300),
        "text": some([None, "", "v", "\v"], 300),
        "timestamp": some([None, 0, START], 300),
        "source": ["reviews.csv"] * 300,
        "source_row": list(range(300)),
    }
    written(raw / "reviews.parquet", "reviews", reviews)
    (raw / "notes.json").write_text(json.dumps({"items": ["a note"]}))
    hold_days(root, date(2026, 3, 3), date(2026, 3, 3), "no prices", "operator")


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """A session on two cores that writes several files of each table."""
    several = {"spark.sql.adaptive.enabled": "false", "spark.sql.files.maxRecordsPerFile": "200"}
    with local_spark(several | INTERPRETED) as found:
        yield found


def with_limits(settings: Settings, **limits: Any) -> Settings:
    section = Validate.model_validate({**settings.validate_.model_dump(), **limits})
    return settings.model_copy(update={"validate_": section})


def report_of_both(root: Path, settings: Settings) -> dict[str, Any]:
    """Run the stage on DuckDB and then on Spark; check that files, report and refusal are the same.

    Raises:
        TooManyBadRows: of both.
    """
    (root / "reports").mkdir(exist_ok=True)
    refusals, reports = [], []
    for engine in ("duckdb", "spark"):
        refusals.append(None)
        try:
            validation.run(with_engine(settings, engine), root, pages=False)
        except validation.TooManyBadRows as error:
            refusals[-1] = error
        reports.append((root / "reports/validation.json").read_text())
        if engine == "duckdb":
            for place in PLACES:
                shutil.rmtree(root / place, ignore_errors=True)
                (root / "data" / place).rename(root / place)
    compare_tables(root)
    assert reports[1] == reports[0]
    assert str(refusals[1]) == str(refusals[0])
    assert not staging(root).exists()
    if refusals[1]:
        raise refusals[1]
    report: dict[str, Any] = json.loads(reports[1])
    return report


def compare_tables(root: Path) -> None:
    """Check that DuckDB's tables below ``root`` are those of Spark below ``root/data``."""
    names = [f"{place}/{table}.parquet" for place in PLACES for table in TABLES]
    assert_equal({name: (root / name, root / "data" / name) for name in names})


@pytest.mark.slow
def test_hostile_tables_are_divided_as_on_duckdb(
    tmp_path: Path, settings: Settings, session: Any
) -> None:
    root = tmp_path / "it's a shop"
    hostile_shop(root)
    with pytest.raises(validation.TooManyBadRows, match="events 'Purchase' are bad"):
        report_of_both(root, with_limits(settings, **LIMITS))
    report = json.loads((root / "reports/validation.json").read_text())["interactions"]
    assert report["rows"] == 4500
    assert report["feedback"]["bad_clients"] == 1
    assert report["known_users"]["likely_cause"]
    assert report["partly_returned"]
    assert report["reasons"].keys() >= {
        *("not a product", "duplicate", "on a held day", "cancellation", "returned", "cancelled"),
        *("not in the catalogue", "unknown product", "product in quarantine: price cannot be read"),
        *("duplicate: the order is in the shop's files", "timestamp cannot be read"),
        *("too many events of a user on one product a day", "no time", "impossible time"),
        *("too many events of a client on one product a day", "no customer", "no item"),
    }


@pytest.mark.slow
def test_empty_tables_are_divided_as_on_duckdb(
    tmp_path: Path, settings: Settings, session: Any
) -> None:
    for name, schema in RAW.items():
        written(tmp_path / f"data/raw/{name}.parquet", name, {schema.names[0]: []})
    report = report_of_both(tmp_path, settings)
    assert [report[name]["rows"] for name in TABLES] == [0, 0, 0, 0]


@pytest.mark.slow
def test_ids_of_files_that_do_not_fit_have_the_same_cause(
    tmp_path: Path, settings: Settings, session: Any
) -> None:
    n = 60
    events = {
        "user_id": [f"u{row}" for row in range(n)],
        "item_id": [f"{row % 30}.0" for row in range(n)],
        "event": ["purchase"] * n,
        "timestamp": [START + row * HOUR for row in range(n)],
        "source": ["shop.csv"] * n,
        "source_row": list(range(n)),
    }
    items = {"item_id": [f"p{row}" for row in range(30)], "source": ["items.csv"] * 30}
    users = {"user_id": [f"U{row}" for row in range(n)], "source": ["users.csv"] * n}
    written(tmp_path / "data/raw/interactions.parquet", "interactions", events)
    written(tmp_path / "data/raw/items.parquet", "items", items)
    written(tmp_path / "data/raw/users.parquet", "users", users)
    written(tmp_path / "data/raw/reviews.parquet", "reviews", {"user_id": []})
    with pytest.raises(validation.TooManyBadRows, match="ids differ by capitals"):
        report_of_both(tmp_path, settings)


@pytest.mark.slow
def test_false_profiles_are_those_of_duckdb(
    small_shop: tuple[Path, Settings], tmp_path: Path, session: Any
) -> None:
    root, settings = small_shop
    valid = pd.read_parquet(root / "data/valid/interactions.parquet")
    world = shilling.world_of(root, settings, valid)
    target = str(world.popularity.index[world.popularity == 20][0])
    attack = shilling.attack(world, "random", 0.05, target, 0, one_client=False)
    frame = pd.concat([world.rows, attack], ignore_index=True)
    columns = ["user_id", "item_id", "authentication", "client", "timestamp"]
    rows = pa.Table.from_pandas(frame[columns].assign(row=range(len(frame))), preserve_index=False)
    rows = rows.set_column(4, "timestamp", rows["timestamp"].cast(pa.timestamp("us", tz="UTC")))
    found = []
    for name in ("duckdb", "spark"):
        with open_engine(with_engine(settings, name), tmp_path) as engine:
            reasons = false_profiles(engine.put("rows", rows))
        found.append(reasons.sort_by("row"))
    assert found[0].num_rows > 100
    assert found[1].equals(found[0])


@pytest.mark.slow
def test_patterns_are_found_in_the_same_texts(session: Any) -> None:
    texts = [one for one in PRODUCTS if one is not None]
    texts += [
        "ſb",
        "b\u212a",
        "ſa",
        *"kK\u212asSſiIıİßẞ\v\f\u0085\u2028\u00a0٣_-",
        "",
        "a\u0301",
        "aa b",
        "Ω",
    ]
    patterns = [
        *(r"a$", r"a.b", r"a\sb|\v|\f", r"\S", r"[\s]", r"[^\s]x", r"(?i)K", r"(?i)s", r"(?i)é"),
        *(r"(?i:p)ost", r"[[:alpha:]]", r"[[:punct:]]", r"[[:space:]]", r"[]x]", r"[^]x]", r"[[x]"),
        *(r"[x&&y]+$", r"\bb\b", r"\Ba", r"\d", r"\w", r"\pN", r"\p{Greek}", r"\p{Lu}", r"\PL"),
        *(r"\Q[x]\E", r"(?P<one_two>x)", r"{x", r"x{1,2}", r"\Apost\n?\z", r"(?s)a.b", r"\x{212a}"),
        *(r"\x41|P", r"[$]1", r"\$1", r"[a-c^-]", r"ı", r"\.0$", "(?i)i", r"(?i)\bb\b", r"(?i)\Ba"),
    ]
    session.createDataFrame([(one,) for one in texts], "t string").createOrReplaceTempView("texts")
    rows = session.table("texts")
    found = rows.select("t", *(rows.t.rlike(java(one)) for one in patterns)).collect()
    for row in found:
        text, *matched = row
        own = [
            duckdb.execute("SELECT regexp_matches(?, ?)", [text, one]).fetchall()[0][0]
            for one in patterns
        ]
        differ = [one for one, a, b in zip(patterns, own, matched, strict=True) if a != b]
        assert differ == (["(?i)i"] if text in ("ı", "İ") else []), repr(text)


@pytest.mark.parametrize(
    "pattern", [r"\C", r"\1", r"\p{Any}", r"[\S]", "(?m)a$", "(?U)a*", r"\p{^Lu}", "[[:^alpha:]]"]
)
def test_patterns_that_java_cannot_write_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"set tables\.engine to duckdb"):
        java(pattern)
