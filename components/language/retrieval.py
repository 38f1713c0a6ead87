"""Queries to products: a task of fine-tuning beside next products, for search and conversation.

In: the products' texts. Out: queries made up from them (words of the text in their order, some
left out, as a shopper types), and the loss of finding the product among all.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch.nn import functional as F

from components.language.batches import whole_passes
from components.language.encoder import TextEncoder

_WORD = re.compile(r"[^\W\d_]{2,}")
WORDS = 3
"""Words of a query, at most."""
QUERIES = 4096
"""At most so many are kept."""


def made_queries(texts: list[str], seed: int) -> list[str]:
    """Return a query of one to WORDS words for each text; the text itself if it has no word.

    >>> made_queries(["mug"], 0)
    ['mug']
    """
    random = np.random.default_rng(seed)
    queries = []
    for text in texts:
        words = _WORD.findall(text.lower())
        n = min(len(words), int(random.integers(1, WORDS + 1)))
        chosen = np.sort(random.choice(len(words), n, replace=False)) if words else range(0)
        queries.append(" ".join(words[place] for place in chosen) or text)
    return queries


class Retrieval:
    """Gives the loss of finding a query's product among all.

    texts: of the products. A product whose text holds all words of the query answers it as well,
    so it is no negative.
    """

    def __init__(self, encoder: TextEncoder, texts: list[str], seed: int) -> None:
        self.encoder, self.seed = encoder, seed
        self.products = np.random.default_rng(seed).permutation(len(texts))[:QUERIES]
        self.queries = made_queries([texts[row] for row in self.products], seed)
        vectoriser = CountVectorizer(token_pattern=_WORD.pattern, binary=True)
        try:
            self.held = vectoriser.fit_transform(texts).T.tocsc()  # (words, products)
        except ValueError as error:  # scikit-learn's word for no word at all
            raise ValueError("finetune: retrieval needs products with titles") from error
        self.asked = vectoriser.transform(self.queries)  # (queries, words)
        self.vectors = torch.from_numpy(encoder.encode(self.queries, with_head=False))

    def loss(
        self, bank: torch.Tensor, temperature: float, step: int, size: int, fresh: bool
    ) -> torch.Tensor:
        """Return the mean loss of batch n of ``size`` queries.

        bank: (products, width) before the head. fresh: encode the queries anew instead of taking
        their vectors as they were.
        """
        rows = whole_passes(np.arange(len(self.queries)), size, self.seed, step)
        if fresh:
            vectors = self.encoder.before_head([self.queries[row] for row in rows])
        else:
            vectors = self.vectors[torch.from_numpy(rows)]
        logits = self.encoder.project(vectors) @ self.encoder.project(bank).T
        logits = logits.float() / temperature  # (queries, products)
        common = (self.asked[rows] @ self.held).toarray()
        answers = torch.from_numpy(common == np.asarray(self.asked[rows].sum(axis=1)))
        own = torch.from_numpy(self.products[rows])
        answers[torch.arange(len(rows)), own] = False
        return F.cross_entropy(logits.masked_fill(answers, -torch.inf), own)
