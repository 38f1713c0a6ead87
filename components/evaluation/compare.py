"""Comparison of champion and challenger on the newest held-out data, by the shop's own ids.

Users who can decide a promotion must not be free to create: users that occur only in feedback
without the shop's key are excluded, and unsigned events are not used as targets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.arrays import IntArray
from components.data.dataset import Histories, Prepared
from components.data.holdout import window_task
from components.evaluation.decision import Against, measure_gain, should_promote
from components.evaluation.guardrails import (
    Behaviour,
    K,
    guardrails,
    latencies,
    megabytes,
    new_products,
)
from components.evaluation.metrics import ndcg
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


class SeenEvents(ValueError):
    """A model was fitted on events that it would be evaluated on."""


@dataclass(frozen=True)
class Comparison:
    """A challenger against the champion on the same users, and the decision.

    champion, challenger: NDCG@10. difference: challenger − champion, paired; low, high: its
    two-sided 95 % interval; bound, required: see ``decision.Gain``. rule: of ``register``.
    guardrails: by name, both values, the limit and whether it is kept. baseline: the same figures
    against the baseline, None if the champion is the baseline. better: whether to promote the
    challenger. reason: why, or why not, in one sentence. exposure: products whose gain of first
    pages holds promotions, see ``exposure.ExposureGain``.
    """

    users: int
    rule: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    bound: float
    required: float
    guardrails: dict[str, dict[str, Any]]
    baseline: dict[str, Any] | None
    better: bool
    reason: str
    exposure: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def translated(model: Hybrid, prepared: Prepared, histories: Histories) -> Histories:
    """Return the histories in the codes of ``model``, without items that it does not know."""
    to_theirs = pd.Index(model.catalogue.ids).get_indexer(prepared.catalogue.ids)
    known = to_theirs[histories.items] >= 0
    return histories.where(known, to_theirs[histories.items].astype(np.int32))


def lists_of(
    model: Hybrid, prepared: Prepared, histories: Histories, exclude_seen: bool
) -> IntArray:
    """Return the lists of ``model`` in the codes of ``prepared``.

    histories: in the codes of ``model``. Items that ``prepared`` does not know become MISSING,
    which counts as a miss.
    """
    ids, _ = model.recommend(histories, K, exclude_seen=exclude_seen)
    to_ours = pd.Index(prepared.catalogue.ids).get_indexer(model.catalogue.ids)
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


def compare(
    champion: Path,
    challenger: Path,
    prepared: Prepared,
    settings: Settings,
    baseline: Path | None = None,
) -> Comparison:
    """Return the NDCG@10 and the guardrails of two model folders on the test window of
    ``prepared``, and whether to promote the challenger.

    baseline: a third model folder that the challenger must not be worse than either.

    Raises:
        SeenEvents: one of the models was fitted on events of the test window.
    """
    need, exclude = settings.register_, settings.train.exclude_seen
    folders = [champion, challenger] + ([] if baseline is None else [baseline])
    models = [_load(folder, prepared) for folder in folders]
    task = window_task(eligible(prepared), "test", exclude)
    histories = [translated(model, prepared, task.histories) for model in models]
    lists = [
        lists_of(model, prepared, own, exclude)
        for model, own in zip(models, histories, strict=True)
    ]
    scores = [ndcg(one, task.targets) for one in lists]
    milliseconds = latencies(models, histories, exclude)
    behaviours = [
        Behaviour(one, time, megabytes(folder))
        for one, time, folder in zip(lists, milliseconds, folders, strict=True)
    ]
    recent = new_products(prepared, need.guardrails.new_products_days)

    def against(other: int) -> Against:
        """Compare the challenger, model 1, with another model."""
        samples = settings.evaluate.bootstrap_samples
        gain = measure_gain(scores[other], scores[1], need, samples, settings.seed)
        old, new = behaviours[other], behaviours[1]
        return Against(gain, guardrails(old, new, len(prepared.catalogue), recent, need.guardrails))

    first = against(0)
    second = None if baseline is None else against(2)
    better, reason = should_promote(len(task.users), first, second, need)
    figures = first.as_dict()
    before = figures.pop("other")
    return Comparison(
        users=len(task.users),
        rule=need.rule,
        champion=before,
        challenger=before + first.gain.difference,
        baseline=None if second is None else second.as_dict(),
        better=better,
        reason=reason,
        **figures,
    )


def _load(folder: Path, prepared: Prepared) -> Hybrid:
    """Return the model of a folder, if it saw no event of the test window."""
    model = Hybrid.load(folder)
    if model.trained_until is not None and model.trained_until >= prepared.test_start:
        raise SeenEvents(
            f"{folder} was fitted on events until {_date(model.trained_until)}, so it "
            f"cannot be evaluated on events since {_date(prepared.test_start)}: shorten "
            "preprocess.test_days or bring newer data"
        )
    return model


def _date(seconds: int) -> str:
    return f"{pd.Timestamp(seconds, unit='s'):%Y-%m-%d}"
