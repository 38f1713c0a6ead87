"""A Spark session of the tests: `make spark` installs it, Java is up to the machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.conftest import absent

INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Options by which Spark compiles no Java for each query, which takes most of the time of small
tables."""


@contextmanager
def local_spark(options: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Open a session on two cores of this machine for a ``with`` block.

    options: further ones of Spark's configuration, by name.
    """
    if shutil.which("java") is None:
        absent("no Java")
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        absent("no PySpark: make spark")
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
