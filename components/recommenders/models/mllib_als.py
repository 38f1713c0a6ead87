"""Matrix factorisation fitted by Spark's MLlib, for ``train.matrix_factorisation.engine: spark``.

MLlib minimises the loss of Hu, Koren and Volinsky as ``als`` does: an observed entry of weight w
has confidence 1 + alpha · w, and a row's penalty is regParam times its number of entries. So alpha
is ``confidence``, and regParam is ``regularisation`` times ``confidence``. (``als`` adds 0.001 to
each row's penalty, against division by zero.) MLlib begins with other random factors and solves
each row exactly, so its factors are others, and as good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from components.arrays import FloatArray
from components.settings import MatrixFactorisation as MatrixFactorisationSettings

USER, ITEM, WEIGHT = "user", "item", "weight"
LEAST_WEIGHT = np.float32(1e-6)
"""Of an observed entry, however old: one of weight 0 would not be observed."""


def fit_mllib(
    session: Any, matrix: sp.csr_matrix, settings: MatrixFactorisationSettings, seed: int
) -> Any:
    """Return pyspark's ``ALSModel`` of a CSR matrix (users, items) with weights in (0, 1]."""
    import pyarrow as pa  # in here, as pyspark: an endpoint needs neither
    from pyspark.ml.recommendation import ALS

    entries = matrix.tocoo()
    weights = np.maximum(entries.data, LEAST_WEIGHT).astype(np.float32)
    columns = [entries.row.astype(np.int32), entries.col.astype(np.int32), weights]
    table = session.createDataFrame(pa.table(columns, names=[USER, ITEM, WEIGHT]))
    als = ALS(
        rank=settings.factors,
        maxIter=settings.iterations,
        regParam=settings.regularisation * settings.confidence,
        implicitPrefs=True,
        alpha=settings.confidence,
        userCol=USER,
        itemCol=ITEM,
        ratingCol=WEIGHT,
        seed=seed,
    )
    return als.fit(table)


def factors_of(rows: Any, n: int, factors: int) -> FloatArray:
    """Return float32 (n, factors) of ``itemFactors`` or ``userFactors`` of an ``ALSModel``; those
    without an entry are 0."""
    table = rows.toArrow()
    found = np.zeros((n, factors), dtype=np.float32)
    values = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    found[table["id"].to_numpy()] = values.reshape(-1, factors)
    return found
