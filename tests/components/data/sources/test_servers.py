"""Tables and queries of PostgreSQL and MariaDB, and a password that no output has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
import yaml
from pydantic import ValidationError

from components.data.sources import inventory
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.settings import Ingest, Settings, SettingsError, Source, load_settings
from tests.components.data.shop_files import ingest
from tests.conftest import REPOSITORY

COLUMNS = {"user_id": "customer", "item_id": "sku", "timestamp": "at"}
PASSWORD = "wrong%40pass:/42"  # written %40 and so on in a URL

POSTGRESQL = [
    'CREATE TABLE orders (customer numeric, sku text, "at" timestamptz, local timestamp, '
    "price numeric(9, 2), tags text[], seen json, ok boolean)",
    "INSERT INTO orders VALUES (7, '0012', '2024-03-01 12:00+01', '2024-03-01 12:00', 2.50, "
    "ARRAY['a', 'b'], '{\"n\": 1}', true), (8, '50%', '2024-07-01 12:00+02', '2024-07-01 12:00', "
    "NULL, NULL, NULL, false)",
]
MYSQL = [
    "CREATE TABLE orders (customer decimal(30, 0), sku varchar(20), at timestamp NULL, "
    "local datetime, price decimal(9, 2), tags json, ok bit(1))",
    "SET time_zone = '+00:00'",
    "INSERT INTO orders VALUES (7, '0012', '2024-03-01 11:00', '2024-03-01 12:00', 2.50, "
    "'[\"a\", \"b\"]', 1), (8, '50%', '2024-07-01 10:00', '2024-07-01 12:00', NULL, NULL, 0)",
]


@dataclass(frozen=True)
class Server:
    """A server with a table of two orders. engine: to change it."""

    kind: str
    engine: sa.Engine

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                raw = connection.execution_options(no_parameters=True)
                raw.exec_driver_sql(statement)


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = sa.make_url(request.getfixturevalue(request.param))
    mysql = request.param == "mariadb"
    monkeypatch.setenv("SHOP_DATABASE", url.render_as_string(hide_password=False))
    driver = "mysql+pymysql" if mysql else "postgresql+psycopg"
    found = Server(request.param, sa.create_engine(url.set(drivername=driver)))
    found.execute("DROP TABLE IF EXISTS orders", *(MYSQL if mysql else POSTGRESQL))
    yield found
    found.execute("DROP TABLE IF EXISTS orders")
    found.engine.dispose()


def source_of(**changed: Any) -> Source:
    given = {"database": "SHOP_DATABASE", "columns": COLUMNS, **changed}
    return Source.model_validate(given)


def rows_of(root: Path, **changed: Any) -> pd.DataFrame:
    (file,) = files_of(source_of(**changed), root)
    return read(connect("Europe/Berlin"), file, "interactions").order_by("source_row").execute()


BOTH = pd.to_datetime(["2024-03-01 11:00", "2024-07-01 10:00"], utc=True).tolist()


def test_a_table_keeps_its_types(server: Server, tmp_path: Path) -> None:
    found = rows_of(tmp_path, table="orders", columns={**COLUMNS, "price": "price"})
    assert found["user_id"].tolist() == ["7", "8"]
    assert found["item_id"].tolist() == ["0012", "50%"]
    assert found["price"].tolist()[0] == 2.5
    assert pd.isna(found["price"][1])
    assert found["unreadable"].tolist() == [None, None]
    assert found["timestamp"].tolist() == BOTH  # instants
    assert set(found["source"]) == {"database SHOP_DATABASE, table orders"}
    local = rows_of(tmp_path, table="orders", columns={**COLUMNS, "timestamp": "local"})
    assert local["timestamp"].tolist() == BOTH  # the shop's time


def test_a_zero_date_of_mysql_is_unreadable(
    mariadb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOP_DATABASE", mariadb)
    server = Server(
        "mariadb", sa.create_engine(sa.make_url(mariadb).set(drivername="mysql+pymysql"))
    )
    zero = "'0000-00-00 00:00:00'"
    server.execute(
        "DROP TABLE IF EXISTS zeros",
        "CREATE TABLE zeros (customer int, sku text, at timestamp NULL, local datetime)",
        "SET sql_mode = ''",
        "SET time_zone = '+00:00'",
        "INSERT INTO zeros VALUES (1, 'a', '2024-03-01 11:00', '2024-03-01 11:00'), "
        f"(2, 'b', {zero}, {zero}), (3, 'c', '2024-07-01 10:00', '2024-07-01 10:00')",
    )
    for column in ("at", "local"):
        found = rows_of(tmp_path, table="zeros", columns={**COLUMNS, "timestamp": column})
        assert pd.isna(found["timestamp"][1])
        assert found["unreadable"].tolist() == [None, "timestamp: '0000-00-00 00:00:00'", None]
    found = rows_of(tmp_path, table="zeros")
    assert [found["timestamp"][0], found["timestamp"][2]] == BOTH
    server.execute("DROP TABLE zeros")
    server.engine.dispose()


def test_lists_and_booleans_keep_their_values(server: Server, tmp_path: Path) -> None:
    columns = {"item_id": "sku", "title": "sku", "available": "ok", "categories": "tags"}
    (file,) = files_of(source_of(columns=columns, table="orders"), tmp_path)
    if server.kind == "mariadb":  # has no lists: its type json is a text
        with pytest.raises(ValueError, match=r"column 'tags' .* holds printed lists"):
            read(connect("UTC"), file, "items")
        del columns["categories"]
        (file,) = files_of(source_of(columns=columns, table="orders"), tmp_path)
    found = read(connect("UTC"), file, "items").order_by("source_row").execute()
    assert found["available"].tolist() == [True, False]
    if server.kind == "postgres":
        assert list(found["categories"][0]) == ["a", "b"]
        assert found["categories"][1] is None


def test_a_query_is_in_the_databases_own_sql(
    server: Server, settings: Settings, tmp_path: Path
) -> None:
    quoted = "`at`" if server.kind == "mariadb" else '"at"'
    query = (
        f"WITH paid AS (SELECT customer, sku, {quoted} FROM orders WHERE sku LIKE '%50%')\n"
        "SELECT * FROM paid -- ; a comment\n;"
    )
    source = {"database": "SHOP_DATABASE", "query": query, "columns": COLUMNS}
    tables = ingest(settings, tmp_path, interactions=[source])
    assert tables["interactions"]["item_id"].tolist() == ["50%"]


@pytest.mark.slow
def test_many_rows_pass_in_batches(server: Server, tmp_path: Path) -> None:
    days = "generate_series(1, 25000)" if server.kind == "postgres" else "seq_1_to_25000"
    name = "n" if server.kind == "postgres" else "seq"
    alias = " AS s(n)" if server.kind == "postgres" else ""
    moment = "now()"
    query = f"SELECT {name} AS customer, 'x' AS sku, {moment} AS moment FROM {days}{alias}"
    found = rows_of(tmp_path, query=query, columns={**COLUMNS, "timestamp": "moment"})
    assert sorted(map(int, found["user_id"])) == list(range(1, 25_001))
    assert found["source_row"].tolist() == list(range(25_000))


HOSTILE = (
    "DROP TABLE orders",
    "DELETE FROM orders",
    "SELECT 1; DROP TABLE orders",
    "SELECT customer INTO copied FROM orders",
    "CREATE TABLE copied AS SELECT * FROM orders",
)
IN_CTE = "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone"
"""A SELECT to the check of the statement, so that the server refuses it."""


def assert_unchanged(server: Server) -> None:
    with server.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM orders")).scalar() == 2
        assert not sa.inspect(connection).has_table("copied")


@pytest.mark.parametrize("query", HOSTILE)
def test_a_query_cannot_write(server: Server, tmp_path: Path, query: str) -> None:
    with pytest.raises(ValueError, match=r"SHOP_DATABASE, query must be exactly one SELECT"):
        rows_of(tmp_path, query=query)
    assert_unchanged(server)


def test_a_select_cannot_delete(server: Server, tmp_path: Path) -> None:
    said = "read-only transaction|top level" if server.kind == "postgres" else "SQL syntax"
    with pytest.raises(ValueError, match=rf"SHOP_DATABASE, query: .*({said})"):
        rows_of(tmp_path, query=IN_CTE)
    assert_unchanged(server)


WIPE = {
    "postgres": "CREATE FUNCTION wipe() RETURNS int AS 'DELETE FROM orders; SELECT 1' LANGUAGE sql",
    "mariadb": "CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA "
    "BEGIN DELETE FROM orders; RETURN 1; END",
}


def test_a_function_that_a_query_calls_cannot_write(server: Server, tmp_path: Path) -> None:
    server.execute("DROP FUNCTION IF EXISTS wipe", WIPE[server.kind])
    with pytest.raises(ValueError, match=r"(?i)read.only"):
        rows_of(
            tmp_path,
            query="SELECT wipe() AS customer, 'x' AS sku, now() AS moment",
            columns={**COLUMNS, "timestamp": "moment"},
        )
    server.execute("DROP FUNCTION wipe")
    assert_unchanged(server)


def test_what_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such table: did you mean 'orders'\?; there are"):
        rows_of(tmp_path, table="order")
    with pytest.raises(ValueError, match=r"table orders has no column 'skus': did you mean 'sku'"):
        rows_of(tmp_path, table="orders", columns={**COLUMNS, "item_id": "skus"})
    with pytest.raises(ValueError, match=r"query: .*(skus|SKUS)"):
        rows_of(tmp_path, query="SELECT skus FROM orders")
    with pytest.raises(ValueError, match=r"query has no column 'at'.*it has customer, sku"):
        rows_of(tmp_path, query="SELECT customer, sku FROM orders")
    with pytest.raises(
        ValueError, match=r"query( has the column 'sku' 2 times|: Duplicate column)"
    ):
        rows_of(tmp_path, query="SELECT customer, sku, sku, at FROM orders")


def listed(settings: Settings, root: Path, **changed: Any) -> dict[str, Any]:
    section = Ingest.model_validate({"interactions": [source_of(**changed)]})
    inventory.run(settings.model_copy(update={"ingest": section}), root)
    return json.loads((root / inventory.INVENTORY).read_text())


@pytest.mark.parametrize("table", [True, False])
def test_a_watermark_tells_whether_the_table_changed(
    server: Server, settings: Settings, tmp_path: Path, table: bool
) -> None:
    read_from = {"table": "orders"} if table else {"query": "SELECT * FROM orders"}
    before = listed(settings, tmp_path, watermark="local", **read_from)
    (state,) = before.values()
    assert state == {"rows": 2, "watermark": "2024-07-01 12:00:00"}
    assert listed(settings, tmp_path, watermark="local", **read_from) == before
    server.execute("UPDATE orders SET local = '2024-07-02 12:00' WHERE sku = '0012'")
    (state,) = listed(settings, tmp_path, watermark="local", **read_from).values()
    assert state == {"rows": 2, "watermark": "2024-07-02 12:00:00"}


def test_without_a_watermark_the_table_is_read_at_every_run(
    server: Server, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listed(settings, tmp_path, table="orders")
    assert "table orders is read at every run: set `watermark`" in capsys.readouterr().out
    assert listed(settings, tmp_path, table="orders") != before
    with pytest.raises(ValueError, match="table orders has no column 'locale'"):
        listed(settings, tmp_path, table="orders", watermark="locale")


def test_no_output_has_the_password(
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    admin = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg"))
    with admin.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS stranger"))
        connection.execute(sa.text("CREATE ROLE stranger LOGIN PASSWORD 'right'"))
    url = sa.make_url(postgres).set(username="stranger", password=PASSWORD)
    said = []
    for given in (
        url,
        url.set(host="127.0.0.1", port=9),
        url.set(database="none"),
        url.set(drivername="oracle"),
        url.set(query={"sslmode": PASSWORD}),
    ):
        monkeypatch.setenv("SHOP_DATABASE", given.render_as_string(hide_password=False))
        for call in (
            lambda: rows_of(tmp_path, table="orders"),
            lambda: listed(settings, tmp_path, table="orders", watermark="at"),
        ):
            with pytest.raises(ValueError, match="database SHOP_DATABASE, table orders") as caught:
                call()
            chain = caught.value
            while chain is not None:
                said.append(str(chain))
                chain = chain.__cause__ or (
                    None if chain.__suppress_context__ else chain.__context__
                )
    monkeypatch.setenv("SHOP_DATABASE", f"postgresql://stranger:{PASSWORD}@@:db/x")
    with pytest.raises(ValueError, match="SHOP_DATABASE") as caught:
        rows_of(tmp_path, table="orders")
    written = "".join(one.read_text() for one in tmp_path.rglob("*") if one.is_file())
    text = " ".join([*said, str(caught.value), written, *capfd.readouterr()])
    assert "password authentication failed" in text
    assert "wrong" not in text  # also of an encoded password


def test_the_url_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SHOP_DATABASE", raising=False)
    with pytest.raises(ValueError, match="the environment has no SHOP_DATABASE: set it to the URL"):
        rows_of(tmp_path, table="orders")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["ingest"]["interactions"][0] |= {"database": "postgresql://shop:4711@db/shop"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(SettingsError, match="holds a credential") as caught:
        load_settings(tmp_path / "params.yaml")
    assert "4711" not in str(caught.value)
    monkeypatch.setenv("SHOP_DATABASE", "snowflake://reader@account/shop")
    with pytest.raises(ValueError, match=r"pip install snowflake-sqlalchemy"):
        rows_of(tmp_path, table="orders")


WRONG = {
    "names the environment variable": {"database": "postgresql://db/shop", "table": "t"},
    "either `table` or `query`": {},
    "exclude each other": {"path": "a.csv", "table": "t"},
    "delimiter belongs to files": {"table": "t", "delimiter": ";"},
    "watermark belongs to a source with `database`": {
        **{"database": "", "path": "a.csv", "watermark": "x"}
    },
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_setting_is_refused(words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        source_of(**WRONG[words])
