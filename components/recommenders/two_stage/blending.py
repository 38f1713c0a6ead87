"""Hybrid forms that need no learned ranker: weighted, switching, cascade (Burke 2002).

In: fitted candidates. Out: recommenders with the same face, composed of them. ``rank.form`` in
params.yaml chooses what the model folder answers with; the evaluation shows all of them beside the
ranker. A candidate that forbids an item (see ``Recommender.forbids``) forbids it in every form.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from components.data.dataset import Catalogue, Histories, Interactions
from components.progress import progress
from components.recommenders.base import Recommender, top_k
from components.recommenders.factory import load_model
from components.settings import Cascade as CascadeSettings
from components.settings import Rank

PROPOSED = 100
"""How many items of each model the weights are fitted on."""

TIE = 1e-4
"""How much the order an item came in counts beside a cascade's next model: it breaks ties."""


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return float32 (batch, items): each row's z-scores, over what is not -inf; that stays so.

    Models score in units of their own; within a row only the order and the gaps mean something. A
    row of equal scores, of a model that has nothing to say, is 0.
    """
    finite = np.isfinite(scores)
    filled = np.where(finite, scores, 0.0)
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    mean = filled.sum(axis=1, keepdims=True) / count
    centred = np.where(finite, filled - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    flat = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    z = centred / np.where(flat, np.inf, spread)
    return np.where(finite, z, -np.inf).astype(np.float32)


class Blend(Recommender):
    """What the forms share: they are made of fitted candidates, and are saved with them."""

    def __init__(self, settings: Any, candidates: dict[str, Recommender]) -> None:
        self.settings = settings
        self.candidates = candidates

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Fit every candidate anew."""
        for model in self.candidates.values():
            model.fit(train, catalogue)
        return self

    @abstractmethod
    def combine(self, histories: Histories, scores: dict[str, np.ndarray]) -> np.ndarray:
        """Return float32 (batch, items) of the scores of each model in ``uses``."""

    @abstractmethod
    def uses(self) -> list[str]:
        """Return the names of the candidates that have a say."""

    def score(self, histories: Histories) -> np.ndarray:
        named = self.uses()
        scores = {
            name: model.score(histories)
            for name, model in self.candidates.items()
            if name in named or model.forbids
        }
        combined = self.combine(histories, {name: scores[name] for name in named})
        for name, found in scores.items():
            if self.candidates[name].forbids:
                combined[np.isneginf(found)] = -np.inf
        return combined

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def config(self) -> dict[str, Any]:
        settings = self.settings
        plain = settings if isinstance(settings, dict) else settings.model_dump()
        return {"settings": plain, "candidates": list(self.candidates)}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        return cls(config["settings"], {})

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
        model.candidates = {name: load_model(Path(folder) / "candidates" / name) for name in names}
        return model


class Weighted(Blend):
    """The sum of the models' z-scores, each times its weight.

    settings: weight by name of the model; models without one have no say.
    """

    name = "weighted"

    def uses(self) -> list[str]:
        return [name for name in self.candidates if self.settings.get(name, 0.0)]

    def combine(self, histories: Histories, scores: dict[str, np.ndarray]) -> np.ndarray:
        parts = [self.settings[name] * standardised(found) for name, found in scores.items()]
        return np.sum(parts, axis=0, dtype=np.float32)


class Switching(Blend):
    """One model answers for each history: which, depends on how much is known of the user.

    settings: by number of events, the model that answers from there on. Scores are z-scores, so
    that those of different users compare.
    """

    name = "switching"

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        return cls({int(events): name for events, name in config["settings"].items()}, {})

    def uses(self) -> list[str]:
        return list(dict.fromkeys(self.settings.values()))

    def combine(self, histories: Histories, scores: dict[str, np.ndarray]) -> np.ndarray:
        thresholds = np.array(sorted(self.settings))
        lengths = histories.lengths()
        chosen = np.maximum(np.searchsorted(thresholds, lengths, side="right") - 1, 0)
        combined = np.empty_like(next(iter(scores.values())))
        for place, events in enumerate(thresholds):
            rows = chosen == place
            combined[rows] = standardised(scores[self.settings[int(events)]][rows])
        return combined


class Cascade(Blend):
    """The first model orders everything; each next one orders anew the best of the one before.

    settings: the models, and how many of the best the next one gets. What it does not get keeps
    its order below. Scores: the stage an item reached, plus where it stands in it, in [0, 1].
    """

    name = "cascade"

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        return cls(CascadeSettings(**config["settings"]), {})

    def uses(self) -> list[str]:
        return list(dict.fromkeys(self.settings.models))

    def combine(self, histories: Histories, scores: dict[str, np.ndarray]) -> np.ndarray:
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
            # What the next model finds equal stays in the order it came in.
            combined[reached] = stage + placed[reached] + TIE * combined[reached]
        return combined


def _placed(scores: np.ndarray) -> np.ndarray:
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
    """Return the weights under which the targets are likeliest among what the models propose.

    A conditional logit (McFadden 1974) over the models' z-scores: convex, so there is one best
    answer; a weight below 0 is not allowed. histories: what each user had done. targets: CSR
    (users, items), nonzero where the user then bought the item. Of more than ``max_users`` users
    evenly spaced ones are taken.

    Raises:
        ValueError: no model proposed any target.
    """
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
        if exclude_seen:
            refused[batch.rows(), batch.items] = True
        scores = [np.where(refused, -np.inf, model.score(batch)) for model in candidates.values()]
        proposed = np.zeros(wanted.shape, dtype=bool)
        for found in scores:
            best, _ = top_k(found, PROPOSED)
            at = np.nonzero(best >= 0)
            proposed[at[0], best[at]] = True
        kept = np.zeros(len(batch), dtype=bool)
        kept[rows] = True
        proposed &= (kept & (proposed & wanted).any(axis=1))[:, None]  # others teach nothing
        at = np.nonzero(proposed)
        columns = [np.nan_to_num(standardised(found)[at], neginf=0.0) for found in scores]
        features.append(np.column_stack(columns))
        hits.append(wanted[at])
        users.append(at[0] + start)
    x, hit = np.concatenate(features).astype(np.float64), np.concatenate(hits)
    if not hit.any():
        raise ValueError("no weights to learn: no candidate proposed anything that was bought")
    # Pairs lie in the users' order: each user is a slice that begins at one of ``starts``.
    _, starts, user = np.unique(np.concatenate(users), return_index=True, return_inverse=True)
    share = hit / np.bincount(user, weights=hit)[user]  # a user counts once, however much bought
    wanted_mean = share @ x

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
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


def forms(
    settings: Rank, candidates: dict[str, Recommender], fitted: dict[str, float]
) -> dict[str, Blend]:
    """Return the forms that can be made of these candidates, by name, and each candidate alone.

    fitted: weights from ``fit_weights``, taken unless ``rank.weighted`` gives some.
    """
    weights = settings.weighted or fitted
    switches = {switch.events: switch.model for switch in settings.switching}
    made: dict[str, Blend] = {
        "weighted": Weighted(weights, candidates),
        "switching": Switching(switches, candidates),
        "cascade": Cascade(settings.cascade, candidates),
        **{name: Weighted({name: 1.0}, candidates) for name in candidates},
    }
    named = {
        "weighted": list(weights),
        "switching": list(switches.values()),
        "cascade": settings.cascade.models,
    }
    return {
        name: form for name, form in made.items() if set(named.get(name, [])) <= set(candidates)
    }
