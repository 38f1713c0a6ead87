"""The session of Spark, for those who have it: the extra ``spark``."""

from __future__ import annotations

from typing import Any


def spark_session(setting: str = "tables.engine", without: str = "duckdb") -> Any:
    """Return the Spark session that there is, or a new one.

    ``spark-submit``, ``SPARK_REMOTE`` (Spark Connect), ``PYSPARK_SUBMIT_ARGS`` or
    ``spark-defaults.conf`` say where; without them Spark runs on this machine.

    setting: the key of params.yaml that is ``spark``, for the messages. without: its value that
    needs no Spark.

    Raises:
        ValueError: pyspark or Java is missing, or no session can be opened.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ValueError(
            f"{setting} is spark, but pyspark cannot be imported ({error}): install it "
            f"with `pip install 'bowerbird[spark]'`, or set {setting} to {without}"
        ) from error
    try:
        return SparkSession.builder.getOrCreate()
    except (PySparkException, Py4JError, ImportError) as error:
        reason = str(error).partition("\n\tat ")[0]  # without Java's stack
        raise ValueError(
            f"{setting} is spark, but no Spark session can be opened ({reason}): Spark "
            "needs Java 17 or 21 on the PATH or in JAVA_HOME, and the master or SPARK_REMOTE must "
            f"be reachable; or set {setting} to {without}"
        ) from error
