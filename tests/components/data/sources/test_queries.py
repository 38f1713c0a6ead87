"""A query's result is read as a file is; what it must not do or cannot is refused in words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.data.engine import clear_staging, staging
from components.data.sources import inventory
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.settings import Ingest, Settings, Source
from tests.components.data.shop_files import ingest

NOON = "2024-03-01T12:00:00Z"
USER_ITEM_TIME = {"user_id": "u", "item_id": "s", "timestamp": "t"}
ORDERS = f"order,customer,bought\n1,007,{NOON}\n2,8,2024-03-02T12:00:00Z\n"
LINES = "order;sku;n\n1;mug;2\n1;0012;1\n2;mug;x\n3;cup;1\n"


def rows_of(root: Path, table: str = "interactions", zone: str = "UTC", **source: Any) -> Any:
    """Return the rows of a source with the contract's columns, as a frame."""
    (file,) = files_of(Source.model_validate({"columns": USER_ITEM_TIME, **source}), root)
    return read(connect(zone), file, table).order_by("source_row").execute()


def values(root: Path, query: str, **source: Any) -> list[Any]:
    """Return the column ``v`` of a query's result, in its order, read as texts."""
    given = Source.model_validate({"query": query, "columns": {"v": "v"}, **source})
    (file,) = files_of(given, root)
    rows, cells = file.columns(connect("UTC"), ["v"])
    return rows.select(v=cells["v"].text).execute()["v"].tolist()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "lines.csv.gz").write_bytes(gzip.compress(LINES.encode()))
    return tmp_path


JOINED = {
    "query": "SELECT customer AS u, sku AS s, bought AS t, n\n"
    'FROM lines JOIN orders USING ("order") ORDER BY ALL; -- done',
    "tables": {"orders": "orders.csv", "lines": {"path": "lines.csv.gz", "delimiter": ";"}},
    "columns": {**USER_ITEM_TIME, "quantity": "n"},
}


def test_a_join_is_read_as_a_file_of_its_result(shop: Path) -> None:
    found = rows_of(shop, **JOINED)
    assert found["user_id"].tolist() == ["007", "007", "8"]  # text, as all of delimited text
    assert found["item_id"].tolist() == ["0012", "mug", "mug"]
    assert found["quantity"].tolist()[:2] == [1, 2]
    assert found["unreadable"].tolist() == [None, None, "quantity: 'x'"]
    assert found["timestamp"][0] == pd.Timestamp(NOON)
    assert set(found["source"]) == {"orders.csv, lines.csv.gz"}
    assert found["source_row"].tolist() == [0, 1, 2]


def test_the_stage_reads_it_and_leaves_no_copy(settings: Settings, shop: Path) -> None:
    tables = ingest(settings, shop, interactions=[{**JOINED, "event": "cart"}])
    assert tables["interactions"]["event"].tolist() == ["cart"] * 3
    assert not staging(shop).exists()
    assert not list(shop.rglob("*.lines"))


def test_blank_continuation_lines_are_filled_down(tmp_path: Path) -> None:
    rows = (
        f"Name,Email,When,Sku\n#1,a@x.org,{NOON},mug\n#1,,,cup\n#2,b@x.org,{NOON},mug\n#2,,,pot\n"
    )
    (tmp_path / "orders.csv").write_text(rows)
    query = """
        SELECT last_value(Email IGNORE NULLS) OVER above AS u, Sku AS s,
               last_value("When" IGNORE NULLS) OVER above AS t
        FROM source WINDOW above AS (PARTITION BY source_file ORDER BY source_row)"""
    found = rows_of(tmp_path, path="orders.csv", query=query)
    assert sorted(zip(found["user_id"], found["item_id"], strict=True)) == [
        *(("a@x.org", "cup"), ("a@x.org", "mug")),
        *(("b@x.org", "mug"), ("b@x.org", "pot")),
    ]
    assert found["timestamp"].notna().all()


