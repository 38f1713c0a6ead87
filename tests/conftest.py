"""What several rooms' tests share: settings, and a small shop made from the real one."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings as hypothesis_settings
from selenium import webdriver
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from xdist.scheduler.loadscope import LoadScopeScheduling

from components.data import ingest, split, validation
from components.recommenders import rank as ranking
from components.recommenders import refit
from components.recommenders import train as training
from components.settings import Settings, load_settings
from tests.mariadb import MariaDB, mariadb_programs
from tests.object_store import KEYS, ObjectStore
from tests.postgres import Postgres, postgres_programs

REPOSITORY = Path(__file__).resolve().parents[1]

# How long an example takes depends on what else the machine does.
hypothesis_settings.register_profile("tests", deadline=None)
hypothesis_settings.load_profile("tests")


def absent(what: str) -> NoReturn:
    """Skip for a program that this machine lacks; with $NOTHING_SKIPPED, as in CI, fail."""
    if os.environ.get("NOTHING_SKIPPED"):
        pytest.fail(what)
    pytest.skip(what)


class BySharedFixtures(LoadScopeScheduling):
    """Runs each file as a whole in one process, and end_to_end, whose fixtures take minutes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "end_to_end" if "end_to_end" in Path(file).parts else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedFixtures:
    """Replace pytest-xdist's own distribution of tests."""
    return BySharedFixtures(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)  # stable


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules, which took a tenth of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` that ``make`` filled, once for all processes of the tests."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each process has a folder of its own below it
    root, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(root, ignore_errors=True)  # of a process that failed
            root.mkdir()
            make(root)
            made.touch()
    return root


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The settings of the repository's params.yaml."""
    return load_settings(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def small_shop(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> tuple[Path, Settings]:
    """A folder as the repository's, with every seventh customer's real invoice lines; settings.

    Ingested, validated and preprocessed by the real stages. Read only.
    """
    section = settings.ingest.model_copy(
        update={
            "interactions": [
                settings.ingest.interactions[0].model_copy(update={"path": Path("lines.parquet")})
            ],
            "reviews": [
                settings.ingest.reviews[0].model_copy(update={"path": Path("reviews.csv.gz")})
            ],
        }
    )
    small = settings.model_copy(update={"ingest": section})

    def make(root: Path) -> None:
        lines = pd.read_parquet(REPOSITORY / "datasets/online-retail/2009-2010.parquet")
        customer = lines["Customer ID"]
        kept = (customer % 7 == 0) | (customer.isna() & (lines.index % 7 == 0))
        lines[kept].to_parquet(root / "lines.parquet")
        reviews = pd.read_csv(REPOSITORY / "datasets/clothing-reviews/reviews.csv.gz")
        reviews.head(600).to_csv(root / "reviews.csv.gz", index=False)
        (root / "reports").mkdir()
        for stage in (ingest, validation, split):
            stage.run(small, root)

    return made_once(tmp_path_factory, "shop", make), small


@pytest.fixture(scope="session")
def prepared_folder(small_shop: tuple[Path, Settings]) -> Path:
    """``data/prepared`` of the small shop. Read only."""
    return small_shop[0] / "data/prepared"


@pytest.fixture(scope="session")
def trained(
    small_shop: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Settings]:
    """A root with models/hybrid and models/served by the real stages (few candidates and trees).

    The product vectors are TF-IDF of the titles: the language model is another room's test. Read
    only.
    """
    source, small = small_shop
    train = small.train.model_copy(
        update={"candidates": ["popularity", "item_neighbours", "content"]}
    )
    rank = small.rank.model_copy(update={"trees": 40})
    settings = small.model_copy(update={"train": train, "rank": rank})

    def make(root: Path) -> None:
        shutil.copytree(source / "data/prepared", root / "data/prepared")
        titles = pd.read_parquet(root / "data/prepared/items.parquet")["title"].fillna("")
        words = TfidfVectorizer().fit_transform(titles)
        vectors = TruncatedSVD(64, random_state=0).fit_transform(words).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        (root / "models/vectors").mkdir(parents=True)
        np.save(root / "models/vectors/items.npy", vectors)
        training.run(settings, root)
        ranking.run(settings, root)
        refit.run(settings, root)
        shutil.copy(REPOSITORY / "params.yaml", root / "params.yaml")

    return made_once(tmp_path_factory, "trained", make), settings


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A headless Chromium for which every name below ``rebound.example`` is this machine."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        absent("no Chromium: run tests/system-packages.sh as root")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"),
        "--host-resolver-rules=MAP *.rebound.example 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    window.set_window_size(1200, 900)
    yield window
    window.quit()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a fresh PostgreSQL server."""
    programs = postgres_programs()
    if programs is None:
        absent("no PostgreSQL server programs: run tests/system-packages.sh as root")
    with Postgres(programs) as server:
        yield server.url


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A local server of S3's protocol."""
    with ObjectStore() as store:
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client of an empty bucket ``shop``, whose credentials the environment has."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    client = object_store.client
    client.create_bucket(Bucket="shop")
    yield client
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="shop")
    for key in [one["Key"] for page in pages for one in page.get("Contents", [])]:
        client.delete_object(Bucket="shop", Key=key)


@pytest.fixture
def no_credentials(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket's server, without credentials for it."""
    for name in KEYS:
        monkeypatch.delenv(name.upper())
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URL of a fresh MariaDB server."""
    if not mariadb_programs():
        absent("no MariaDB server programs: run tests/system-packages.sh as root")
    with MariaDB() as server:
        yield server.url


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the module's tests may stop, pause and start."""
    programs = postgres_programs()
    if programs is None:
        absent("no PostgreSQL server programs: run tests/system-packages.sh as root")
    with Postgres(programs) as server:
        yield server
