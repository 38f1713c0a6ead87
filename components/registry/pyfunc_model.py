"""A model folder as an MLflow pyfunc model, logged as code: nothing is pickled.

In: a frame with one row for each shopper; ``recent_items`` has the shop's item ids, oldest first.
Out: one row for each with ``item_ids`` and ``scores``, best first. MLflow runs this file when the
model is loaded (``mlflow.pyfunc.load_model("models:/bowerbird@champion")``).
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd

from components.data.dataset import Histories
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import Hybrid


class HybridModel(mlflow.pyfunc.PythonModel):
    """Loads the folder logged as the artifact ``model``."""

    def load_context(self, context: Any) -> None:
        self.model = Hybrid.load(context.artifacts["model"])
        self.ids = pd.Index(self.model.catalogue.ids)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return ``params["k"]`` (default 10) recommendations per row; unknown items are
        ignored."""
        k = int((params or {}).get("k", 10))
        codes = [self.ids.get_indexer(list(items)) for items in model_input["recent_items"]]
        known = [row[row >= 0].astype(np.int32) for row in codes]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in known])]).astype(np.int64)
        items = np.concatenate([*known, np.empty(0, np.int32)])
        # Times are not part of the signature: recent items count as events of now, as in serving.
        now = np.full(len(known), pd.Timestamp.now(tz="UTC").timestamp(), dtype=np.int64)
        histories = Histories(items, np.repeat(now, np.diff(offsets)), offsets, now)
        chosen, scores = self.model.recommend(histories, k)
        return pd.DataFrame(
            {
                "item_ids": [self.ids[row[row != MISSING]].tolist() for row in chosen],
                "scores": [
                    found[row != MISSING].astype(float).tolist()
                    for row, found in zip(chosen, scores, strict=True)
                ],
            }
        )


mlflow.models.set_model(HybridModel())
