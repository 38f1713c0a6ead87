"""Nothing that a run leaves behind holds a secret of its environment.

Once quickly, on a small model with PostgreSQL for events, search and MLflow; once over all that the
whole chain and the scheduled flows of the other tests here left.
"""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import bowerbird
from components.registry import Registry
from components.settings import Settings, load_settings
from serving.api.auth import Keys

MARK = "S3CRET"
"""Part of every secret here."""


def contents(file: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and what is packed in it."""
    whole = file.read_bytes()
    yield whole
    if whole[:4] == b"PAR1":
        table = pq.read_table(file)
        plain = pa.BufferOutputStream()
        with pa.ipc.new_stream(plain, table.schema) as stream:  # texts as they are
            stream.write_table(table)
        yield plain.getvalue().to_pybytes()
    elif whole[:2] == b"\x1f\x8b" and not tarfile.is_tarfile(file):
        yield gzip.decompress(whole)
    elif tarfile.is_tarfile(file):
        with tarfile.open(file) as archive:
            for member in archive:
                yield member.name.encode()
                if (stream := archive.extractfile(member)) is not None:
                    yield stream.read()
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)


def holding(root: Path, mark: str = MARK) -> list[str]:
    """Return the files below ``root`` that hold the mark, .git and pipes left out."""
    found = []
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        if ".git" not in file.relative_to(root).parts and any(
            mark.encode() in content for content in contents(file)
        ):
            found.append(str(file.relative_to(root)))
    return found


def dumped(postgres: str) -> bytes:
    """Return the whole of a PostgreSQL database."""
    program = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    command = [str(program[-1]) if program else "pg_dump", postgres]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_the_search_finds_what_is_packed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(f"a {MARK} b")
    with gzip.open(tmp_path / "a.gz", "wb") as stream:
        stream.write(MARK.encode())
    pd.DataFrame({"a": [f"x{MARK}"] * 99}).to_parquet(tmp_path / "b.parquet", compression="zstd")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", MARK * 50)
    with tarfile.open(tmp_path / "d.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "plain", "inner")
    with sqlite3.connect(tmp_path / "e.db") as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (?)", (f"postgresql://u:{MARK}@h",))
    database.close()
    (tmp_path / "clean").write_text("nothing")
    assert holding(tmp_path) == ["a.gz", "b.parquet", "c.zip", "d.tar.gz", "e.db", "plain"]


@pytest.fixture
def database(postgres: str) -> str:
    """``host:port/name`` of a database of its own."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE kept")
    return postgres.partition("@")[2].rpartition("/")[0] + "/kept"


