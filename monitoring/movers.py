"""Which products move a statistic of drift.

In: the feature tables of the reference and of a window. Out: the products' contributions, largest
first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

OF_MEAN = ("price", "quantity")
OF_MIX = ("item", "category", "text")
OF_NEW = ("unseen_items", "new_texts")


def movers(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> pd.Series:
    """Return each product's contribution to the change of a statistic, the largest first.

    Price and quantity: to the difference of the mean logarithm; they sum to it. Mixes: to the
    Jensen-Shannon divergence of the products' shares; they sum to it. New products: their share of
    the events. Empty for statistics that are not of products.

    >>> reference = pd.DataFrame({"item": ["a", "a", "b"], "price": [1.0, 1.0, 2.0]})
    >>> current = pd.DataFrame({"item": ["a", "b", "b"], "price": [1.0, 2.0, 2.0]})
    >>> movers("price", reference, current).round(2).to_dict()
    {'b': 0.67, 'a': -0.33}
    """
    if name in OF_MEAN:
        known = (table.dropna(subset=[name]) for table in (reference, current))
        parts = [table.groupby("item")[name].sum() / max(len(table), 1) for table in known]
        change = pd.concat(parts, axis=1, keys=["before", "now"]).fillna(0.0)
        return _largest_first(change["now"] - change["before"])
    shares = pd.DataFrame(
        {
            "before": reference["item"].value_counts(normalize=True),
            "now": current["item"].value_counts(normalize=True),
        }
    ).fillna(0.0)
    if name in OF_MIX:
        middle = (shares["before"] + shares["now"]) / 2
        terms = [
            (one * np.log((one / middle).where(one > 0, 1.0))) / 2
            for one in (shares["before"], shares["now"])
        ]
        return _largest_first(terms[0] + terms[1])
    if name in OF_NEW:
        return _largest_first(shares.loc[shares["before"] == 0, "now"])
    return pd.Series(dtype=float)


def _largest_first(values: pd.Series) -> pd.Series:
    values = values[values != 0].sort_index()
    return values.reindex(values.abs().sort_values(ascending=False, kind="stable").index)