def test_the_value_known_at_the_time_is_joined(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("ts,visitor,item\n1433221332117,1,9\n1433321332117,1,9\n")
    (tmp_path / "item_properties.csv").write_text(
        "timestamp,itemid,property,value\n"
        "1433200000000,9,categoryid,old\n"
        "1433300000000,9,categoryid,new\n"
    )
    found = rows_of(
        tmp_path,
        query="""
            SELECT e.visitor AS u, e.item AS s, e.ts AS t, p.value AS category
            FROM events e ASOF LEFT JOIN
              (SELECT * FROM properties WHERE property = 'categoryid') p
              ON e.item = p.itemid AND e.ts::BIGINT >= p.timestamp::BIGINT
            ORDER BY e.ts""",
        tables={"events": "events.csv", "properties": "item_properties.csv"},
        columns={**USER_ITEM_TIME, "category": "category"},
    )
    assert [list(one) for one in found["categories"]] == [["old"], ["new"]]
    assert found["timestamp"][0] == pd.Timestamp("2015-06-02 05:02:12.117", tz="UTC")


def test_nested_items_are_unnested(tmp_path: Path) -> None:
    events = [
        {
            "event_timestamp": 1709294400000000,
            "user_pseudo_id": "12.5",
            "event_name": "purchase",
            "items": [{"item_id": "007", "price": 1.5, "quantity": 2}, {"item_id": "8"}],
        },
        {"event_timestamp": 1709294400000001, "user_pseudo_id": "13", "items": []},
    ]
    (tmp_path / "ga4.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    query = """
        SELECT user_pseudo_id AS u, event_timestamp AS t, event_name, i ->> 'item_id' AS s,
               i ->> 'price' AS price, coalesce(i ->> 'quantity', '1') AS n
        FROM (SELECT *, unnest(from_json(items, '["JSON"]')) AS i FROM source)"""
    found = rows_of(
        tmp_path,
        path="ga4.jsonl",
        query=query,
        columns={**USER_ITEM_TIME, "event": "event_name", "quantity": "n", "price": "price"},
    )
    assert found["item_id"].tolist() == ["007", "8"]
    assert found["user_id"].tolist() == ["12.5", "12.5"]
    assert found["quantity"].tolist() == [2, 1]
    assert found["price"][0] == 1.5
    assert found["timestamp"][0] == pd.Timestamp(NOON)

    nested = pa.table(
        {
            "u": ["a"],
            "micros": pa.array([1709294400000000], pa.int64()),
            "items": [[{"item_id": "x", "price_in_micros": 12_500_000}]],
        }
    )
    pq.write_table(nested, tmp_path / "ga4.parquet")
    found = rows_of(
        tmp_path,
        path="ga4.parquet",
        query="SELECT u, make_timestamptz(micros) AS t, i.item_id AS s, "
        "i.price_in_micros / 1e6 AS p FROM source, unnest(items) AS x(i)",
        columns={**USER_ITEM_TIME, "price": "p"},
    )
    assert found[["item_id", "price"]].to_numpy().tolist() == [["x", 12.5]]
    assert found["timestamp"][0] == pd.Timestamp(NOON)


def test_a_genre_column_becomes_a_list(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("1::Amélie (2001)::Comedy|Romance\n".encode("latin-1"))
    found = rows_of(
        tmp_path,
        "items",
        path="movies.dat",
        format="csv",
        header=False,
        delimiter="::",
        encoding="latin-1",
        query="SELECT c1 AS id, c2 AS title, string_split(c3, '|') AS genres FROM source",
        columns={"item_id": "id", "title": "title", "categories": "genres"},
    )
    assert found["title"].tolist() == ["Amélie (2001)"]
    assert list(found["categories"][0]) == ["Comedy", "Romance"]


def test_times_are_made_of_order_numbers_and_of_date_and_time(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("user,order_number,days_since\n1,1,\n1,2,7.0\n1,3,30.0\n")
    found = rows_of(
        tmp_path,
        path="o.csv",
        query="""
            SELECT "user" AS u, order_number AS s,
              DATE '2024-01-01' + CAST(sum(coalesce(days_since::DOUBLE, 0)) OVER (
                PARTITION BY "user" ORDER BY order_number::INT)AS INT) AS t
            FROM source ORDER BY order_number::INT""",
    )
    days = [str(one.date()) for one in found["timestamp"]]
    assert days == ["2024-01-01", "2024-01-08", "2024-02-07"]

    (tmp_path / "o.csv").write_text("u,s,d,h\na,x,2024-07-01,1230\n")
    query = "SELECT u, s, strptime(d || lpad(h, 4, '0'), '%Y-%m-%d%H%M') AS t FROM source"
    found = rows_of(tmp_path, zone="Europe/Berlin", path="o.csv", query=query)
    assert found["timestamp"][0] == pd.Timestamp("2024-07-01 10:30", tz="UTC")


def test_a_folder_is_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for month, text in (("1", "sku,n\n01,5\n"), ("2", "N,extra,sku\n6,e,02\n")):
        folder = tmp_path / f"in/month={month}"
        folder.mkdir(parents=True)
        (folder / "lines.csv").write_text(text)
    (tmp_path / "in/more.jsonl").write_text(
        '{"sku": 3, "n": true}\n{"sku": "04", "n": 12345678901234567890123}\n'
    )
    query = "SELECT concat_ws(' ', sku, n, extra, month, source_file, source_row) AS v FROM source"
    assert values(tmp_path, query, path="in") == [
        "01 5 1 in/month=1/lines.csv 0",
        "02 6 e 2 in/month=2/lines.csv 0",
        "3 true in/more.jsonl 0",
        "04 12345678901234567890123 in/more.jsonl 1",
    ]
    printed = capsys.readouterr().out
    assert "2 files have no column 'extra', which is null in their rows" in printed
    assert "1 files have no column 'month'" in printed
    for n in range(300):
        (tmp_path / f"in/x{n:03}.csv").write_text(f"sku,n\n{n},1\n")
    assert values(tmp_path, "SELECT sku AS v FROM source", path="in/x*.csv") == [
        str(n) for n in range(300)
    ]


def test_no_type_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("v\n007\n1.0\n2024-01-01\ntrue\n")
    assert values(tmp_path, "SELECT v FROM source", path="a.csv") == [
        *("007", "1.0", "2024-01-01", "true")
    ]
    (tmp_path / "a.jsonl").write_text('{"v": "007"}\n{"v": 1.0}\n{"v": null}\n{"v": ["a"]}\n')
    kinds = values(tmp_path, "SELECT json_type(v) AS v FROM source", path="a.jsonl")
    assert kinds == ["VARCHAR", "DOUBLE", None, "ARRAY"]
    # In months with gaps pandas writes whole numbers as floats.
    for name, column in (("a", pa.array([7, 8])), ("b", pa.array([9.0, None]))):
        (tmp_path / "p").mkdir(exist_ok=True)
        pq.write_table(pa.table({"v": column}), tmp_path / f"p/{name}.parquet")
    assert values(tmp_path, "SELECT v FROM source", path="p") == ["7", "8", "9", None]
    for name, column in (("a", pa.array([[1]])), ("b", pa.array([{"a": 1}]))):
        (tmp_path / "q").mkdir(exist_ok=True)
        pq.write_table(pa.table({"v": column}), tmp_path / f"q/{name}.parquet")
    with pytest.raises(ValueError, match=r"column 'v' has different types in its files, array"):
        values(tmp_path, "SELECT v FROM source", path="q")
    large = 2**90 + 1
    assert values(tmp_path, f"SELECT {large}::HUGEINT AS v FROM source LIMIT 1", path="p") == [
        str(large)
    ]
    assert values(tmp_path, "SELECT INTERVAL 1 DAY AS v FROM source LIMIT 1", path="p") == ["1 day"]


def test_json_of_the_result_is_read_as_json_of_a_file(tmp_path: Path) -> None:
    rows = [{"id": "1", "tags": ["a", "b"]}, {"id": "2", "tags": "c"}]
    (tmp_path / "i.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    columns = {"item_id": "id", "title": "id", "categories": "tags"}
    plain = rows_of(tmp_path, "items", path="i.jsonl", columns=columns)
    query = "SELECT * FROM source"
    queried = rows_of(tmp_path, "items", path="i.jsonl", columns=columns, query=query)
    pd.testing.assert_frame_equal(plain, queried)
    assert [list(one) for one in queried["categories"]] == [["a", "b"], ["c"]]
    with pytest.raises(ValueError, match=r"column 'o' \(for title\) holds lists or objects"):
        rows_of(
            tmp_path,
            "items",
            path="i.jsonl",
            columns={"item_id": "id", "title": "o"},
            query="SELECT id, json_object('a', id) AS o FROM source",
        )


def test_columns_without_a_name_of_their_own_are_numbered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("x,X,,source_row\n1,2,3,4\n")
    query = "SELECT concat_ws(' ', x_1, X_2, c3, source_row_1, source_row) AS v FROM source"
    assert values(tmp_path, query, path="a.csv") == ["1 2 3 4 0"]
    assert "column 1 is x_1, column 2 is X_2, column 3 is c3" in capsys.readouterr().out


def test_names_of_json_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"Sku": "1", "u": "7"}\n{"sku": "2", "u": "8"}\n')
    words = r"a\.jsonl: '[Ss]ku' and another name .* differ in case only, .*: rename one"
    with pytest.raises(ValueError, match=words):
        values(tmp_path, "SELECT u AS v FROM source", path="a.jsonl")
    columns = {"user_id": "u", "item_id": "sku", "timestamp": "u"}
    (file,) = files_of(Source.model_validate({"path": "a.jsonl", "columns": columns}), tmp_path)
    rows, cells = file.columns(connect("UTC"), ["sku"])
    assert rows.select(v=cells["sku"].text).execute()["v"].tolist() == [None, "2"]
    with pytest.raises(ValueError, match=words):
        file.columns(connect("UTC"), ["sku", "Sku"])


def test_equal_runs_give_equal_rows(tmp_path: Path) -> None:
    lines = "".join(f"{n % 7919},{n}\n" for n in range(200_000))
    (tmp_path / "a.csv").write_text("k,n\n" + lines)
    query = (
        "SELECT a.k || '-' || count(*) AS v FROM source a JOIN source b USING (k, n) GROUP BY a.k"
    )
    first, second = (values(tmp_path, query, path="a.csv") for _ in range(2))
    assert first == second
    assert len(first) == 7919


HOSTILE = {
    "SELECT * FROM read_csv('{root}/secret.csv')": "secret.csv cannot be read",
    "SELECT * FROM '{root}/secret.csv'": "secret.csv cannot be read",
    "SELECT content AS v FROM read_text('{root}/data/.staging/../../secret.csv')": "cannot be read",
    "SELECT * FROM glob('/etc/*')": "/etc/* cannot be read",
    "SELECT * FROM read_parquet('https://example.org/a.parquet')": "cannot be read",
    "SELECT * FROM read_csv('s3://bucket/a.csv')": "cannot be read",
    "SELECT * FROM tmp_path": "tmp_path does not exist",
    "COPY source TO '{root}/out.csv'": "found: COPY",
    "SELECT 1 AS v; COPY source TO '{root}/out.csv'": "found: SELECT, COPY",
    "SELECT 1 AS v) TO '{root}/out.csv' --": "syntax error",
    "ATTACH '{root}/out.db'": "found: ATTACH",
    "INSTALL httpfs": "found: LOAD",
    "SET enable_external_access = true": "found: SET",
    "CREATE TABLE x AS SELECT 1": "found: CREATE",
    "SELECT * FROM query('COPY source TO ''{root}/out.csv''')": "Expected a single SELECT",
    "": "found: no statement",
    "-- nothing": "found: no statement",
    "PIVOT source ON s": "SELECT … FROM (PIVOT …",
}


@pytest.mark.parametrize("query", HOSTILE)
def test_a_query_reads_its_tables_and_nothing_else(tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.csv").write_text("v\nsecret\n")
    (tmp_path / "a.csv").write_text("u,s,t\na,x,y\n")
    source = Source(path=Path("a.csv"), query="x", columns={"v": "v"})
    source = source.model_copy(update={"query": query.format(root=tmp_path) or "  "})
    (file,) = files_of(source, tmp_path)
    with pytest.raises(ValueError, match=r"a\.csv: query") as caught:
        file.columns(connect("UTC"), ["v"])
    assert HOSTILE[query] in str(caught.value)
    assert "\n" not in str(caught.value)
    clear_staging(tmp_path)
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.csv", "data", "secret.csv"]


WRONG = {
    "SELECT custmer AS u,\n sku AS s FROM orders": (
        "line 1",
        "did you mean 'customer'?",
        "its tables: orders (order, customer, bought, source_file, source_row)",
    ),
    "SELECT customer AS u\nFROM ordes": ("line 2", "ordes does not exist", "did you mean 'orders'"),
    "SELECT Kunde AS u, list_transform([1], x -> x) AS s, o.Datum AS t FROM orders o": (
        "its tables have no column 'Kunde', 'Datum'",
        "its tables: orders (order, customer, bought",
    ),
    "SELECT o.customr FROM orders o": ("did you mean 'customer'?",),
    "SELECT customer\nFORM orders": ("query, line 2: syntax error", "orders (order,"),
    "SELECT customer AS u FROM orders WHERE (bought": ("syntax error at end of input",),
    "SELECT 1 AS u,\n sku AS s, n::INT AS t FROM lines": (
        "query, line 2: Could not convert string 'x' to INT32",
        "TRY_CAST",
    ),
    "SELECT lowr(customer) AS u FROM orders": ("lowr", 'Did you mean "lower"?'),
    "SELECT customer AS user, customer AS s, bought AS t FROM orders": (
        "its result has no column 'u'",
        "it has user, s, t",
    ),
    "SELECT customer AS u, bought AS u, bought AS t, '' AS s FROM orders": ("'u' 2 times", "AS"),
    "SELECT * FROM sorce": ("sorce does not exist", "its tables: orders"),
}


@pytest.mark.parametrize("query", WRONG)
def test_a_mistake_of_a_query_is_explained(shop: Path, query: str) -> None:
    with pytest.raises(
        ValueError, match=r"ingest\.interactions: orders\.csv, lines\.csv\.gz: query"
    ) as e:
        rows_of(shop, **{**JOINED, "query": query, "columns": USER_ITEM_TIME})
    assert not [words for words in WRONG[query] if words not in str(e.value)], str(e.value)
    assert "\n" not in str(e.value)


SETTINGS = {
    "names no files: set `path`": {},
    "names no files: set `tables`": {"query": "SELECT 1"},
    "exclude each other": {"path": "a", "query": "SELECT 1", "tables": {"b": "b"}},
    "write `query`": {"tables": {"b": "b"}},
    "delimiter belongs to a table: write it there": {
        **{"delimiter": ";", "query": "SELECT 1", "tables": {"b": "b"}}
    },
    "tables b and B have one name": {"query": "SELECT 1", "tables": {"b": "b", "B": "c"}},
}


@pytest.mark.parametrize("words", SETTINGS)
def test_a_source_has_a_path_or_a_query_with_tables(words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Source.model_validate({"columns": USER_ITEM_TIME, **SETTINGS[words]})


def test_the_inventory_lists_the_files_of_all_tables(settings: Settings, shop: Path) -> None:
    section = Ingest.model_validate({"interactions": [JOINED]})
    inventory.run(settings.model_copy(update={"ingest": section}), shop)
    found = json.loads((shop / inventory.INVENTORY).read_text())
    assert list(found) == ["lines.csv.gz", "orders.csv"]
