"""Sanity checks of a refreshed model, which there is no held-out data to evaluate.

In: the model in service and the refreshed one, and the newest data. Out: the guardrails of both
models' lists for the same users, and the candidates whose scores are unusable.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.data.dataset import Histories, Prepared
from components.evaluation.compare import lists_of, translated
from components.evaluation.guardrails import Guardrail, sanity_guardrails
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings

USERS = 1000
"""Users, drawn at random, whose lists are compared."""
SCORED = 20
"""Users for whom each candidate scores all items."""


def unusable_candidates(model: Hybrid, prepared: Prepared, seed: int) -> list[str]:
    """Return the candidates of which a score is NaN or infinite, other than -inf, which means
    never.

    The ranker hides such scores: a tree takes NaN as any missing value.
    """
    histories = _histories(prepared, SCORED, seed)
    found = []
    for name, candidate in model.candidates.items():
        scores = candidate.score(histories)
        if not (np.isfinite(scores) | np.isneginf(scores)).all():
            found.append(name)
    return found


def compare_lists(
    old: Hybrid, new: Hybrid, prepared: Prepared, settings: Settings
) -> tuple[Guardrail, ...]:
    """Return the guardrails of ``new``, a refreshed ``old`` in the codes of ``prepared``.

    The lists are for the same users with the same histories, and one for a user without any.
    """
    exclude = settings.train.exclude_seen
    histories = _histories(prepared, USERS, settings.seed)
    before, after = (
        lists_of(model, prepared, translated(model, prepared, histories), exclude)
        for model in (old, new)
    )
    return sanity_guardrails(before, after, len(prepared.catalogue), settings.register_.guardrails)


def _histories(prepared: Prepared, n: int, seed: int) -> Histories:
    """Return the histories of ``n`` users until the end of the data, the last one empty."""
    x = prepared.interactions
    known = np.flatnonzero(np.diff(x.offsets) > 0)
    drawn = np.random.default_rng(seed).permutation(known)[: n - 1]
    some = x.histories(np.sort(drawn), prepared.end)
    return replace(
        some,
        offsets=np.append(some.offsets, some.offsets[-1]),
        now=np.append(some.now, prepared.end),
    )
