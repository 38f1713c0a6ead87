"""Are products added after the training recommended to interested shoppers?

    python -m benchmarks.new_products [--model models/hybrid]     (``make run`` makes the model)

Protocol: 80 unsold products of the training are added again as new products with the same text.
Each is evaluated on a shopper with the five most similar sold products: is it among the first ten?
Once as the product of the training, once as the new one (with the other unavailable). And the share
of unpersonalised recommendations among the first ten for a shopper with only a new product.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import Catalogue, Histories
from components.recommenders.two_stage.hybrid import Hybrid

N = 80
LIKED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/hybrid"))
    model = Hybrid.load(parser.parse_args().model)
    table, vectors = model.catalogue.table, np.asarray(model.catalogue.vectors)
    sold = model.item_statistics[:, 0] > 0
    never = np.random.default_rng(0).permutation(np.flatnonzero(~sold))[:N]
    cosines = np.where(sold, vectors[never] @ vectors.T, -np.inf)
    liked = Histories.from_lists(np.argsort(-cosines, axis=1, kind="stable")[:, :LIKED].tolist())

    again = table.iloc[never].assign(item_id=[f"new{code}" for code in never])
    more = Catalogue(
        pd.concat([table, again], ignore_index=True), np.vstack([vectors, vectors[never]])
    )
    grown, new = model.extended(more), len(table) + np.arange(len(never))
    available = np.ones(len(more), dtype=bool)
    available[never] = False
    for name, (ids, _), wanted in (
        ("there in training", model.recommend(liked, 10), never),
        ("new", grown.recommend(liked, 10, available=available), new),
    ):
        print(f"{name}: {(ids == wanted[:, None]).any(axis=1).mean():.2f} in the first ten")
    alone, _ = grown.recommend(Histories.from_lists(new[:, None].tolist()), 10)
    anybody, _ = grown.recommend(Histories.from_lists([[]]), 10)
    print(f"had a new one alone: {np.isin(alone, anybody).mean():.2f} is what anybody is shown")


if __name__ == "__main__":
    main()
