"""A shop of its own: a new shop's folder, which holds no code, with a quarter of the customers, the
best-selling products, small budgets, and ports that nobody else uses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from components.project.folder import write_folder
from tests.conftest import REPOSITORY
from tests.processes import end, free_port, programs, run, wait_until
from tests.repositories import USER

SHARE = 4
PRODUCTS = 500


@dataclass
class House:
    """The shop's folder, and how commands are run in it."""

    root: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return run(self.root, self.environment, *command, check=check)

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own."""
        with (self.root / log).open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """Serve the shop; yield a client of its endpoint."""
        params = yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))
        process = self.start("bowerbird", "serve", log="serve.log")
        url = f"http://127.0.0.1:{params['serve']['port']}"
        try:
            with httpx.Client(base_url=url, timeout=60) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200, 180, "the endpoint")
                yield client
        finally:
            self.kill(process, signal.SIGTERM)

    def kill(self, process: subprocess.Popen[bytes], how: int = signal.SIGKILL) -> None:
        """End a process and its children."""
        end(process, how, seconds=60)

    def kill_when(self, there: Callable[[], bool], *command: str, seconds: float = 550) -> None:
        """Start a command and kill -9 it with its children as soon as ``there`` is true."""
        process = self.start(*command, log="killed.log")
        until = time.monotonic() + seconds
        while time.monotonic() < until and not there():
            assert process.poll() is None, (self.root / "killed.log").read_text()
            time.sleep(0.02)
        assert there()
        self.kill(process)


def small(params: dict[str, Any], ports: tuple[int, int, int]) -> dict[str, Any]:
    """Return the repository's params with small budgets."""
    params["ingest"]["interactions"][0]["path"] = "datasets/lines.parquet"
    params["ingest"]["reviews"][0]["path"] = "datasets/reviews.csv.gz"
    params["corpus"] |= {"max_length": 24}
    params["encode"] |= {"max_length": 24}
    params["pretrain"] |= {"steps": 8, "batch_size": 16, "checkpoint_every": 2, "log_every": 1}
    params["finetune"] |= {"head_steps": 8, "steps": 2, "checkpoint_every": 2, "log_every": 1}
    params["understanding"] |= {"encoder": "", "sentences": 100, "epochs": 2}
    # One candidate of each kind: each more is fitted by six processes here.
    params["train"]["candidates"] = ["popularity", "item_neighbours", "content", "sequential"]
    params["train"]["content"]["whiten"] = True  # what whole-encoder steps need
    params["train"]["sequential"] |= {"epochs": 1, "max_length": 20, "dimensions": 32}
    params["rank"] |= {"trees": 60}
    params["evaluate"] |= {"bootstrap_samples": 200}
    params["register"] |= {"min_users": 10}
    params["monitor"] |= {"reference_age": 1}  # half the weeks to compare
    params["serve"] |= {"port": ports[0], "max_rate": 0}
    params["flows"] |= {
        "prefect_port": ports[1],
        "mlflow_port": ports[2],
        "training": "",
        "refresh": "",
        "monitoring": "",
        "retraining": "",
        "retries": 1,
        "retry_delay_seconds": 1,
    }
    return params


def build_house(root: Path) -> House:
    """Make the shop in the empty folder ``root``, which holds no code of the product."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    ports = (free_port(), free_port(), free_port())
    write_folder(root, yaml.safe_dump(small(params, ports), sort_keys=False))
    shutil.copy(REPOSITORY / "rules.yaml", root)
    (root / "datasets").mkdir()
    lines = pd.read_parquet(REPOSITORY / "datasets/online-retail/2009-2010.parquet")
    customer = lines["Customer ID"].fillna(pd.Series(lines.index, lines.index))
    lines = lines[customer % SHARE == 0]
    best_sellers = lines["StockCode"].value_counts().index[:PRODUCTS]
    lines[lines["StockCode"].isin(best_sellers)].to_parquet(root / "datasets/lines.parquet")
    reviews = pd.read_csv(REPOSITORY / "datasets/clothing-reviews/reviews.csv.gz")
    reviews.head(600).to_csv(root / "datasets/reviews.csv.gz", index=False)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BOWERBIRD_", "PREFECT_", "MLFLOW_", "DVC_"))
    }
    environment |= {
        "BOWERBIRD_API_KEY": "shop",
        "PATH": programs(),
        "BENTOML_HOME": str(root / "var/bentoml"),
        "DVC_NO_ANALYTICS": "true",
        "PREFECT_HOME": str(root / "var/prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{ports[1]}/api",
        "GIT_CONFIG_GLOBAL": os.devnull,
        # test_secrets looks for them in all that is left. Nothing answers there.
        "BOWERBIRD_MONITOR__ALERT_URLS": "json://127.0.0.1:9/T/S3CRET-alerts",
        "BOWERBIRD_SEARCH__STORAGE": "postgresql://shop:S3CRET-tune@127.0.0.1:9/shop",
        "BOWERBIRD_WRITER_KEY": "S3CRET-writer-key",
    }
    house = House(root, environment)
    house.run("git", "remote", "add", "origin", "https://bot:S3CRET-git@git.example/shop.git")
    house.run("git", "add", ".")
    house.run(
        *("git", *USER, "commit", "-qm", "the shop"),
    )
    return house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = build_house(tmp_path_factory.mktemp("house"))
    yield house
    for process in house.running:
        house.kill(process, signal.SIGTERM)


@pytest.fixture(scope="session")
def trained_house(house: House) -> House:
    """The house after ``dvc repro`` that was killed with -9 amid pre-training; a slow test kills in
    every stage."""
    checkpoint = house.root / "models/language/checkpoints/pretrain/log.json"
    house.kill_when(checkpoint.exists, "dvc", "repro")
    corpus = house.root / "data/corpus/corpus.json"
    began = corpus.stat().st_mtime_ns
    done = house.run("dvc", "repro")
    (house.root / "repro.log").write_text(done.stdout + done.stderr)
    assert corpus.stat().st_mtime_ns == began, "a stage that was finished ran again"
    return house
