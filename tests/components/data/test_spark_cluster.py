"""Validate and preprocess as commands on a standalone cluster of Spark: the files of DuckDB."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from components.data.schema import TABLES
from components.settings import Settings
from tests.components.data.test_spark import assert_equal
from tests.conftest import REPOSITORY
from tests.processes import run
from tests.spark import standalone_cluster


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_write_the_files_of_duckdb_on_a_cluster_of_two_workers(
    small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    made, root = small_shop[0], tmp_path / "shop"
    shutil.copytree(made / "data/raw", root / "data/raw")
    (root / "reports").mkdir()
    shutil.copy(REPOSITORY / "params.yaml", root)
    with standalone_cluster(tmp_path) as address:
        environment = {
            **os.environ,
            "BOWERBIRD_TABLES__ENGINE": "spark",
            "PYSPARK_SUBMIT_ARGS": f"--master {address} --conf spark.ui.enabled=false "
            "--executor-memory 1g pyspark-shell",
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        for stage in ("validate", "preprocess"):
            run(root, environment, sys.executable, str(REPOSITORY / "bowerbird.py"), stage)
    files = [f"{place}/{table}.parquet" for place in ("valid", "quarantine") for table in TABLES]
    files += [f"prepared/{file.name}" for file in (made / "data/prepared").iterdir()]
    assert_equal({name: (made / "data" / name, root / "data" / name) for name in files})
    report = "reports/validation.json"
    assert (root / report).read_text() == (made / report).read_text()
    for number in range(2):
        executors = [*(tmp_path / f"worker-{number}").glob("app-*/*/stderr")]
        assert len(executors) == 2, "a worker took no part in a command"
        assert all("Finished task" in log.read_text() for log in executors)
