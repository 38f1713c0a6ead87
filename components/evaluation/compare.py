"""Comparison of champion and challenger on the newest held-out data, by the shop's own ids.

Users who can decide a promotion must not be free to create: users that occur only in feedback
without the shop's key are excluded, and unsigned events are not used as targets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.arrays import IntArray
from components.data.dataset import Histories, Prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Register, Settings


class SeenEvents(ValueError):
    """A model was fitted on events that it would be evaluated on."""


@dataclass(frozen=True)
class Comparison:
    """NDCG@10 of both on the same users; difference is challenger − champion, paired.

    low, high: 95 % interval of the difference. better: whether to promote the challenger. reason:
    why, or why not, in one sentence.
    """

    users: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    better: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _lists(model: Hybrid, prepared: Prepared, histories: Histories, exclude_seen: bool) -> IntArray:
    """Return the lists of ``model`` in the codes of ``prepared``.

    Each model has its own vocabulary: events of items it does not know are ignored, and items that
    ``prepared`` does not know become MISSING, which counts as a miss.
    """
    theirs = pd.Index(model.catalogue.ids)
    to_theirs = theirs.get_indexer(prepared.catalogue.ids)
    to_ours = pd.Index(prepared.catalogue.ids).get_indexer(theirs)
    known = to_theirs[histories.items] >= 0
    translated = histories.where(known, to_theirs[histories.items].astype(np.int32))
    ids, _ = model.recommend(translated, 10, exclude_seen=exclude_seen)
    return np.where(ids == MISSING, MISSING, to_ours[np.maximum(ids, 0)])


def eligible(prepared: Prepared) -> Prepared:
    """Return ``prepared`` with only those events of the test window that may be targets.

    These are events of verified users (see ``features.user_features``), without unsigned feedback.
    All events before the window are included: they are history.
    """
    x = prepared.interactions
    target = prepared.users["verified"].to_numpy()[x.users]
    if x.authenticated is not None:
        target = target & x.authenticated
    return replace(prepared, interactions=x.where((x.times < prepared.test_start) | target))


def should_promote(users: int, low: float, need: Register) -> tuple[bool, str]:
    """Return whether to promote, and why or why not.

    Promotion needs ``register.min_users`` users and the lower bound ``low`` of the interval above
    ``register.min_gain``.
    """
    if users < need.min_users:
        return False, (
            f"not promoted: {users:,} users can be evaluated, register.min_users requires "
            f"{need.min_users:,}"
        )
    if not low > need.min_gain:
        return False, (
            f"not promoted: the interval of the gain begins at {low:+.4f}, not above "
            f"register.min_gain, {need.min_gain:+.4f}"
        )
    return True, f"promoted: the interval of the gain lies above {need.min_gain:+.4f}"


def compare(champion: Path, challenger: Path, prepared: Prepared, settings: Settings) -> Comparison:
    """Return the NDCG@10 of two model folders on the test window of ``prepared``, and
    whether to promote the challenger.

    Raises:
        SeenEvents: one of the models was fitted on events of the test window.
    """
    exclude = settings.train.exclude_seen
    models = [Hybrid.load(folder) for folder in (champion, challenger)]
    for folder, model in zip((champion, challenger), models, strict=True):
        if model.trained_until is not None and model.trained_until >= prepared.test_start:
            raise SeenEvents(
                f"{folder} was fitted on events until {_date(model.trained_until)}, so it "
                f"cannot be evaluated on events since {_date(prepared.test_start)}: shorten "
                "preprocess.test_days or bring newer data"
            )
    task = window_task(eligible(prepared), "test", exclude)
    old, new = (
        ndcg(_lists(model, prepared, task.histories, exclude), task.targets) for model in models
    )
    gain = new - old
    if not len(gain):
        old = new = gain = np.zeros(1)  # no users: no gain, in numbers that JSON can represent
    low, high = interval(gain, settings.evaluate.bootstrap_samples, settings.seed)
    better, reason = should_promote(len(task.users), low, settings.register_)
    return Comparison(
        users=len(task.users),
        champion=float(old.mean()),
        challenger=float(new.mean()),
        difference=float(gain.mean()),
        low=low,
        high=high,
        better=better,
        reason=reason,
    )


def _date(seconds: int) -> str:
    return f"{pd.Timestamp(seconds, unit='s'):%Y-%m-%d}"
