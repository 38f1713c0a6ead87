"""Blends: hybrid forms that need no learned ranker (Burke 2002).

In: fitted candidates. Out: weighted sum, switching, cascade and single model as recommenders, and
the weights of the sum. A candidate that vetoes an item (see ``Recommender.vetoes``) excludes it in
every form.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from components.arrays import AnyArray, DoubleArray, FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.progress import progress
from components.recommenders.base import Recommender, top_k
from components.recommenders.factory import load_models
from components.recommenders.kernels.standardise import standardised
from components.settings import Cascade as CascadeSettings
from components.settings import current_model_name

N_PROPOSED = 100
"""Best items of each model that the weights are fitted on."""

TIE = 1e-4
"""Weight of the order before a stage of the cascade: it breaks ties."""


class Blend(Recommender):
    """Base of the blends: made of fitted candidates and saved with them."""

    def __init__(self, settings: Any, candidates: dict[str, Recommender]) -> None:
        self.settings = settings
        self.candidates = candidates

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Fit every candidate again."""
        for model in self.candidates.values():
            model.fit(train, catalogue)
        return self

    @abstractmethod
    def combine(self, histories: Histories, scores: dict[str, FloatArray]) -> FloatArray:
        """Return float32 (batch, items) of the scores of each model in ``uses``."""

    @abstractmethod
    def uses(self) -> list[str]:
        """Return the names of the candidates whose scores count."""

    def score(self, histories: Histories) -> FloatArray:
        named = self.uses()
        scores = {
            name: model.score(histories)
            for name, model in self.candidates.items()
            if name in named or model.vetoes
        }
        combined = self.combine(histories, {name: scores[name] for name in named})
        for name, found in scores.items():
            if self.candidates[name].vetoes:
                combined[np.isneginf(found)] = -np.inf
        return combined

    def score_items(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): the scores of ``items``, codes (n,). All items are scored,
        since z-scores and stages are relative to the whole catalogue."""
        return self.score(histories)[:, items]

    def config(self) -> dict[str, Any]:
        settings = self.settings
        plain = settings.model_dump() if hasattr(settings, "model_dump") else settings
        return {"settings": plain, "candidates": list(self.candidates)}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, AnyArray]) -> Self:
        return cls(cls.read_settings(config["settings"]), {})

    @classmethod
    @abstractmethod
    def read_settings(cls, saved: Any) -> Any:
        """Return the settings that ``config`` saved, with current names of the models."""

    def save(self, folder: str | Path) -> None:
        """Write the model to ``folder``, its candidates to ``folder/candidates``."""
        super().save(folder)
        for name, model in self.candidates.items():
            model.save(Path(folder) / "candidates" / name)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model ``save`` wrote to ``folder``."""
        model = super().load(folder)
        names = json.loads((Path(folder) / "model.json").read_text())["candidates"]
        model.candidates = load_models(Path(folder) / "candidates", names)
        return model


class Weighted(Blend):
    """Sum of the models' z-scores, each times its weight.

    settings: weight by name of the model; models without one are not used.
    """

    name = "weighted"

    @classmethod
    def read_settings(cls, saved: dict[str, float]) -> dict[str, float]:
        return {current_model_name(name): weight for name, weight in saved.items()}

    def uses(self) -> list[str]:
        return [name for name in self.candidates if self.settings.get(name, 0.0)]

    def combine(self, histories: Histories, scores: dict[str, FloatArray]) -> FloatArray:
        parts = [self.settings[name] * standardised(found) for name, found in scores.items()]
        return np.sum(parts, axis=0, dtype=np.float32)


class SingleModel(Blend):
    """The z-scores of one model. settings: its name."""

    name = "single_model"

    @classmethod
    def read_settings(cls, saved: str) -> str:
        return current_model_name(saved)

    def uses(self) -> list[str]:
        return [self.settings]

    def combine(self, histories: Histories, scores: dict[str, FloatArray]) -> FloatArray:
        return standardised(scores[self.settings])


class Switching(Blend):
    """One model per history, chosen by the number of its events.

    settings: the model by the number of events from which it is used. Scores are z-scores, so that
    those of different users are comparable.
    """

    name = "switching"

    @classmethod
    def read_settings(cls, saved: dict[str, str]) -> dict[int, str]:
        return {int(events): current_model_name(name) for events, name in saved.items()}

    def uses(self) -> list[str]:
        return list(dict.fromkeys(self.settings.values()))

    def combine(self, histories: Histories, scores: dict[str, FloatArray]) -> FloatArray:
        thresholds = np.array(sorted(self.settings))
        lengths = histories.liked.lengths()
        chosen = np.maximum(np.searchsorted(thresholds, lengths, side="right") - 1, 0)
        combined = np.empty_like(next(iter(scores.values())))
        for place, events in enumerate(thresholds):
            rows = chosen == place
            combined[rows] = standardised(scores[self.settings[int(events)]][rows])
        return combined


