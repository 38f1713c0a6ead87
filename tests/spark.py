"""A Spark session of the tests: `make spark` installs it, Java is up to the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import absent
from tests.processes import end, free_port, wait_until

INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Options by which Spark compiles no Java for each query, which takes most of the time of small
tables."""


def require_spark() -> None:
    """Skip on a machine without Java or PySpark."""
    if shutil.which("java") is None:
        absent("no Java")
    try:
        import pyspark.sql  # noqa: F401
    except ImportError:
        absent("no PySpark: make spark")


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """Run a master and workers of one core each; yield the address of the master.

    folder: gets the log of each, and the folder ``worker-N`` with a worker's applications.
    """
    require_spark()
    import pyspark

    spark_class = Path(pyspark.__file__).parent / "bin/spark-class"
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "512m"}
    port, page = free_port(), free_port()
    address = f"spark://127.0.0.1:{port}"

    def start(name: str, kind: str, *options: object) -> subprocess.Popen[bytes]:
        arguments = [f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", *options]
        with (folder / f"{name}.log").open("wb") as log:
            command = [str(one) for one in (spark_class, *arguments)]
            return subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    with ExitStack() as running:
        master = start("master", "master.Master", "--port", port, "--webui-port", page)
        running.callback(end, master)
        for number in range(workers):
            size = ("--cores", 1, "--memory", "1g", "--webui-port", 0)
            place = ("--work-dir", folder / f"worker-{number}")
            name = f"worker-{number}"
            running.callback(end, start(name, "worker.Worker", *size, *place, address))
        status = f"http://127.0.0.1:{page}/json/"
        wait_until(lambda: httpx.get(status).json()["aliveworkers"] == workers, 60, "the workers")
        yield address


@contextmanager
def local_spark(options: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Open a session on two cores of this machine for a ``with`` block.

    options: further ones of Spark's configuration, by name.
    """
    require_spark()
    from pyspark.sql import SparkSession

    found = SparkSession.builder.config(
        map={
            "spark.master": "local[2]",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": "3",
            # Tests end before the second compiler of Java's pays.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            **(options or {}),
        }
    ).getOrCreate()
    try:
        yield found
    finally:
        found.stop()