def test_a_run_leaves_no_secret_behind(
    small_shop: tuple[Path, Settings],
    trained: tuple[Path, Settings],
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root, (source, settings) = tmp_path, trained
    for name in ("data", "models"):
        shutil.copytree(source / name, root / name)
    for name in ("lines.parquet", "reviews.csv.gz"):
        shutil.copy(small_shop[0] / name, root / name)
    (root / "reports").mkdir()
    quick = settings.evaluate.model_copy(update={"bootstrap_samples": 20, "max_users": 50})
    written = settings.model_copy(update={"evaluate": quick}).model_dump(mode="json", by_alias=True)
    (root / "params.yaml").write_text(yaml.safe_dump(written))
    secrets = {
        "BOWERBIRD_SERVE__EVENTS_URL": f"postgresql://bowerbird:{MARK}-events@{database}",
        "BOWERBIRD_SERVE__WRITER": f"https://{MARK}-user@writer.example/v1?api_key={MARK}-writer",
        "BOWERBIRD_SEARCH__STORAGE": f"postgresql://{database}?user=bowerbird&password={MARK}-tune",
        "BOWERBIRD_REGISTER__TRACKING_URI": f"postgresql+psycopg://bowerbird:{MARK}@{database}",
        "BOWERBIRD_MONITOR__ALERT_URLS": f"jsons://hooks.example/T/{MARK}-webhook",
        "BOWERBIRD_WRITER_KEY": f"{MARK}-writer-key",
        "BOWERBIRD_API_KEY": f"{MARK}-api",
        "BOWERBIRD_OPERATOR_KEY": f"{MARK}-operator",
        "BOWERBIRD_TOKEN_SECRET": f"{MARK}-token-of-more-than-32-characters",
        "BOWERBIRD_UI_PASSWORD": f"{MARK}-of-the-pages",
    }
    for name, value in {**secrets, "BENTOML_HOME": str(root / "bentoml")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root)
    caplog.set_level(logging.DEBUG)
    said = ""
    for command in (["ingest"], ["evaluate"], ["register"], ["models"], ["package"]):
        done = CliRunner().invoke(bowerbird.app, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
        said += done.output
    done = CliRunner().invoke(bowerbird.app, ["export-feedback"])
    assert done.exit_code == 0, done.output

    settings = load_settings()
    served = load_settings(root / "var/serving/models/1/params.yaml")
    assert served == settings  # the environment still gives what is not written
    run = Registry(settings, root).client.get_run(
        json.loads((root / "reports/registration.json").read_text())["run_id"]
    )
    assert "serve.events_url" not in run.data.params
    assert run.data.params["serve.port"] == str(settings.serve.port)

    kept = dumped(f"postgresql://bowerbird@{database}")
    assert b"registered_models" in kept  # what the search looks through is there
    assert b"CREATE TABLE public.events" in kept
    assert list(root.glob("bentoml/bentos/*/*/src/models/hybrid/params.yaml"))
    assert holding(root) == []
    assert MARK.encode() not in kept
    said += repr((settings, Keys.from_environment())) + caplog.text
    assert MARK not in said + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://bowerbird:{MARK}@127.0.0.1:9/shop",
        f"postgresql://bowerbird@127.0.0.1:9/shop?password={MARK}&sslpassword={MARK}",
        f"postgresql://bowerbird:a@{MARK}@127.0.0.1:9/shop",
        f"postgresql://bowerbird:{MARK}@127.0.0.1:port/shop",
        f"postgresql://bowerbird@127.0.0.1:9/shop?passwrd={MARK}",
        f"mysql://bowerbird:{MARK}@127.0.0.1:9/shop",
        f"host=127.0.0.1 port=9 user=bowerbird password={MARK}",
        f"@{MARK}",
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(
    url: str, trained: tuple[Path, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained[0] / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "data").symlink_to(trained[0] / "data")
    (tmp_path / "models").symlink_to(trained[0] / "models")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)
    monkeypatch.chdir(tmp_path)
    for name, command in {
        "BOWERBIRD_SERVE__EVENTS_URL": ["export-feedback"],
        "BOWERBIRD_SEARCH__STORAGE": ["tune", "popularity"],
        "BOWERBIRD_REGISTER__TRACKING_URI": ["models"],
    }.items():
        with monkeypatch.context() as environment:
            environment.setenv(name, url)
            done = CliRunner().invoke(bowerbird.app, command)
        assert done.exit_code == 1, (command, done.output)
        raised = done.exc_info[1] if done.exc_info else None
        chain = []
        while raised is not None:
            chain.append(f"{raised!r} {raised}")
            raised = raised.__cause__ or raised.__context__
        assert MARK not in done.output + " ".join(chain), command


def test_the_whole_chain_and_its_flows_left_no_secret_behind(trained_house: Any) -> None:
    """After the other tests here: DVC, MLflow, Prefect's database, logs, a message of an alert."""
    secrets = [value for value in trained_house.environment.values() if MARK in value]
    assert len(secrets) >= 3
    alerts = trained_house.root / "var/monitoring/alerts.json"
    if alerts.exists():  # the address that holds a secret was used
        assert any(one["attempts"] for one in json.loads(alerts.read_text())["messages"])
    assert MARK in (trained_house.root / ".git/config").read_text()
    assert holding(trained_house.root) == []
    login = trained_house.root / "var/flows/login"  # of Prefect's and MLflow's pages
    if login.exists():
        password = login.read_text().strip().partition(":")[2]
        assert holding(trained_house.root, password) == ["var/flows/login"]