class Cascade(Blend):
    """Stages: the first model ranks all items, each next one ranks the best of the stage before.

    settings: the models, and how many items the next stage gets; the others keep their order below.
    Scores: the stage that an item reached, plus its place in it, in [0, 1].
    """

    name = "cascade"

    @classmethod
    def read_settings(cls, saved: dict[str, Any]) -> CascadeSettings:
        models = [current_model_name(name) for name in saved["models"]]
        return CascadeSettings(**{**saved, "models": models})

    def uses(self) -> list[str]:
        return list(dict.fromkeys(self.settings.models))

    def combine(self, histories: Histories, scores: dict[str, FloatArray]) -> FloatArray:
        first, *others = self.settings.models
        combined = _placed(scores[first])
        for stage, name in enumerate(others, start=1):
            best, _ = top_k(combined, self.settings.keep)
            rows, places = np.nonzero(best >= 0)
            items = best[rows, places]
            within = np.full_like(combined, -np.inf)
            within[rows, items] = scores[name][rows, items]
            placed = _placed(within)
            reached = np.isfinite(placed)
            # Items with equal scores keep their order.
            combined[reached] = stage + placed[reached] + TIE * combined[reached]
        return combined


def _placed(scores: FloatArray) -> FloatArray:
    """Return float32 like ``scores``: each row's finite scores spread over [0, 1]."""
    finite = np.isfinite(scores)
    low = np.where(finite, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(finite, scores, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        placed = (scores - low) / np.maximum(high - low, 1e-12)
    return np.where(finite, placed, -np.inf).astype(np.float32)


def fit_weights(
    candidates: dict[str, Recommender],
    histories: Histories,
    targets: sp.csr_matrix,
    exclude_seen: bool,
    max_users: int = 4000,
    batch_size: int = 256,
) -> dict[str, float]:
    """Return the weights that maximise the likelihood of the targets among the models' proposals.

    A conditional logit (McFadden 1974) over the models' z-scores: convex, so the maximum is
    unique; weights are not negative. histories: before the purchases. targets: CSR (users, items),
    nonzero where the user then bought the item. Of more than ``max_users`` users an evenly spaced
    sample is taken.

    Raises:
        ValueError: no model proposed any target.
    """
    from scipy.optimize import minimize  # a third of a second; models are loaded without it

    step = max(1, -(-len(histories) // max_users))
    features, hits, users = [], [], []
    for start in progress(range(0, len(histories), batch_size), desc="weights", unit="batch"):
        rows = np.arange(start, min(start + batch_size, len(histories)))
        rows = rows[rows % step == 0] - start
        if not len(rows):
            continue
        batch = histories.take(slice(start, start + batch_size))
        wanted = targets[start : start + batch_size].toarray() > 0
        refused = np.zeros(wanted.shape, dtype=bool)
        excluded = batch.excluded(exclude_seen)
        refused[batch.rows()[excluded], batch.items[excluded]] = True
        scores = [np.where(refused, -np.inf, model.score(batch)) for model in candidates.values()]
        proposed = np.zeros(wanted.shape, dtype=bool)
        for found in scores:
            best, _ = top_k(found, N_PROPOSED)
            at = np.nonzero(best >= 0)
            proposed[at[0], best[at]] = True
        kept = np.zeros(len(batch), dtype=bool)
        kept[rows] = True
        proposed &= (kept & (proposed & wanted).any(axis=1))[:, None]  # others have no target
        at = np.nonzero(proposed)
        columns = [np.nan_to_num(standardised(found)[at], neginf=0.0) for found in scores]
        features.append(np.column_stack(columns))
        hits.append(wanted[at])
        users.append(at[0] + start)
    x, hit = np.concatenate(features).astype(np.float64), np.concatenate(hits)
    if not hit.any():
        raise ValueError("no weights to learn: no candidate proposed an item that was then bought")
    # Pairs lie in the users' order: each user is a slice that begins at one of ``starts``.
    _, starts, user = np.unique(np.concatenate(users), return_index=True, return_inverse=True)
    share = hit / np.bincount(user, weights=hit)[user]  # a user counts once, however much bought
    wanted_mean = share @ x

    def loss(weights: DoubleArray) -> tuple[float, DoubleArray]:
        utility = x @ weights
        highest = np.maximum.reduceat(utility, starts)
        total = np.log(np.add.reduceat(np.exp(utility - highest[user]), starts)) + highest
        chance = np.exp(utility - total[user])
        return (total.sum() - wanted_mean @ weights) / len(starts), (
            chance @ x - wanted_mean
        ) / len(starts)

    begin = np.full(x.shape[1], 1.0 / x.shape[1])
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[(0, None)] * x.shape[1])
    return {name: round(float(value), 4) for name, value in zip(candidates, found.x, strict=True)}
