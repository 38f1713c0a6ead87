"""Parquet, CSV and database tables of lists: published whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from serving.batch.output import SCHEMA, Folder, OutputError, Row, Table

MADE = {"format": 1, "lists": 2}


def row(user: str, position: int, **changed: Any) -> Row:
    plain = {
        **{"user_id": user, "position": position, "item_id": "i1", "title": "Tea", "price": 2.5},
        **{"currency": "EUR", "score": -0.5, "source": "hybrid", "reason": None},
        "impression_id": "a1",
    }
    return {**plain, **changed}


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def read(url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        found = [tuple(one) for one in connection.execute(sa.text(statement))]
    engine.dispose()
    return found


def test_a_folder_appears_with_its_manifest(tmp_path: Path) -> None:
    output = Folder(tmp_path / "new/lists", "parquet", overwrite=False)
    output.check()
    output.begin()
    output.write([row("u1", 1), row("u1", 2)])
    output.write([row("u2", 1, price=None)])
    assert not (tmp_path / "new/lists").exists()
    output.publish(MADE)
    assert sorted(file.name for file in tmp_path.rglob("*")) == [
        *("lists", "lists.parquet", "manifest.json", "new"),
    ]
    found = pd.read_parquet(tmp_path / "new/lists/lists.parquet")
    assert found.columns.tolist() == SCHEMA.names
    assert found["user_id"].tolist() == ["u1", "u1", "u2"]
    assert json.loads((tmp_path / "new/lists/manifest.json").read_text()) == MADE


def test_what_is_there_is_replaced_only_if_told_so(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    for title, overwrite in (("old", False), ("new", True)):
        output = Folder(lists, "parquet", overwrite)
        output.check()
        output.begin()
        output.write([row("u1", 1, title=title)])
        output.publish(MADE)
    assert pd.read_parquet(lists / "lists.parquet")["title"].tolist() == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["lists"]
    with pytest.raises(OutputError, match=r"lists is there already: .*--overwrite"):
        Folder(lists, "csv", overwrite=False).check()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    (tmp_path / "link").symlink_to(lists)
    for place in (precious, tmp_path / "link", precious / "thesis.txt"):
        with pytest.raises(OutputError, match=r"no folder of earlier lists"):
            Folder(place, "csv", overwrite=True).check()


def test_one_that_appeared_during_the_run_is_kept(tmp_path: Path) -> None:
    output = Folder(tmp_path / "lists", "csv", overwrite=False)
    output.check()
    output.begin()
    (tmp_path / "lists").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        output.publish(MADE)
    assert not list((tmp_path / "lists").iterdir())


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    output = Folder(tmp_path / "lists", "csv", overwrite=False)
    output.begin()
    reason = 'with "quotes",\nlines'
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]
    output.write([row(f"{text}u", 1, title=text, reason=reason) for text in hostile])
    output.publish(MADE)
    with (tmp_path / "lists/lists.csv").open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert [one["title"] for one in found] == [f"'{text}" for text in hostile]
    assert [one["user_id"] for one in found] == [f"'{text}u" for text in hostile]
    assert {one["reason"] for one in found} == {reason}
    assert {one["score"] for one in found} == {"-0.5"}  # a number


def test_a_table_is_replaced_in_one_transaction(url: str) -> None:
    for user, overwrite in (("u1", False), ("'; DROP TABLE mails; --", True)):
        output = Table(url, "mails", overwrite)
        output.check()
        output.begin()
        output.write([row(user, 1), row(user, 2)])
        before = [] if user == "u1" else [("u1", 1), ("u1", 2)]
        if before:
            assert read(url, "SELECT user_id, position FROM mails ORDER BY 2") == before
        output.publish({**MADE, "user": user})
    found = read(url, "SELECT user_id, position, price, reason FROM mails ORDER BY 2")
    assert found == [(user, 1, 2.5, None), (user, 2, 2.5, None)]
    ((manifest,),) = read(url, "SELECT manifest FROM mails_manifest")
    assert json.loads(manifest)["user"] == user
    with pytest.raises(OutputError, match=r"table mails of .* is there already: .*--overwrite"):
        Table(url, "mails", overwrite=False).check()


def test_a_table_that_cannot_be_published_leaves_the_old_one(url: str) -> None:
    for user, manifest in (("u1", MADE), ("u2", {"not JSON": object()})):
        output = Table(url, "mails", overwrite=True)
        output.begin()
        output.write([row(user, 1)])
        if user == "u1":
            output.publish(manifest)
        else:  # it fails after the old table was dropped
            with pytest.raises(TypeError):
                output.publish(manifest)
    assert read(url, "SELECT user_id FROM mails") == [("u1",)]
    assert len(read(url, "SELECT manifest FROM mails_manifest")) == 1


@pytest.mark.parametrize("other", ["mails_manifest", "_bowerbird_mails"])
def test_tables_of_another_program_with_the_names_it_needs_are_kept(url: str, other: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(url))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE {other} (id INTEGER)"))
        connection.execute(sa.text(f"INSERT INTO {other} VALUES (7)"))
    output = Table(url, "mails", overwrite=True)
    for step in (output.check, output.begin):
        with pytest.raises(OutputError, match="another table's"):
            step()
    assert read(url, f"SELECT id FROM {other}") == [(7,)]
    engine.dispose()


def test_a_table_of_another_program_is_never_replaced(url: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(url))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER)"))
    with pytest.raises(OutputError, match="not one of earlier lists"):
        Table(url, "orders", overwrite=True).check()
    engine.dispose()
    for name in ("impressions", "Mails", "a; DROP TABLE b", "x" * 49, ""):
        with pytest.raises(OutputError, match="--table"):
            Table(url, name, overwrite=True)


def test_a_database_is_named_without_its_password() -> None:
    url = "postgresql://shop:4711@127.0.0.1:1/shop"
    output = Table(url, "mails", overwrite=False)
    assert "4711" not in output.place
    with pytest.raises(OutputError, match=r"table mails of .* cannot be written") as caught:
        output.check()
    assert "4711" not in str(caught.value)
    for wrong in ("", "mysql://a/b", "nonsense"):
        with pytest.raises(OutputError, match=r"recommend_all\.database"):
            Table(wrong, "mails", overwrite=False)
