"""Champion against challenger on the newest held-out time, by the shop's own ids."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.dataset import Histories, Prepared
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, window_task
from components.recommenders.base import MISSING
from components.recommenders.hybrid import Hybrid
from components.settings import Settings


class SeenEvents(ValueError):
    """A model has learned from the events that it would be judged on."""


@dataclass(frozen=True)
class Comparison:
    """NDCG@10 of both on the same users; difference is challenger − champion, paired."""

    users: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    better: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _lists(
    model: Hybrid, prepared: Prepared, histories: Histories, exclude_seen: bool
) -> np.ndarray:
    """Return the lists of ``model`` in the codes of ``prepared``.

    Each model has a vocabulary of its own: events of items it does not know are left out, items
    that ``prepared`` does not know become MISSING, which counts as a miss.
    """
    theirs = pd.Index(model.catalogue.ids)
    to_theirs = theirs.get_indexer(prepared.catalogue.ids)
    to_ours = pd.Index(prepared.catalogue.ids).get_indexer(theirs)
    known = to_theirs[histories.items] >= 0
    lengths = np.bincount(histories.rows()[known], minlength=len(histories))
    translated = Histories(
        to_theirs[histories.items[known]].astype(np.int32),
        histories.times[known],
        np.concatenate([[0], np.cumsum(lengths)]),
        histories.now,
    )
    ids, _ = model.recommend(translated, 10, exclude_seen=exclude_seen)
    return np.where(ids == MISSING, MISSING, to_ours[np.maximum(ids, 0)])


def compare(champion: Path, challenger: Path, prepared: Prepared, settings: Settings) -> Comparison:
    """Return how two model folders do on the test window of ``prepared``.

    The challenger is better if its mean gain is above ``register.min_gain``.

    Raises:
        SeenEvents: one of the models has learned from events of the test window.
    """
    exclude = settings.train.exclude_seen
    models = [Hybrid.load(folder) for folder in (champion, challenger)]
    for folder, model in zip((champion, challenger), models, strict=True):
        if model.trained_until is not None and model.trained_until >= prepared.test_start:
            raise SeenEvents(
                f"{folder} has learned from events until {_date(model.trained_until)}, so it "
                f"cannot be judged on events since {_date(prepared.test_start)}: shorten "
                "preprocess.test_days or bring newer data"
            )
    task = window_task(prepared, "test", exclude)
    old, new = (
        ndcg(_lists(model, prepared, task.histories, exclude), task.targets) for model in models
    )
    gain = new - old
    low, high = interval(gain, settings.evaluate.bootstrap_samples, settings.seed)
    mean = float(gain.mean())
    return Comparison(
        users=len(gain),
        champion=float(old.mean()),
        challenger=float(new.mean()),
        difference=mean,
        low=low,
        high=high,
        better=bool(mean > settings.register_.min_gain),
    )


def _date(seconds: int) -> str:
    return f"{pd.Timestamp(seconds, unit='s'):%Y-%m-%d}"
