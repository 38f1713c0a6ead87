"""Ranks on Apache Spark: chunks of requests through ``DataFrame.mapInPandas``.

The session is ``SparkSession.builder.getOrCreate()``, so spark-submit or Spark Connect decides
where it runs. Executors need this package, and the model folder at the same path.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import pandas as pd

from serving.batch.ranker import Chunk, Ranker, Ranks
from serving.recommend.types import Response

CHUNKS_OF_WORKER = 2
"""Chunks of one job for each task at once: few enough that the driver's memory stays flat."""


@contextmanager
def spark(ranker: Ranker, workers: int) -> Iterator[Ranks]:
    """Yield an engine that runs ``workers`` tasks at once on Spark.

    Raises:
        ValueError: pyspark is not installed.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ValueError(
            "recommend_all.engine is spark, but pyspark is not installed: "
            "pip install 'bowerbird[spark]'"
        ) from error
    session = SparkSession.builder.getOrCreate()

    def ranked(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            answers = [
                pickle.dumps(ranker.responses(pickle.loads(one)))  # nosec B301: of the driver
                for one in frame["requests"]
            ]
            yield pd.DataFrame({"number": frame["number"], "responses": answers})

    def rank(chunks: Iterable[Chunk]) -> Iterator[list[Response]]:
        remaining = iter(chunks)
        while some := list(islice(remaining, CHUNKS_OF_WORKER * workers)):
            rows = [(number, pickle.dumps(list(chunk))) for number, chunk in enumerate(some)]
            frame = session.createDataFrame(rows, "number long, requests binary")
            done = frame.repartition(len(rows)).mapInPandas(ranked, "number long, responses binary")
            for row in sorted(done.collect()):
                yield pickle.loads(row["responses"])  # nosec B301: of our own executors

    yield rank
