"""Reasons made of declared attributes: only where they are true of the history or of the shopper.

In: the values of the catalogue's categories and sets, and the lift of items among users with the
shopper's attributes. Out: a text for the items for which there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from components.data.attribute_codes import Vocabulary
from components.data.attributes import kind_of
from components.recommenders.two_stage.attribute_features import AttributeStatistics
from serving.languages import ENGLISH, Language
from serving.profiles.history import History

MIN_EVENTS, MIN_SHARE, MIN_RATIO = 3, 0.5, 1.5
"""A shopper often chooses a value that so many events and this share of the history have, if that
is so many times its share of the catalogue."""
LIKE_YOU = np.log(1.1)
"""Mean log lift from which an item is bought more often by customers with the same attributes."""


class AttributeReasons:
    """Reasons over one catalogue, row number = code."""

    def __init__(
        self, table: pd.DataFrame, statistics: AttributeStatistics, shown: Collection[str]
    ) -> None:
        """shown: columns of the attributes that reasons may name."""
        words = {
            column: values
            for column, values in statistics.items.values.items()
            if kind_of(column) in ("category", "set") and column in shown
        }
        vocabulary = Vocabulary(words)
        self._codes = vocabulary.encode(table)
        self._labels = [f"{name} {value}" for name, value in vocabulary.labels()]
        self._usual = np.asarray(self._codes.mean(axis=0)).ravel()
        self._lift = statistics.lift

    def reasons(
        self, items: Sequence[int], history: History, language: Language = ENGLISH
    ) -> list[str]:
        """Return one text an item, "" where attributes give no reason."""
        chosen = self._often_chosen(items, history, language)
        like_you = self._like_you(items, history)
        return [
            one or (language.gettext("often bought by customers like you") if like else "")
            for one, like in zip(chosen, like_you, strict=True)
        ]

    def _often_chosen(
        self, items: Sequence[int], history: History, language: Language
    ) -> list[str]:
        n = len(history.liked)
        if n < MIN_EVENTS or not self._labels:
            return [""] * len(items)
        counts = np.asarray(self._codes[history.liked].sum(axis=0)).ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(self._usual > 0, counts / n / self._usual, 0.0)
        often = (counts >= MIN_EVENTS) & (counts >= MIN_SHARE * n) & (ratio >= MIN_RATIO)
        found = []
        for row in self._codes[list(items)]:  # the few items shown
            own = row.indices[often[row.indices]]
            if not len(own):
                found.append("")
                continue
            value = self._labels[own[ratio[own].argmax()]]
            found.append(language.gettext("because you often choose {value}", value=value))
        return found

    def _like_you(self, items: Sequence[int], history: History) -> list[bool]:
        """Return whether customers with the shopper's attributes buy each item more often; false
        for a shopper with a history, which says more."""
        codes = history.attributes
        if codes is None or not len(codes) or len(history.liked):
            return [False] * len(items)
        mean = self._lift[codes][:, np.asarray(items)].mean(axis=0)
        return (mean >= LIKE_YOU).tolist()
