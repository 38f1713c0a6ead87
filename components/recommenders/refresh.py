"""The served model with the newest data, without a training.

In: a fitted ``Hybrid``, all interactions so far and the catalogue of today with the products' text
vectors. Out: another ``Hybrid`` with the same settings, ranker and blend weights. Item statistics
and candidates are those of all data: a candidate that is ``Refreshable`` keeps what took long to
learn, any other is fitted again. Codes may differ between the tables; items are matched by their
ids.

    vectors = carried_vectors(model.catalogue, prepared.catalogue.table, encoder.encode)
    catalogue = Catalogue(prepared.catalogue.table, vectors)
    model = refresh(model, prepared.interactions, catalogue)
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from components.arrays import FloatArray
from components.data.dataset import Catalogue, Interactions, item_text
from components.language.augmentation import purchases
from components.recommenders.base import refreshed
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Augment


def refresh(
    model: Hybrid, train: Interactions, catalogue: Catalogue, augment: Augment | None = None
) -> Hybrid:
    """Return ``model`` for all data so far; ``model`` itself stays as it is.

    train: old and new interactions, in the codes of ``catalogue``. catalogue: with vectors in the
    space of the model's, where a candidate needs them. augment: of the settings; the candidates
    learn from its synthetic purchases too, as in training.

    Raises:
        ValueError: a candidate cannot be fitted on these data; the message says why.
    """
    known = pd.Index(model.catalogue.ids).get_indexer(catalogue.ids)
    learned_from = train
    if augment is not None and augment.purchases:
        learned_from, _ = purchases(train, catalogue, augment, model.seed)
    candidates = {}
    for name, candidate in model.candidates.items():
        began = time.perf_counter()
        candidates[name] = refreshed(candidate, learned_from, catalogue, known)
        print(f"{name:<22}{time.perf_counter() - began:>8.1f} s", flush=True)
    return Hybrid(
        model.settings,
        candidates,
        ranker=model.ranker,
        seed=model.seed,
        weights=model.weights,
        ranked_attributes=model.attributes,
    ).fit(train, catalogue)


def carried_vectors(
    old: Catalogue, table: pd.DataFrame, encode: Callable[[list[str]], FloatArray]
) -> FloatArray | None:
    """Return float32 (items, width): the text vectors of ``table``, a prepared items table.

    A text that ``old`` has keeps its vector; ``encode`` gets the others, each once, and is not
    called if there are none. None if ``old`` has no vectors.
    """
    if old.vectors is None:
        return None
    known = pd.Series(item_text(old.table)).drop_duplicates()
    texts = np.array(item_text(table), dtype=object)
    place = pd.Index(known).get_indexer(texts)
    vectors = np.array(old.vectors[known.index.to_numpy()[place]], dtype=np.float32)
    new = place < 0
    if new.any():
        codes, distinct = pd.factorize(texts[new])
        vectors[new] = encode(distinct.tolist())[codes]
    return vectors
